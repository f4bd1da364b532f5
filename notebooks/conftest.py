"""nbval with a tolerance for numbers, and with kernels that need no ports.

A processor adds numbers in its own order, so that the last digit printed
may differ: two units of it are let pass. And a port that is free when it
is chosen may be another program's a moment later, when the kernel wants
it: then the kernel dies, and nbval waits for it without end. So kernels
have sockets in a folder.
"""

import os
import re
import tempfile
from pathlib import Path
from uuid import uuid4

from jupyter_client.manager import KernelManager

# Whatever TMPDIR says: a socket's path has room for a hundred characters.
SHORT = "/tmp"
DECIMAL = re.compile(r"-?\d[\d,]*\.(\d+)(?:e[+-]?\d+)?")
UNITS = 2  # of the last digit printed


class Near(str):
    """Text that equals another when its decimals differ a little.

    Whole numbers are counts, and compared as they are.
    """

    __hash__ = str.__hash__

    def __eq__(self, other):
        if str.__eq__(self, other):
            return True
        rest = [DECIMAL.sub("#.", text).split() for text in (self, other)]
        if rest[0] != rest[1]:
            return False
        pairs = zip(
            DECIMAL.finditer(self), DECIMAL.finditer(other), strict=True
        )
        return all(close(one, two) for one, two in pairs)

    def __ne__(self, other):
        return not self == other


def close(one: re.Match, two: re.Match) -> bool:
    """Whether numbers differ by at most UNITS of the last digit."""
    a, b = (float(match[0].replace(",", "")) for match in (one, two))
    exponent = one[0].partition("e")[2] or 0
    unit = 10.0 ** (int(exponent) - len(one[1]))
    return abs(a - b) <= (UNITS + 0.01) * unit


def pytest_sessionstart(session):
    """Put in the tolerance; let kernels do without ports if they can."""
    if not session.config.getoption("nbval", False):
        return
    import nbval.kernel
    import nbval.plugin

    plain = nbval.plugin.IPyNbCell.sanitize

    def sanitize(cell, text):
        found = plain(cell, text)
        return Near(found) if isinstance(found, str) else found

    nbval.plugin.IPyNbCell.sanitize = sanitize
    if os.name != "posix":
        return

    folder = tempfile.TemporaryDirectory(prefix="kernels-", dir=SHORT)
    session.config.add_cleanup(folder.cleanup)

    def manager(**options) -> KernelManager:
        sockets = str(Path(folder.name, uuid4().hex))
        return KernelManager(transport="ipc", ip=sockets, **options)

    nbval.kernel.KernelManager = manager
