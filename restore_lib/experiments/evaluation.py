"""Measure a restoration method on a set of images, under a protocol that says how inputs are made and what counts."""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from restore_lib.experiments.records import Measurement, measurement

Model = Callable[[Float[Tensor, "c h w"], tuple[int, int]], Float[Tensor, "c H W"]]


@dataclass(frozen=True)
class EvaluationProtocol:
    """How a method is tested: the same pair of images can differ by 2 dB under two of these.

    Attributes
    ----------
    name, title : str
        Short name (part of a record's file name) and readable name.
    rules : mapping of str to str
        The conventions in words, printed above every table and kept in every record.
    conditions : mapping of str to float
        What is varied, by name: ``{"x2": 2.0}`` for scales, ``{"sigma 25": 25.0}`` for noise.
    prepare : callable
        ``prepare(item, value, generator)`` reads an item of a data set and returns the input of the method and the
        target, (c, h, w) and (c, H, W) in [0, 1], for one value of ``conditions``. Random parts, if any, are drawn
        from the generator.
    measure : callable
        ``measure(restored, target, value)`` returns metrics by name.
    """

    name: str
    title: str
    rules: Mapping[str, str]
    conditions: Mapping[str, float]
    prepare: Callable
    measure: Callable[[Tensor, Tensor, float], Mapping[str, float]]


def evaluate(
    model: Model | Mapping[str, Model],
    dataset: Iterable,
    protocol: EvaluationProtocol,
    conditions: Iterable[str] | None = None,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[str], None] | None = None,
) -> list[Measurement]:
    """Run a method over a data set and measure what comes out.

    Parameters
    ----------
    model
        ``model(given, size)`` returns the restored image (c, H, W), where ``given`` is (c, h, w) in [0, 1] and
        ``size`` is (H, W). A denoiser ignores ``size``; a network for one scale may. Values may leave [0, 1]:
        the protocol says what happens to them. A method that must know the condition, such as the noise level, is
        given as one model for each: ``{"sigma 25": ..., "sigma 50": ...}``.
    dataset
        Items with a ``name``, as :func:`restore_lib.data.open` gives them; a slice of it tests on fewer images.
    protocol
        Makes the inputs and measures.
    conditions
        Names out of ``protocol.conditions``; all of them by default.
    seed
        For protocols with noise. An image gets the same noise whichever other images are tested.
    device
        Where inputs are put; results are measured on the CPU.
    progress
        Called with an image's name after each image.

    Returns
    -------
    list of Measurement
        For each condition and metric, with one value an image.

    Raises
    ------
    ValueError
        An unknown condition, an empty data set, or a result of the wrong size.
    """
    conditions = list(protocol.conditions if conditions is None else conditions)
    if not set(conditions) <= set(protocol.conditions):
        raise ValueError(f"protocol {protocol.name} knows {', '.join(protocol.conditions)}, got {conditions}")
    values: dict[tuple[str, str], list[float]] = {}
    for item in dataset:
        for condition in conditions:
            generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {item.name} {condition}".encode()))
            value = protocol.conditions[condition]
            given, target = protocol.prepare(item, value, generator)
            with torch.no_grad():
                method = model[condition] if isinstance(model, Mapping) else model
                restored = method(given.to(device), tuple(target.shape[-2:])).to("cpu", target.dtype)
            if restored.shape != target.shape:
                raise ValueError(
                    f"{item.name} at {condition}: the method returned {tuple(restored.shape)}, "
                    f"the protocol expects {tuple(target.shape)}"
                )
            for metric, number in protocol.measure(restored, target, value).items():
                values.setdefault((condition, metric), []).append(number)
        if progress is not None:
            progress(item.name)
    if not values:
        raise ValueError("the data set has no images")
    order = sorted(values, key=lambda key: conditions.index(key[0]))
    return [measurement(condition, metric, values[condition, metric]) for condition, metric in order]
