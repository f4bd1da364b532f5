"""Weights of the authors' own networks: their names turned into ours, and nothing missing or left over."""

from collections.abc import Mapping

from torch import nn

from restore_lib.pretrained.author_files import renamed


def load_author_weights(module: nn.Module, official_state_dict: Mapping) -> nn.Module:
    """Load what the authors' code saved into a network of this library.

    Parameters
    ----------
    module : nn.Module
        A network with a method ``author_names()`` that gives, for each of its weights and buffers, the name in the
        authors' code. Values are taken as they are. RRDBNet and EDSR know several forms of names.
    official_state_dict : mapping of str to Tensor
        As ``torch.load(path, weights_only=True)`` returns it, also where it lies inside ``params_ema``, ``params`` or
        ``state_dict``.

    Returns
    -------
    nn.Module
        ``module``, now with these weights.

    Raises
    ------
    CheckpointError
        A weight is missing, unknown or of another shape; the module is then unchanged.
    ValueError
        The module knows no names of authors.
    """
    module.load_state_dict(renamed(module, official_state_dict))
    return module
