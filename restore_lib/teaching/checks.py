"""Exercises that check themselves: fresh inputs, the library's answer, and a hint that names the likely mistake."""

import copy
import difflib
import importlib
import pkgutil
import random
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from restore_lib.teaching import exercises

ROUNDS = 5


@dataclass(frozen=True)
class Exercise:
    """One exercise of a chapter."""

    id: str  #: Chapter and number: ``"1.2"``.
    reference: Callable  #: The library's answer.
    inputs: Callable[[torch.Generator], tuple]  #: Fresh arguments from a seeded generator.
    mistakes: tuple[tuple[Callable, str], ...]  #: Answers that readers give, and hints that set them right.
    hints: tuple[str, ...]  #: Steps towards the answer, gentle first.
    tolerance: float = 1e-5  #: Largest difference that counts as equal.
    #: ``seen(returned, *inputs)``: the numbers that are compared, where a function returns a network, say.
    seen: Callable | None = None


@dataclass(frozen=True)
class CheckResult:
    """Result of :func:`check`; prints as a sentence, in lines as long as those of a cell."""

    passed: bool
    message: str

    def __repr__(self) -> str:
        return textwrap.fill(self.message, 76, break_long_words=False)


def check(number: str, answer: Callable, *, seed: int | None = None) -> CheckResult:
    """Compare your function with the library's on fresh random inputs.

    ``answer`` gets copies of the inputs and may return a tensor, an array or a number; ``seed`` repeats the inputs of
    an earlier check, whose message names it. The result has ``passed`` and a sentence: correct, the mistake it
    recognised, or where your result differs.

    >>> check("2.4", lambda errors: -10 * errors.log10().mean())
    2.4: correct on 5 of 5 fresh inputs.
    """
    exercise = _find(number)
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    rounds = [exercise.inputs(torch.Generator().manual_seed(seed + turn)) for turn in range(ROUNDS)]
    for turn, inputs in enumerate(rounds):
        problem = _problem(exercise, answer, inputs, rounds)
        if problem:
            return CheckResult(False, f"{number}: not yet. {problem}".replace("{seed}", str(seed + turn)))
    return CheckResult(True, f"{number}: correct on {ROUNDS} of {ROUNDS} fresh inputs.")


def check_network(yours: nn.Module, reference: nn.Module, *inputs: Tensor) -> CheckResult:
    """Compare a network that you built with the library's: its layers, its parameters, and what it answers.

    The library's weights are copied into yours: the first layer of a shape from the first of the same shape, and so
    on, whatever layers are called. Both are compared in ``eval()`` mode on the same ``inputs``. The result has
    ``passed`` and a sentence: parameters, shape and largest difference, or the first layer that differs.

    >>> x = torch.rand(2, 3)
    >>> check_network(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), nn.Linear(3, 4), x).passed
    False
    >>> check_network(nn.Sequential(nn.Linear(3, 4)), nn.Linear(3, 4), x)
    Correct: 16 parameters in 1 layer, an output of 2 x 4, largest difference 0.
    """
    left, layers = _layers(yours), [layer for same in _layers(reference).values() for layer in same]
    count, wanted = (sum(x.numel() for x in network.parameters()) for network in (yours, reference))
    for layer in layers:
        if not left.get(_shapes(layer)):
            counts = f"yours has {count:,} parameters, the library's {wanted:,}"
            return CheckResult(False, f"Not yet: {counts}. The library has one more layer like {layer}.")
        left[_shapes(layer)].pop(0).load_state_dict(_own_state(layer), strict=False)
    if more := [layer for same in left.values() for layer in same]:
        return CheckResult(False, f"Not yet: your network has one more layer like {more[0]} than the library's.")
    modes = yours.training, reference.training
    try:
        with torch.no_grad():
            mine, theirs = yours.eval()(*inputs), reference.eval()(*inputs)
    except Exception as error:
        return CheckResult(False, f"Your network stopped with {type(error).__name__}: {error}")
    finally:
        yours.train(modes[0])
        reference.train(modes[1])
    if mine.shape != theirs.shape:
        shapes = f"shape {tuple(mine.shape)}, the library's with {tuple(theirs.shape)}"
        return CheckResult(False, f"Not yet: it answers with {shapes}.")
    apart = float((mine - theirs).abs().max())
    if not apart <= 1e-5 * (1 + float(theirs.abs().max())):
        return CheckResult(False, f"Not yet: with the same weights the outputs differ by up to {apart:.3g}.")
    size, plural = " x ".join(map(str, mine.shape)), "s" * (len(layers) > 1)
    close = "0" if apart < 1e-6 else f"{apart:.0e}"
    text = f"{wanted:,} parameters in {len(layers)} layer{plural}, an output of {size}, largest difference {close}"
    return CheckResult(True, f"Correct: {text}.")


