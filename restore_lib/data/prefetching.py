"""Make the next batches in a background thread while the current one is used."""

import atexit
import itertools
import queue
import threading
from collections.abc import Callable, Generator
from typing import TypeVar

from torch import Tensor

Batch = TypeVar("Batch")


def prefetch(
    make: Callable[[int], Batch], first: int = 0, *, ahead: int = 4, pin: bool = False
) -> Generator[Batch, None, None]:
    """``make(first)``, ``make(first + 1)``, ... without end, made in a background thread before they are asked for.

    The thread starts with the first item and ends when the iterator is closed (``close``, the end of its last
    reference, an exception, Ctrl-C in the consumer); closing waits for a ``make`` that is under way.

    Parameters
    ----------
    make : callable
        Gives the item of a step; called in the thread, by rising steps, once each.
    first : int
        The first step.
    ahead : int
        Items made and not yet asked for, at most.
    pin : bool
        Move tensors (alone or in a tuple) to page-locked memory, from which ``to(device, non_blocking=True)`` copies
        while the GPU computes. Needs a GPU.

    Yields
    ------
    object
        What ``make`` returned. An exception in ``make`` is raised here, after the items before it.
    """
    if ahead < 1:
        raise ValueError(f"ahead is {ahead}: at least 1 item is made ahead")
    return _iterate(lambda step: _pinned(make(step)) if pin else make(step), first, ahead)


def _iterate(make: Callable, first: int, ahead: int) -> Generator:
    ready, room, closing = queue.SimpleQueue(), threading.Semaphore(ahead), threading.Event()

    def work():
        try:
            for step in itertools.count(first):
                room.acquire()
                if closing.is_set():
                    return
                ready.put((make(step), None))
        except BaseException as error:  # whatever it is, the consumer waits for it
            ready.put((None, error))

    def stop():
        closing.set()
        room.release()
        # Not alive: it has ended, or Ctrl-C came so early that it has yet to begin, and then it ends by itself. The
        # same thread: the garbage collector, which closes forgotten iterators, runs wherever it happens to.
        if thread.is_alive() and threading.current_thread() is not thread:
            thread.join()

    # A daemon, stopped at exit: a program that forgets to close its iterator ends all the same.
    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    atexit.register(stop)
    try:
        thread.start()
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            room.release()
            yield item
    finally:
        stop()
        atexit.unregister(stop)


def _pinned(item):
    if isinstance(item, Tensor):
        return item.pin_memory()
    return tuple(map(_pinned, item)) if isinstance(item, tuple) else item
