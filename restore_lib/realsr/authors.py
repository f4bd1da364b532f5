"""Weights of the authors' own networks: their names turned into ours, and nothing missing or left over."""

from collections.abc import Mapping

from torch import Tensor, nn

from restore_lib.errors import CheckpointError


def load_author_weights(module: nn.Module, official_state_dict: Mapping[str, Tensor]) -> nn.Module:
    """Load what the authors' code saved into a network of this library.

    Parameters
    ----------
    module : nn.Module
        A network with a method ``author_names()`` that gives, for each of its weights and buffers, the name in the
        authors' code. Values are taken as they are.
    official_state_dict : mapping of str to Tensor
        As ``torch.load(path, weights_only=True)`` returns it.

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
    if not hasattr(module, "author_names"):
        raise ValueError(f"{type(module).__name__} has no author_names(): its authors' names are not known")
    names, own = module.author_names(), module.state_dict()
    unmapped = own.keys() ^ names.keys()
    if unmapped:
        raise ValueError(f"author_names() and the weights of {type(module).__name__} differ in {min(unmapped)}")
    kind = type(module).__name__
    for found, expected, what in (
        (set(official_state_dict), set(names.values()), "has {}, which {} has not"),
        (set(names.values()), set(official_state_dict), "has no {}, which {} needs"),
    ):
        if extra := sorted(found - expected):
            more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
            raise CheckpointError(
                f"The authors' file {what.format(extra[0] + more, kind)}: give the file of this network."
            )
    for name, theirs in names.items():
        if own[name].shape != official_state_dict[theirs].shape:
            raise CheckpointError(
                f"The authors' {theirs} is {tuple(official_state_dict[theirs].shape)}, but {kind} has "
                f"{tuple(own[name].shape)}: build it with the authors' sizes."
            )
    module.load_state_dict({name: official_state_dict[theirs] for name, theirs in names.items()})
    return module
