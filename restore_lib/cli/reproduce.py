"""The commands below ``restore reproduce``: tables of the papers."""

from pathlib import Path
from typing import Annotated

import typer

from restore_lib import tiers
from restore_lib.cli.console import console
from restore_lib.errors import RecordError

reproduce_app = typer.Typer(no_args_is_help=True, help="Tables of the papers: what has been measured, beside it.")
TableName = Annotated[str, typer.Argument(metavar="TABLE", help="A name that `restore reproduce list` shows.")]
Results = Annotated[Path | None, typer.Option(help="Folder of run records; the repository's results/ by default.")]


@reproduce_app.command("list")
def list_tables(results: Results = None) -> None:
    """Every table, and how many of its numbers have been measured."""
    from rich.table import Table

    from restore_lib.experiments import load_all, pages, results_folder

    table = Table("table", "measured", "source", "shows", box=None, pad_edge=False)
    for entry in pages.overview(load_all(results or results_folder())):
        table.add_row(*(entry[str(column.header)] for column in table.columns))
    console().print(table)


@reproduce_app.command("run")
def run_table(
    name: TableName,
    tier: Annotated[str | None, typer.Option(help="smoke, cpu, gpu or paper, instead of RESTORE_TIER.")] = None,
    sets: Annotated[str | None, typer.Option(help="Image sets only, with commas between: set5,set14.")] = None,
    results: Results = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Measure a table and write its run records."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from restore_lib.experiments import Experiment, find, results_folder
    from restore_lib.experiments import run as run_experiment

    table = find(name)
    if not isinstance(table, Experiment):
        raise RecordError(f"{table.title} cannot be run: no recipe for it is here yet.")
    if tier is not None and tier not in tiers.TIERS:
        raise RecordError(f"There is no tier {tier}: choose one of {', '.join(tiers.TIERS)}.")
    chosen = [word.strip() for word in sets.split(",") if word.strip()] if sets else None
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    screen = console()
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def report(done: str, total: int) -> None:
            bar.update(task, advance=1, total=total, description=done)

        folder = results or results_folder()
        written = run_experiment(table, folder, sets=chosen, tier=tier or tiers.current(), progress=report)
    print("\n".join(str(path) for path in written))


@reproduce_app.command()
def show(name: TableName, results: Results = None) -> None:
    """Published and measured numbers side by side, with the difference and its reason."""
    from restore_lib.experiments import find, ledger, load_all, results_folder

    ledger.print_table(find(name), load_all(results or results_folder()), console())
