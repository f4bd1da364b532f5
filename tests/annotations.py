"""Run-time checks of the library's annotations, such as Float[Tensor, "3 h w"], on each call made by a test."""

import beartype


def checked(thing):
    """A function or class whose annotations are checked on each call; as for other type checkers an int is a float."""
    return beartype.beartype(thing, conf=beartype.BeartypeConf(is_pep484_tower=True))
