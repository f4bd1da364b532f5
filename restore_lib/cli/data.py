"""The commands below ``restore data``: image sets and weights."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from restore_lib import files
from restore_lib.cli.console import console, interruptible
from restore_lib.errors import DataError

data_app = typer.Typer(no_args_is_help=True, help="Data sets and weights: list, fetch, check and find them.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that `restore data list` shows.")]


@data_app.command("list")
def list_sets() -> None:
    """Every data set: kind, size, whether it is here, licence."""
    from rich import filesize
    from rich.table import Table

    from restore_lib.data import checking, registry

    table = Table("name", "kind", "files", "size", "here", "licence", box=None, pad_edge=False)
    for name in registry.names():
        data = registry.find(name)
        present, total, where = checking.status(data)
        here = where if present == total else f"{where}, {present} of {total}" if present else ""
        size = filesize.decimal(data.size) if data.size else ""
        table.add_row(name, data.kind, f"{total:,}" if total else "", size, here or "-", data.licence)
    console(140).print(table)
    print(f"\nhere: below RESTORE_DATA (local), in {files.cache_folder()} (cache), or inside packages (installed).")


@data_app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Names that `restore data list` shows.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Download what is missing of data sets, and check every file."""
    from restore_lib.data import downloading, registry

    with interruptible("stopped; run the command again to go on where it stopped."):
        for name in names:
            data, paths = registry.find(name), downloading.fetch(name, quiet=quiet)
            count = f"{len(paths):,} file{'' if len(paths) == 1 else 's'} here and checked"
            if not quiet:
                print(f"{data.title}: {count if paths else 'installed'}")


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
    from restore_lib.data import registry

    text = registry.card(name)
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from rich.markdown import Markdown

    console().print(Markdown(text))
