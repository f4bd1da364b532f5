"""Show the library's own source in a chapter, so that what is read is what runs and is tested."""

import ast
import inspect
import textwrap
from pathlib import Path

from IPython.display import Markdown


def show_source(thing) -> Markdown:
    """Source of a function, method or class of the library as a highlighted block, with the file it comes from.

    A function's docstring is left out: the reference pages show it.
    """
    thing = inspect.unwrap(thing)
    code = textwrap.dedent(inspect.getsource(thing)).rstrip()
    if not inspect.isclass(thing):
        code = _without_docstring(code)
    file = Path(inspect.getsourcefile(thing) or "").resolve()
    root = Path(__file__).resolve().parent.parent.parent
    name = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
    return Markdown(f"`{name}`\n\n```python\n{code}\n```")


def _without_docstring(code: str) -> str:
    body = getattr(ast.parse(code).body[0], "body", [])
    if not (len(body) > 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)):
        return code
    lines = code.splitlines()
    return "\n".join(lines[: body[0].lineno - 1] + lines[body[0].end_lineno :])
