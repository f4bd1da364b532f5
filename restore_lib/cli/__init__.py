"""The ``restore`` command: a module for each group of sub-commands, which parse, call and print.

Importing torch takes seconds, so commands import what they need when they run.
"""

import sys
from typing import Annotated

import typer

from restore_lib import __version__
from restore_lib.cli import checkpoints, data, info, photos, reproduce, train, weights
from restore_lib.errors import RestoreError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
app.command()(info.info)
app.command()(train.recipes)
app.command()(train.train)
app.command()(train.evaluate)
app.command()(photos.denoise)
app.command()(photos.upscale)
app.command()(photos.estimate_kernel)
app.add_typer(data.data_app, name="data")
app.add_typer(reproduce.reproduce_app, name="reproduce")
app.add_typer(checkpoints.checkpoints_app, name="checkpoints")
app.add_typer(weights.weights_app, name="weights")


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
