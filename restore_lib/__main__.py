"""``python -m restore_lib`` is the ``restore`` command."""

from restore_lib.cli import main

main()
