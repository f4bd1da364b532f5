"""How much work a run does: ``smoke`` (tests), ``cpu`` (a laptop), ``gpu`` (one GPU), ``paper`` (as published).

The environment variable ``RESTORE_TIER`` chooses, the same way in notebooks, on the command line and on Colab.
"""

import os
from typing import TypeVar

from restore_lib.errors import SettingError

TIERS = ("smoke", "cpu", "gpu", "paper")
Value = TypeVar("Value")


def current() -> str:
    """The tier that ``RESTORE_TIER`` names, ``cpu`` when it is unset; SettingError where it is not one of ``TIERS``."""
    tier = os.environ.get("RESTORE_TIER", "").strip().lower() or "cpu"
    if tier not in TIERS:
        raise SettingError(f"RESTORE_TIER is {tier!r}: set it to one of {', '.join(TIERS)}.")
    return tier


def pick(
    *, smoke: Value, cpu: Value, gpu: Value | None = None, paper: Value | None = None, tier: str | None = None
) -> Value:
    """The value for the current tier (or ``tier``), so that a notebook never branches on it.

    Without a value for ``gpu`` or ``paper``, the next smaller tier's serves.

    Examples
    --------
    >>> pick(smoke=2, cpu=24, tier="gpu")
    24
    """
    values = {"smoke": smoke, "cpu": cpu, "gpu": gpu, "paper": paper}
    tier = tier or current()
    if tier not in values:
        raise ValueError(f"tier is {tier!r}: choose one of {', '.join(TIERS)}")
    return next(values[name] for name in reversed(TIERS[: TIERS.index(tier) + 1]) if values[name] is not None)
