"""State dicts that other programs saved for RRDBNet and EDSR: which kind they are, and a network as large as they are.

The same weights travel under several names: ESRGAN's first code counted layers, its second named them, BasicSR named
them anew, and EDSR has names of its own. A name that only one kind has tells it.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from restore_lib.errors import CheckpointError
from restore_lib.nets.edsr import EDSR
from restore_lib.nets.rrdbnet import RRDBNet

MARKS = {
    "RRDB_trunk.0.RDB1.conv1.weight": (RRDBNet, "esrgan"),
    "model.1.sub.0.RDB1.conv1.0.weight": (RRDBNet, "old-esrgan"),
    "body.0.rdb1.conv1.weight": (RRDBNet, "basicsr"),
    "body.0.body.0.weight": (EDSR, "official"),
    "body.0.conv1.weight": (EDSR, "basicsr"),
}
WRAPPINGS = ("params_ema", "params", "state_dict", "model", "sd")  # in this order: averaged weights come first


def unwrapped(content: object) -> dict[str, Tensor]:
    """The weights by name, out of what ``torch.load`` returned.

    Raises
    ------
    CheckpointError
        There are no tensors by name in it.
    """
    for key in WRAPPINGS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError("The file holds no weights by name: give the file of a network's state dict.")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"The file holds {key!r}, which is no weight: give the file of a network's state dict."
            )
    prefix = "module." if all(key.startswith("module.") for key in content) else ""  # DataParallel's
    return {key.removeprefix(prefix): value for key, value in content.items()}


def form_of(state: Mapping[str, Tensor]) -> tuple[type[nn.Module], str]:
    """The network that a state dict is of, and the form of its names as ``author_names(form)`` knows it.

    Raises
    ------
    CheckpointError
        No such form is known.
    """
    for mark, (kind, form) in MARKS.items():
        if mark in state:
            return kind, form
    some = min(state, default="nothing")
    raise CheckpointError(
        f"These are not the names of ESRGAN's, Real-ESRGAN's, BasicSR's or EDSR's weights (but {some}, ...): give a "
        "file of one of these networks."
    )


def renamed(module: nn.Module, official_state_dict: Mapping) -> dict[str, Tensor]:
    """Weights of the authors' file under the names of this library: none missing, none left over, each of its shape.

    Parameters
    ----------
    module : nn.Module
        A network with a method ``author_names()`` that gives, for each of its weights and buffers, the name in the
        authors' code; RRDBNet and EDSR know several forms of names, and the file tells which is meant. Where it has
        ``author_constants()``, the file may hold these, too, and they must agree.
    official_state_dict : mapping of str to Tensor
        As ``torch.load(path, weights_only=True)`` returns it, wrapped or not.

    Raises
    ------
    CheckpointError
        A weight is missing, unknown or of another shape, or the file takes other colours.
    ValueError
        The module knows no names of authors.
    """
    if not hasattr(module, "author_names"):
        raise ValueError(f"{type(module).__name__} has no author_names(): its authors' names are not known")
    state, kind = unwrapped(official_state_dict), type(module).__name__
    names, own = _names(module, state), module.state_dict()
    unmapped = own.keys() ^ names.keys()
    if unmapped:
        raise ValueError(f"author_names() and the weights of {kind} differ in {min(unmapped)}")
    state = _without_constants(module, state)
    for found, expected, what in (
        (set(state), set(names.values()), "has {}, which {} has not"),
        (set(names.values()), set(state), "has no {}, which {} needs"),
    ):
        if extra := sorted(found - expected):
            more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
            raise CheckpointError(
                f"The authors' file {what.format(extra[0] + more, kind)}: give the file of this network."
            )
    for name, theirs in names.items():
        if own[name].shape != state[theirs].shape:
            raise CheckpointError(
                f"The authors' {theirs} is {tuple(state[theirs].shape)}, but {kind} has {tuple(own[name].shape)}: "
                "build it with the authors' sizes."
            )
    return {name: state[theirs] for name, theirs in names.items()}


def network_of(content: object) -> nn.Module:
    """The RRDBNet or EDSR in what ``torch.load`` returned, as large as its weights and with them, for evaluation.

    Raises
    ------
    CheckpointError
        No such network is known, its sizes make no sense, or a weight is missing, unknown or not finite.
    """
    state = unwrapped(content)
    kind, form = form_of(state)
    try:
        sizes = _rrdbnet(state, form) if kind is RRDBNet else _edsr(state, form)
        with torch.device("meta"):  # nothing as large as a stranger's file says is filled before its weights are seen
            empty = kind(*sizes)
        weights = renamed(empty, state)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"These weights have the names of {kind.__name__}, but sizes that it cannot have ({error}): the file is "
            "damaged or of a changed network."
        ) from error
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(f"The weights of {name} are not all finite: the file is damaged, get it again.")
    network = kind(*sizes)
    network.load_state_dict(weights)
    return network.eval()


def _names(module: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, str]:
    kinds = tuple({kind for kind, _ in MARKS.values()})
    if not isinstance(module, kinds):
        return module.author_names()
    kind, form = form_of(state)
    if not isinstance(module, kind):
        raise CheckpointError(
            f"The authors' file is of {kind.__name__}, not of {type(module).__name__}: give the file of this network."
        )
    return module.author_names(form)


def _without_constants(module: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The weights alone, once what the file holds beside them has been found to be what the network does anyway."""
    constants = module.author_constants() if hasattr(module, "author_constants") else {}
    for name in constants.keys() & state.keys():
        if state[name].shape != constants[name].shape or not torch.allclose(
            state[name].float().cpu(), constants[name], rtol=1e-3
        ):
            raise CheckpointError(
                f"The authors' {name} is {state[name].flatten().tolist()}, which {type(module).__name__} does not "
                "compute: the file wants other colours, give the published one."
            )
    return {name: value for name, value in state.items() if name not in constants}


def _rrdbnet(state: Mapping[str, Tensor], form: str) -> tuple:
    names = RRDBNet(1, 1, 1, 1).author_names(form)
    width = len(state[names["first.weight"]])
    growth = len(state[names["blocks.0.dense.0.convs.0.weight"]])
    pattern = re.escape(names["blocks.0.dense.0.convs.0.weight"]).replace(r"\.0\.", r"\.\d+\.", 1)
    blocks = sum(re.fullmatch(pattern, key) is not None for key in state)
    doublings = sum(re.fullmatch(r"(upconv|conv_up)\d+\.weight", key) is not None for key in state)
    if form == "old-esrgan":  # two of its numbered layers stand behind those that double
        doublings = sum(re.fullmatch(r"model\.\d+\.weight", key) is not None for key in state) - 3
    return blocks, width, growth, {0: 1, 1: 2, 2: 4}[doublings]


def _edsr(state: Mapping[str, Tensor], form: str) -> tuple:
    official = form == "official"
    width = len(state["head.0.weight" if official else "conv_first.weight"])
    pattern = r"body\.\d+\.body\.0\.weight" if official else r"body\.\d+\.conv1\.weight"
    blocks = sum(re.fullmatch(pattern, key) is not None for key in state)
    pattern = r"tail\.0\.\d+\.weight" if official else r"upsample\.\d+\.weight"
    wider = [len(value) // width for key, value in state.items() if re.fullmatch(pattern, key)]
    scale = {(): None, (4,): 2, (9,): 3, (4, 4): 4}[tuple(wider)]
    # not among the weights; the published networks of 256 channels have 0.1, those of 64 have 1
    return blocks, width, 0.1 if width == 256 else 1.0, scale
