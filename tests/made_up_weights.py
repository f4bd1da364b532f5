"""Weights that follow a rule instead of a file: the same names and shapes give the same numbers everywhere."""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from restore_lib.pretrained.author_names import names_of


def by_rule(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, torch.Tensor]:
    """Weights of these names and shapes, by the rule that tests/parity/README.md tells."""
    weights = {}
    for key, shape in shapes.items():
        g = np.random.default_rng([seed, zlib.crc32(key.encode())])
        if key.endswith("num_batches_tracked"):
            value = np.ones(shape)
        elif key.endswith("running_var"):
            value = 0.5 + g.random(shape)
        else:
            value = g.standard_normal(shape) * (np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.05)
        weights[key] = torch.from_numpy(np.asarray(value, dtype=np.float32))
    return weights


def as_authors(network: nn.Module, form: int = 0) -> dict[str, torch.Tensor]:
    """The weights of a network under its authors' names, in the ``form``-th naming that is known."""
    own = network.state_dict()
    return {theirs: own[name] for name, theirs in list(names_of(network))[form].items()}
