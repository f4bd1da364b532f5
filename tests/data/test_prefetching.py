"""Batches made ahead come in order, once each, and the thread that makes them always ends."""

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from restore_lib.data import patches
from restore_lib.data.prefetching import prefetch


def threads() -> int:
    return sum(thread.name.startswith("prefetch") for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    gc.collect()
    assert threads() == 0


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_items_come_in_order_once_each(ahead):
    calls = []
    items = prefetch(lambda step: calls.append(step) or step * step, 5, ahead=ahead)
    assert list(itertools.islice(items, 200)) == [step * step for step in range(5, 205)]
    items.close()
    assert calls == list(range(5, 5 + len(calls))) and 200 <= len(calls) <= 200 + ahead


def test_several_threads_work_side_by_side_and_items_come_in_order():
    barrier = threading.Barrier(3, timeout=60)
    items = prefetch(lambda step: (step, barrier.wait())[0], 4, threads=3)  # stuck but for three at a time
    assert list(itertools.islice(items, 7)) == list(range(4, 11))
    barrier.abort()
    items.close()


def test_no_more_is_made_than_asked_for(rng):
    calls = []
    items = prefetch(calls.append, 0, ahead=3)
    assert not calls, "nothing happens before the first item is asked for"
    for taken in range(1, 5):
        next(items)
        while len(calls) < taken + 3:
            time.sleep(0.001)
        time.sleep(0.02)  # time enough to make one too many
        assert len(calls) == taken + 3
    items.close()


def test_items_are_made_while_the_consumer_works():
    made_next = threading.Event()
    items = prefetch(lambda step: made_next.set() if step else None, 0)
    next(items)
    assert made_next.wait(timeout=60)  # without a second call of next
    items.close()


@pytest.mark.parametrize("kind", [OSError, KeyError, SystemExit, StopIteration])
def test_an_exception_comes_out_after_the_items_before_it(kind):
    def make(step):
        if step == 3:
            raise kind("step 3")
        return step

    items, seen = prefetch(make, 0, ahead=8), []
    # Python makes a RuntimeError of a StopIteration that leaves a generator, so that it does not pass for its end.
    with pytest.raises(RuntimeError if kind is StopIteration else kind, match=r"StopIteration|step 3"):
        for item in items:
            seen.append(item)
    assert seen == [0, 1, 2]
    assert threads() == 0
    assert next(items, "ended") == "ended"


def test_closing_ends_the_thread_wherever_it_is():
    for take in (0, 1, 5):
        items = prefetch(lambda step: step, 0, ahead=2)
        list(itertools.islice(items, take))
        items.close()
        assert threads() == 0
        items.close()
    for step in prefetch(lambda step: step):
        if step == 4:
            break
    gc.collect()
    assert threads() == 0


def test_closing_waits_for_what_is_under_way():
    begun, ended = threading.Event(), []

    def make(step):
        if step == 1:
            begun.set()
            time.sleep(0.1)
            ended.append(step)
        return step

    items = prefetch(make, 0)
    next(items)
    begun.wait()
    items.close()
    assert ended == [1]


def test_an_exception_in_the_consumer_ends_the_thread():
    with pytest.raises(ZeroDivisionError):
        for step in prefetch(lambda step: step):
            1 / (2 - step)
    gc.collect()
    assert threads() == 0


@pytest.mark.parametrize("pressed_at", [0, 2])
def test_ctrl_c_reaches_a_consumer_that_waits(pressed_at):
    """For the first item, when the thread has hardly begun, and for a later one."""
    waiting, made = threading.Event(), []

    def make(step):
        if step == pressed_at:
            waiting.wait()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        made.append(step)
        return step

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
    try:
        if pressed_at == 0:
            waiting.set()
        with pytest.raises(KeyboardInterrupt):
            for step in prefetch(make):
                assert step < pressed_at
                if step == pressed_at - 1:
                    waiting.set()
            raise AssertionError("the iterator ended")
    finally:
        signal.signal(signal.SIGINT, before)
    gc.collect()
    deadline = time.monotonic() + 60
    while threads() and time.monotonic() < deadline:  # one that had yet to begin ends by itself
        time.sleep(0.01)
    assert threads() == 0 and len(made) <= pressed_at + 1 + 4  # four were asked for ahead


def test_a_program_that_forgets_its_iterator_ends():
    """Even while the thread is inside torch, which aborts the whole process if it is killed there."""
    code = (
        "import torch\n"
        "from restore_lib.data.prefetching import prefetch\n"
        "items = prefetch(lambda step: torch.rand(300, 300) @ torch.rand(300, 300))\n"
        "cycle = [items]; cycle.append(cycle)\n"
        "for _ in range(3): next(items)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_pinned_are_the_tensors_of_an_item(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: -tensor)  # what it does needs a GPU
    one = torch.ones(2)
    with_name = prefetch(lambda step: (one, (one, "name"), step), 7, pin=True)
    first, (second, name), step = next(with_name)
    assert torch.equal(first, -one) and torch.equal(second, -one) and (name, step) == ("name", 7)
    assert torch.equal(next(prefetch(lambda step: one, pin=True)), -one)
    assert torch.equal(next(prefetch(lambda step: one)), one)
    with_name.close()


def test_crops_come_ahead_as_they_would_one_by_one(tmp_path, draw):
    store = patches.PatchStore.build(draw([(20, 30), (25, 18)]), tmp_path / "store")
    batches = prefetch(lambda step: store.crops(step, batch=4, size=9, seed=3), 11)
    for step in range(11, 40):
        crops, codes = next(batches)
        wanted, wanted_codes = store.crops(step, batch=4, size=9, seed=3)
        assert torch.equal(crops, wanted) and torch.equal(codes, wanted_codes)
    batches.close()
