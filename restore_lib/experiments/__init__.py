"""Numbers: how they are measured, recorded, set beside published ones, and checked.

============================  ==========================================================================
``runs``                      an :class:`Experiment` and :func:`run`, which writes its records
``protocols``                 the conventions behind published numbers; bicubic interpolation under each
``records``                   :class:`RunRecord`, read strictly; :func:`over_seeds`
``published``                 what others printed and claimed, each number with its source
``ledger``                    paper | ours | difference | why; :func:`~restore_lib.experiments.ledger.judge` of claims
``pages``                     tables for the book's pages
``paper_a``                   paper A: Kodak (Table 1), the choices of Section 3.1, photographs
``paper_a_vision``            paper A: classification and segmentation after denoising (Tables 2 and 3)
``paper_b``                   paper B: kernels and noise (Section 3), Track 1 and Track 2
``paper_c``                   paper C: every scale (Tables 1 to 3), the parts of DIINN (Table 5)
============================  ==========================================================================
"""

from collections.abc import Mapping

from restore_lib.errors import RecordError
from restore_lib.experiments import paper_a, paper_a_vision, paper_b, paper_c, protocols, published
from restore_lib.experiments.ledger import Table
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
from restore_lib.experiments.runs import EvaluationProtocol, Experiment, evaluate, run

EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        protocols.BICUBIC_TABLE,
        protocols.EQUAL_ERROR_TABLE,
        *paper_a.EXPERIMENTS,
        *paper_a_vision.EXPERIMENTS,
        *paper_b.EXPERIMENTS,
        *paper_c.EXPERIMENTS,
    )
}


def all_tables() -> dict[str, Table]:
    """Every table by name: those that can be measured first, then published ones that wait for a recipe."""
    used = {line.paper.table.name for table in EXPERIMENTS.values() for line in table.lines if line.paper}
    printed = [table for table in published.tables().values() if table.name not in used]
    return {**EXPERIMENTS, **{table.name: Table(table.name, table.title, printed=table) for table in printed}}


def find(name: str) -> Table:
    """The table of that name; RecordError where there is none, or its numbers were never seen."""
    tables = all_tables()
    if name in tables:
        return tables[name]
    lost = published.missing().get(name)
    if lost is not None:
        raise RecordError(
            f"{lost.title} ({lost.where}) is not available here: its numbers were not seen in any source."
        )
    raise RecordError(f"There is no table called {name}: `restore reproduce list` shows what there is.")


from restore_lib.experiments import ledger, pages, records, runs  # noqa: E402  (pages look tables up here)

__all__ = ["EXPERIMENTS", "EvaluationProtocol", "Experiment", "Measurement", "OverSeeds", "RunRecord", "all_tables"]
__all__ += ["evaluate", "find", "ledger", "load", "load_all", "over_seeds", "pages", "protocols", "published"]
__all__ += ["records", "results_folder", "run", "runs", "save"]
