"""Training: one loop for every paper, resumable after any kill, from a laptop to many GPUs.

A *recipe* (:mod:`restore_lib.training.recipes`) says what to train and where each value comes from. It builds a
:class:`Task`: networks, optimisers, batches and a step. :func:`fit` runs the task on Lightning Fabric and leaves
weights that depend on nothing but recipe, seed and machine: stopping and going on does not show.
"""

from restore_lib.training.engine import fit
from restore_lib.training.recipes import at_tier, fingerprint, provenance, sourced, values, variant
from restore_lib.training.speed import Speed
from restore_lib.training.task import Run, Task

__all__ = ["Run", "Speed", "Task", "at_tier", "fingerprint", "fit", "provenance", "sourced", "values", "variant"]
