"""The ``restore`` command. Each group of sub-commands is a Typer of its own, added to ``app`` in one line.

Importing torch takes seconds, so commands import what they need when they run.
"""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from restore_lib import __version__, files, tiers
from restore_lib.cli import checkpoints as cli_checkpoints
from restore_lib.cli import photos as cli_photos
from restore_lib.cli import train as cli_train
from restore_lib.cli import upscale as cli_upscale
from restore_lib.cli import weights as cli_weights
from restore_lib.errors import DataError, RecordError, RestoreError

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-image", "scikit-learn", "pillow", "lpips", "pooch")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
data_app = typer.Typer(no_args_is_help=True, help="Data sets and weights: list, fetch, check and find them.")
app.add_typer(data_app, name="data")
reproduce_app = typer.Typer(no_args_is_help=True, help="Tables of the papers: what has been measured, beside it.")
app.add_typer(reproduce_app, name="reproduce")
app.command()(cli_train.recipes)
app.command()(cli_train.train)
app.command()(cli_train.evaluate)
app.command()(cli_photos.denoise)
app.command()(cli_photos.estimate_kernel)
app.command()(cli_upscale.upscale)
app.add_typer(cli_checkpoints.checkpoints_app, name="checkpoints")
app.add_typer(cli_weights.weights_app, name="weights")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that `restore data list` shows.")]
TableName = Annotated[str, typer.Argument(metavar="TABLE", help="A name that `restore reproduce list` shows.")]
Results = Annotated[Path | None, typer.Option(help="Folder of run records; the repository's results/ by default.")]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what the user can mend ends in one sentence on stderr and exit code 2.

    Parameters
    ----------
    arguments : list of str, optional
        Arguments, when not the process's own.
    """
    try:
        app(arguments, prog_name="restore")
    except RestoreError as error:
        print(f"restore: {error}", file=sys.stderr)
        sys.exit(2)


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"restore_lib {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def restore(
    show: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Image restoration: its data, its numbers, and what this computer can do with them."""


@app.command()
def info() -> None:
    """Versions, device, tier, and where data and weights lie."""
    from restore_lib.data import checking, registry

    print(f"restore_lib {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print("  " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    print(f"device   {_device()}")
    print(f"tier     {_tier()}")
    named = os.environ.get("RESTORE_DATA")
    lost = "" if not named or Path(named).expanduser().is_dir() else "  (not a folder!)"
    print(f"local    {named + lost if named else 'RESTORE_DATA names no folder of copies'}")
    print(f"cache    {files.cache_folder()}")
    sets = [registry.find(name) for name in registry.names()]
    for label, kinds in (("data", ("embedded", "set", "by hand")), ("weights", ("weights",))):
        here = [d.name for d in sets if d.kind in kinds and _whole(checking.status(d))]
        print(f"{label:<8} {', '.join(here) or 'none here; `restore data list` shows what there is'}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _tier() -> str:
    try:
        return tiers.current()
    except ValueError as error:
        raise DataError(f"{error}.") from error


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        name, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory
        half = "with" if torch.cuda.is_bf16_supported() else "without"
        return f"cuda: {name}, {memory / 2**30:.0f} GiB, {half} bfloat16"
    if torch.backends.mps.is_available():
        return "mps: Apple GPU"
    return f"cpu: {torch.get_num_threads()} threads"


def _whole(status: tuple[int, int, str]) -> bool:
    found, known, where = status
    return bool(where) and found == known


@data_app.command("list")
def list_sets() -> None:
    """Every data set: kind, size, whether it is here, licence."""
    from rich.console import Console
    from rich.table import Table

    from restore_lib.data import cards, checking, registry

    table = Table("name", "kind", "files", "size", "here", "licence", box=None, pad_edge=False)
    for name in registry.names():
        data = registry.find(name)
        found, known, where = checking.status(data)
        here = where if found == known else f"{where}, {found} of {known}" if found else ""
        size = cards.readable_size(data.size) if data.size else ""
        table.add_row(name, data.kind, f"{known:,}" if known else "", size, here or "-", data.licence)
    # a pipe has no width: nothing is cut there
    Console(width=None if sys.stdout.isatty() else 140, highlight=False).print(table)
    print(f"\nhere: below RESTORE_DATA (local), in {files.cache_folder()} (cache), or inside packages (installed).")


@data_app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Names that `restore data list` shows.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Download what is missing of data sets, and check every file."""
    from restore_lib.data import downloading, registry

    try:
        for name in names:
            data, paths = registry.find(name), downloading.fetch(name, quiet=quiet)
            count = f"{len(paths):,} file{'' if len(paths) == 1 else 's'} here and checked"
            if not quiet:
                print(f"{data.title}: {count if paths else 'installed'}")
    except KeyboardInterrupt:
        print("restore: stopped; run the command again to go on where it stopped.", file=sys.stderr)
        raise typer.Exit(130) from None


@data_app.command()
def verify(
    name: Name,
    folder: Annotated[Path | None, typer.Option(help="Folder to look in, instead of the usual ones.")] = None,
) -> None:
    """Compare a data set on this computer with its hashes, or with the layout on its card."""
    from restore_lib.data import checking

    report = checking.verify(name, folder)
    print("\n".join(report.lines))
    if report.problems:
        raise DataError(report.sentence())
    print(report.sentence())


@data_app.command()
def where(name: Name) -> None:
    """Print the folders that hold a data set."""
    from restore_lib.data import checking, registry

    data = registry.find(name)
    print("\n".join(str(folder) for folder in checking.holders(data)))


@data_app.command()
def card(name: Name) -> None:
    """What a data set is for, where it comes from, what its licence allows."""
    from restore_lib.data import cards

    text = cards.card(name)
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


@reproduce_app.command("list")
def list_tables(results: Results = None) -> None:
    """Every table, and how many of its numbers have been measured."""
    from rich.table import Table

    from restore_lib.experiments import load_all, pages, results_folder

    table = Table("table", "measured", "source", "shows", box=None, pad_edge=False)
    for entry in pages.overview(load_all(results or results_folder())):
        table.add_row(*(entry[column.header] for column in table.columns))
    _console().print(table)


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

    from restore_lib.experiments import results_folder, tables

    table = tables.find(name)
    if table.run is None:
        raise RecordError(f"{table.title} cannot be run: no recipe for it is here yet.")
    if tier is not None and tier not in tiers.TIERS:
        raise RecordError(f"There is no tier {tier}: choose one of {', '.join(tiers.TIERS)}.")
    chosen = [word.strip() for word in sets.split(",") if word.strip()] if sets else None
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    console = _console()
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def tell(done: str, total: int) -> None:
            bar.update(task, advance=1, total=total, description=done)

        written = table.run(results or results_folder(), sets=chosen, tier=tier or _tier(), progress=tell)
    print("\n".join(str(path) for path in written))


@reproduce_app.command()
def show(name: TableName, results: Results = None) -> None:
    """Published and measured numbers side by side, with the difference and its reason."""
    from restore_lib.experiments import ledger, load_all, results_folder, tables

    ledger.print_table(tables.find(name), load_all(results or results_folder()), _console())


def _console():
    """A console as wide as the terminal; a pipe has no width, and nothing is cut there."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)
