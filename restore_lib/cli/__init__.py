"""The ``restore`` command: each module holds one group of sub-commands, which parse, call and print."""

from restore_lib.cli.app import app, main

__all__ = ["app", "main"]
