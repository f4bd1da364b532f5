"""Training: one loop for every paper, resumable after any kill, from a laptop to many GPUs.

A *recipe* (:mod:`restore_lib.training.recipes`) says what to train and where each value comes from. It builds a
:class:`Task`: networks, optimisers, batches and a step. :func:`fit` (:mod:`restore_lib.training.loop`) runs the task on
Lightning Fabric and leaves weights that depend on nothing but recipe, seed and machine, however often it was stopped.
"""

from restore_lib.training.logging import read_metrics
from restore_lib.training.loop import fit
from restore_lib.training.precision import Speed
from restore_lib.training.recipes import Recipe, at_tier, fingerprint, provenance, sourced, values, variant
from restore_lib.training.task import Run, Task

__all__ = ["Recipe", "Run", "Speed", "Task", "at_tier", "fingerprint", "fit", "provenance", "read_metrics", "sourced"]
__all__ += ["values", "variant"]
