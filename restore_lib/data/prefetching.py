"""Make the next batches in a background thread while the current one is used."""

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from torch import Tensor

Batch = TypeVar("Batch")


def prefetch(
    make: Callable[[int], Batch], first: int = 0, *, ahead: int = 4, pin: bool = False, threads: int = 1
) -> Generator[Batch, None, None]:
    """``make(first)``, ``make(first + 1)``, ... without end, ``ahead`` of them made before they are asked for.

    The thread starts with the first item and ends when the iterator is closed (``close``, the end of its last
    reference, an exception, Ctrl-C in the consumer); closing waits for a ``make`` that is under way. An exception in
    ``make`` is raised here, after the items before it. ``pin`` moves tensors (alone or in a tuple) to page-locked
    memory, from which ``to(device, non_blocking=True)`` copies while the GPU computes. With several ``threads`` items
    are made side by side, at least two a thread ahead, and come in order all the same.
    """
    pool, steps = ThreadPoolExecutor(threads, thread_name_prefix="prefetch"), itertools.count(first)
    ahead = max(ahead, 2 * threads if threads > 1 else 1)
    make_ready = (lambda step: _pinned(make(step))) if pin else make
    try:
        waiting = deque(pool.submit(make_ready, next(steps)) for _ in range(ahead))
        while True:
            item = waiting.popleft().result()
            waiting.append(pool.submit(make_ready, next(steps)))
            yield item
    finally:
        with contextlib.suppress(RuntimeError):  # the thread itself, collecting garbage, cannot wait for its end
            pool.shutdown(cancel_futures=True)


def _pinned(item: Any) -> Any:
    if isinstance(item, Tensor):
        return item.pin_memory()
    return tuple(map(_pinned, item)) if isinstance(item, tuple) else item
