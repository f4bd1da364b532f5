"""Source shown in chapters is the library's own."""

import inspect

import pytest

from restore_lib import errors, tiers
from restore_lib.teaching import show_source


def test_the_docstring_is_left_out_and_every_other_line_kept():
    source, shown = inspect.getsource(tiers.pick), show_source(tiers.pick).data
    assert "for a notebook" not in shown and '"""' not in shown
    code = source[: source.index('    """')] + source.split('"""')[2].lstrip("\n")
    assert code.rstrip() in shown


def test_classes_and_things_without_source():
    assert "class DataError" in show_source(errors.DataError).data
    with pytest.raises(TypeError):
        show_source(len)
