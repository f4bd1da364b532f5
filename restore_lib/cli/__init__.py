"""The ``restore`` command: a module for each group of sub-commands, which parse, call and print.

Importing torch takes seconds, so commands import what they need when they run.
"""

import os
import sys
from typing import Annotated, Any

import typer

from restore_lib import __version__
from restore_lib.cli import adapt, checkpoints, data, info, photos, reproduce, train, weights
from restore_lib.errors import RestoreError

#: Base of what Typer raises for wrong words; it brings its own copy of Click, or uses Click, by its version.
ClickException: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
app.command()(info.info)
app.command()(train.recipes)
app.command()(train.train)
app.command()(train.evaluate)
app.command()(photos.denoise)
app.command()(photos.upscale)
app.command()(photos.estimate_kernel)
app.command()(adapt.adapt)
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
        code = app(arguments, prog_name="restore", standalone_mode=False)
    except (RestoreError, ClickException) as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # pyright: ignore[reportAttributeAccessIssue]
        else:
            words = str(error) if isinstance(error, RestoreError) else error.format_message()
            print(f"restore: {' '.join(words.split())}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        place = f"{error.filename} cannot be used" if error.filename else "The command was stopped"
        print(f"restore: {place} ({error.strerror or error}): check that it is there and yours.", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    if code == 130:  # some versions of Typer return it
        print("restore: stopped.", file=sys.stderr)
    sys.exit(code or 0)


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
