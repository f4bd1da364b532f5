"""nbval's kernels have sockets in a folder, where it would choose ports.

A port that is free when it is chosen may be another program's a moment
later, when the kernel wants it. Then the kernel dies, and nbval waits for
it without end.
"""

import os
import tempfile
from pathlib import Path
from uuid import uuid4

from jupyter_client.manager import KernelManager

# Whatever TMPDIR says: a socket's path has room for a hundred characters.
SHORT = "/tmp"


def pytest_sessionstart(session):
    """Let kernels of this session do without ports, on systems that can."""
    if os.name != "posix" or not session.config.getoption("nbval", False):
        return
    import nbval.kernel

    folder = tempfile.TemporaryDirectory(prefix="kernels-", dir=SHORT)
    session.config.add_cleanup(folder.cleanup)

    def manager(**options) -> KernelManager:
        sockets = str(Path(folder.name, uuid4().hex))
        return KernelManager(transport="ipc", ip=sockets, **options)

    nbval.kernel.KernelManager = manager
