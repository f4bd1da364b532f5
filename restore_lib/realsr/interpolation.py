"""Between two trained networks: the mean of their weights, in any share (Sec. 3.4 of ESRGAN [wang2018esrgan])."""

import copy
from numbers import Real

import torch
from torch import nn


def interpolated(first: nn.Module, second: nn.Module, share: Real) -> nn.Module:
    """A network whose every weight is ``(1 - share)`` of the first's and ``share`` of the second's.

    That it does something sensible between the two is no law: the second must have been trained on from the first.

    Parameters
    ----------
    first, second : Module
        Of one architecture. Neither is changed.
    share : float
        0 gives the first network, 1 the second; beyond, the difference is exaggerated.

    Returns
    -------
    Module
        A new one.

    Raises
    ------
    ValueError
        The networks differ in a weight's name or shape.
    """
    made, other = copy.deepcopy(first), second.state_dict()
    own = made.state_dict()
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in other.items()}:
        raise ValueError("the two networks have other weights: interpolate between networks of one architecture")
    with torch.no_grad():
        for name, value in own.items():
            if value.is_floating_point():
                value.copy_((1 - share) * value + share * other[name])
    return made
