"""Numbers: how they are measured, kept, set beside published ones, and checked.

:func:`evaluate` measures a method on an image set under an :class:`EvaluationProtocol`; :func:`run` does so and
returns a :class:`RunRecord`, which :func:`save` writes into ``results/``. ``published`` knows what others printed,
``tables`` says which numbers belong side by side, ``ledger`` and ``pages`` show them, and :func:`unbacked_numbers`
finds numbers on a page that neither a record nor a source backs.
"""

from restore_lib.experiments import ledger, pages, protocols, published, tables
from restore_lib.experiments.audit import unbacked_numbers
from restore_lib.experiments.protocols import EvaluationProtocol, evaluate
from restore_lib.experiments.records import (
    Measurement,
    OverSeeds,
    RunRecord,
    load,
    load_all,
    over_seeds,
    results_folder,
    save,
)
from restore_lib.experiments.runs import run

__all__ = [
    "EvaluationProtocol",
    "Measurement",
    "OverSeeds",
    "RunRecord",
    "evaluate",
    "ledger",
    "load",
    "load_all",
    "over_seeds",
    "pages",
    "protocols",
    "published",
    "results_folder",
    "run",
    "save",
    "tables",
    "unbacked_numbers",
]
