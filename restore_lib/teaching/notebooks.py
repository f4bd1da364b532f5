"""Store a chapter's reference outputs: run it at tier smoke and keep the text that tests compare.

Pictures, widgets and anything in a cell tagged ``nbval-ignore-output`` are made when the book is built, never kept.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

KEPT = ("text/plain",)
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def text_only(outputs: list) -> list:
    """Outputs without pictures, widgets and HTML; what has no text left is dropped."""
    kept = []
    for output in outputs:
        if "data" in output:
            output.data = nbformat.from_dict({kind: v for kind, v in output.data.items() if kind in KEPT})
            output.metadata = nbformat.from_dict({})
            if not output.data:
                continue
        kept.append(output)
    return kept


def store_outputs(path: Path | str, tier: str = "smoke") -> None:
    """Execute a notebook in its own folder at ``tier`` and write its reference outputs into the file.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell fails; the file is left as it was.
    """
    path = Path(path)
    notebook = nbformat.read(path, as_version=4)
    environment = os.environ | {"RESTORE_TIER": tier}
    client = NotebookClient(
        notebook, timeout=600, coalesce_streams=True, resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute(env=environment)
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.metadata.pop("execution", None)
        ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
        cell.outputs = [] if ignored else text_only(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    notebook.metadata = nbformat.from_dict(METADATA)
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, flush=True)
        store_outputs(name)