def _own_state(layer: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in layer.state_dict().items() if "." not in name}


def _shapes(layer: nn.Module) -> tuple:
    return tuple(sorted((name, tuple(value.shape)) for name, value in _own_state(layer).items()))


def _layers(network: nn.Module) -> dict[tuple, list[nn.Module]]:
    """The modules that have weights of their own, by the names and shapes of these."""
    found: dict[tuple, list[nn.Module]] = {}
    for layer in network.modules():
        if list(layer.parameters(recurse=False)):
            found.setdefault(_shapes(layer), []).append(layer)
    return found


def hint(number: str, step: int = 1) -> str:
    """A hint for an exercise; a larger ``step`` says more. ValueError where there is no such exercise or step."""
    hints = _find(number).hints
    if not 1 <= step <= len(hints):
        raise ValueError(f"exercise {number} has hints 1 to {len(hints)}, not {step}")
    return hints[step - 1]


@lru_cache(maxsize=1)
def all_exercises() -> dict[str, Exercise]:
    """Every exercise by number, from the modules of ``teaching.exercises``, one for each chapter."""
    by_number = {}
    for module in pkgutil.iter_modules(exercises.__path__, exercises.__name__ + "."):
        for fields in importlib.import_module(module.name).EXERCISES:
            by_number[fields["id"]] = Exercise(**fields)
    return by_number


def _find(number: str) -> Exercise:
    by_number = all_exercises()
    if number not in by_number:
        nearest = difflib.get_close_matches(str(number), by_number, n=1, cutoff=0) or list(by_number)[:1]
        raise ValueError(f"there is no exercise {number!r}; did you mean {nearest[0]!r}?")
    return by_number[number]


def _problem(exercise: Exercise, answer: Callable, inputs: tuple, rounds: list[tuple]) -> str | None:
    """What is wrong with an answer on one set of inputs, in words; None when it is right."""
    expected = _numbers(exercise, exercise.reference, inputs)
    given = copy.deepcopy(inputs)
    try:
        returned = answer(*given)
    except Exception as error:
        return f"Your function stopped with {_first_line(error)}"
    if returned is None:
        return "Your function returns nothing: does it end with `return`?"
    try:
        got = _compared(exercise, returned, given)
    except Exception as error:
        kind, wanted = type(returned).__name__, "a tensor, an array or a number is asked for"
        failed = f", which fails with {_first_line(error)}" if exercise.seen else f"; {wanted}."
        return f"Your function returns a {kind}{failed}"
    if not all(_same(a, b) for a, b in zip(given, inputs, strict=True)):
        return "Your function changes its input in place; work on a copy, or write `x = x + ...` for `x += ...`."
    if _close(got, expected, exercise.tolerance):
        return None
    for mistake, words in exercise.mistakes:
        if _alike(exercise, answer, mistake, rounds):
            return words
    if got.shape != expected.shape:
        return f"The result should have shape {tuple(expected.shape)}; yours has {tuple(got.shape)}."
    if not torch.isfinite(got).all():
        return "The result holds NaN or infinite values."
    worst = float((got - expected).abs().max())
    return (
        f"The result differs by up to {worst:.3g} (values should lie in {_span(expected)}, yours lie in "
        f'{_span(got)}). Try hint("{exercise.id}"); the same inputs again: seed={{seed}}.'
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _alike(exercise: Exercise, answer: Callable, mistake: Callable, rounds: list[tuple]) -> bool:
    """Whether two functions agree on all inputs: on a single one, two numbers may be close by chance."""
    try:
        results = ([_numbers(exercise, function, inputs) for function in (answer, mistake)] for inputs in rounds)
        return all(_close(a, b, exercise.tolerance) for a, b in results)
    except Exception:  # the answer fails on other inputs, so it is not this mistake
        return False


def _numbers(exercise: Exercise, function: Callable, inputs: tuple) -> Tensor:
    inputs = copy.deepcopy(inputs)
    return _compared(exercise, function(*inputs), inputs)


def _compared(exercise: Exercise, returned, inputs: tuple) -> Tensor:
    return _tensor(exercise.seen(returned, *inputs) if exercise.seen else returned)


def _tensor(value) -> Tensor:
    return (value.detach().cpu() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))).double()


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return a.shape == b.shape and bool(((a - b).abs() <= tolerance * (1 + b.abs())).all())


def _same(a, b) -> bool:
    return torch.equal(_tensor(a), _tensor(b)) if isinstance(a, (Tensor, np.ndarray)) else True


def _span(x: Tensor) -> str:
    return f"{float(x.min()):.3g} to {float(x.max()):.3g}"
