"""Files that the authors' code saved, in networks of this library; read without running anything in them."""

import re
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import safe_open
from torch import Tensor, nn

from restore_lib.errors import CheckpointError
from restore_lib.nets.edsr import EDSR, MEAN
from restore_lib.nets.rrdbnet import RRDBNet
from restore_lib.pretrained.author_names import constants_of, names_of
from restore_lib.pretrained.checkpoints import misfit
from restore_lib.pretrained.ncnn import NCNN, file_pair, rrdbnet_from_ncnn
from restore_lib.pretrained.networks import build, network_class

State = Mapping[str, Tensor]
WRAPPINGS = ("params_ema", "params", "state_dict", "model", "sd")  # in this order: averaged weights come first
_DESCRIPTION = TypeAdapter(dict[str, Any])
SIZES = (IndexError, KeyError, RuntimeError, TypeError, ValueError, ZeroDivisionError)  # what impossible sizes raise


def load_author_weights(module: nn.Module, official_state_dict: Mapping) -> nn.Module:
    """Copy weights under their official names into a network of this library, and return it.

    The network is DIINN, LIIF or Meta-SR, or any of ``author_names.TABLES``; ValueError for others. The weights are all
    of its and nothing else, as ``torch.load(path, weights_only=True)`` returns them: also inside one of ``WRAPPINGS``,
    or with names that all begin with what Lightning or DataParallel put before them. CheckpointError where a weight is
    missing, left over, of another shape, or not finite, or the file takes other colours: the module stays as it was.
    """
    module.load_state_dict(_fitted(module, weights_in(official_state_dict)))
    return module


def load_author_checkpoint(path: str | PathLike) -> nn.Module:
    """The network in a file that the authors' code saved, as large as its weights, in evaluation mode.

    Files of PyTorch: a Lightning checkpoint of DIINN's code (which trains LIIF and Meta-SR, too), LIIF's
    ``{"model": {"name", "args", "sd"}}``, or a state dict of Meta-SR, RDN, EDSR, ESRGAN, RealSR, Real-ESRGAN, BasicSR
    or of DnCNN in KAIR; such weights in a file of safetensors, or one that this library exported; either file of a
    pair ``.param`` and ``.bin`` of ncnn that holds an RRDBNet. CheckpointError for others, and damaged ones.
    """
    path = Path(path)
    if path.suffix.lower() in NCNN:
        return rrdbnet_from_ncnn(*file_pair(path))
    texts: Mapping[str, str] = {}
    try:
        if path.suffix.lower() == ".safetensors":
            with safe_open(path, "pt") as stream:
                texts = stream.metadata() or {}
                content: object = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 - no mapping
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no file {path}.") from error
    except Exception as error:  # damaged files fail in many ways
        raise CheckpointError(f"{path} cannot be read, it is damaged or no PyTorch file: get it again.") from error
    try:
        return described_network(content, texts) if "architecture" in texts else network_in(content)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def network_in(content: object) -> nn.Module:
    """The network in what ``torch.load`` returned; see :func:`load_author_checkpoint`."""
    state, about = weights_in(content), content if isinstance(content, Mapping) else {}
    model = about.get("model")  # LIIF's and DIINN's code say something of the network beside its weights
    settings = model.get("args") if isinstance(model, Mapping) else about.get("hyper_parameters")
    settings = settings if isinstance(settings, Mapping) else {}
    try:
        if any(not weight.numel() for weight in state.values()):
            raise ValueError("a weight without numbers")
        with torch.device("meta"):  # memory is asked for only after the sizes have been compared with the weights
            empty = _sized(state, settings)
        weights = _fitted(empty, state)
        network = _sized(state, settings)
    except SIZES as error:
        raise CheckpointError(
            f"These weights have sizes or settings that no such network can have ({error}): the file is damaged or of "
            "a changed network."
        ) from error
    network.load_state_dict(weights)
    return network.eval()


def described_network(content: object, texts: Mapping[str, str]) -> nn.Module:
    """The network that the header of a file of safetensors describes, under its own or its authors' names."""
    weights = weights_in(content)
    try:
        network = build(_DESCRIPTION.validate_json(texts["architecture"]))
        if misfit(weights, network.state_dict()):
            weights = _fitted(network, weights)
    except ValueError as error:  # no JSON, or a network that no authors have names for
        raise CheckpointError("The description of the network does not fit: export it again.") from error
    network.load_state_dict(weights)
    return network.eval()


def weights_in(content: object) -> dict[str, Tensor]:
    """The weights by name, out of what ``torch.load`` returned; CheckpointError where there are none."""
    for key in WRAPPINGS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError("The file holds no weights by name: give the file of a network's state dict.")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"The file holds {key!r}, which is no weight: give the file of a state dict.")
    return {key: value for key, value in content.items() if key not in ("sub", "div")}  # Lightning's, of DIINN's code


def _fitted(module: nn.Module, state: State) -> dict[str, Tensor]:
    """The weights under the names of this library, once they are known to fit."""
    kind = type(module).__name__
    choices = [(names, part) for names in names_of(module) for part in _stripped(state)]
    # of all namings, the one that the file has
    names, state = min(choices, key=lambda choice: len(set(choice[0].values()) ^ choice[1].keys()))
    state = _without_colours(module, state)
    expected = set(names.values())
    for keys, problem in (
        (expected - state.keys(), f"has no {{}}, which {kind} needs"),
        (state.keys() - expected, f"has {{}}, which {kind} does not have"),
    ):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise CheckpointError(f"The authors' file {problem.format(min(keys) + more)}: give this network's file.")
    weights = {}
    for name, own in module.state_dict().items():
        value = state[names[name]]
        if own.ndim == 2 and value.shape[2:] == (1, 1):  # a 1 x 1 convolution there, a linear layer here
            value = value[..., 0, 0]
        if names[name] == "P2W.meta_block.0.weight" and value.shape[1:] == (3,):
            value = value[:, [1, 2, 0]]  # Meta-SR's own code has 1 / scale before the place
        if value.shape != own.shape:
            raise CheckpointError(
                f"The authors' {names[name]} is {tuple(value.shape)}, but {kind} has {tuple(own.shape)}: build it with "
                "the authors' sizes."
            )
        if not torch.isfinite(value).all():
            raise CheckpointError(f"The weights of {names[name]} are not all finite: the file is damaged.")
        weights[name] = value
    return weights


def _stripped(state: State) -> Iterator[State]:
    """The weights, and again without the first part of their names as long as all have the same one."""
    yield state
    while len({key.partition(".")[0] for key in state}) == 1 and all("." in key for key in state):
        state = {key.partition(".")[2]: value for key, value in state.items()}
        yield state


def _without_colours(module: nn.Module, state: State) -> State:
    """Without the layers that take a mean colour off and add it again; EDSR's must do what the network itself does."""
    for name, value in constants_of(module).items():
        theirs = state.get(name, value)
        if theirs.shape != value.shape or not torch.allclose(theirs.float().cpu(), value.cpu(), rtol=1e-3):
            raise CheckpointError(
                f"The authors' {name} is {theirs.flatten().tolist()}, which {type(module).__name__} does not compute: "
                "the file wants other colours, give the published one."
            )
    return {key: value for key, value in state.items() if not re.search(r"(^|\.)(sub|add)_mean\.\w+$", key)}


def _sized(state: State, settings: Mapping) -> nn.Module:
    """The network that the names tell, with the sizes that the shapes tell."""
    for part in _stripped(state):
        if "RRDB_trunk.0.RDB1.conv1.weight" in part:
            return _rrdbnet(part, "conv_first", "RRDB_trunk.*.RDB1.conv1", "upconv*")
        if "body.0.rdb1.conv1.weight" in part:
            return _rrdbnet(part, "conv_first", "body.*.rdb1.conv1", "conv_up*")
        if "model.1.sub.0.RDB1.conv1.0.weight" in part:  # two of its numbered layers are none that enlarge
            return _rrdbnet(part, "model.0", "model.1.sub.*.RDB1.conv1.0", "model.*", others=3)
        if "body.0.conv1.weight" in part:
            return _edsr(part, "conv_first", "body.*.conv1", "upsample.*")
        if "model.0.weight" in part and all(re.fullmatch(r"model\.\d+\.(weight|bias)", key) for key in part):
            first = part["model.0.weight"]
            depth = _count(part, "model.*")
            return network_class("DnCNN")(depth, len(first), first.shape[1], norm=False)
        inner, outer = _halves(part)
        if inner and outer:
            return _any_scale(inner, outer, settings)
        if "SFENet1.weight" in part or "head.0.weight" in part:
            return _encoder(part, settings)
    raise CheckpointError(
        "These are not the names of the weights of ESRGAN, RealSR, Real-ESRGAN, BasicSR, EDSR, RDN, DIINN, LIIF, "
        f"Meta-SR or DnCNN (but {min(state)}, ...): give a file of one of these networks."
    )


def _count(state: State, layer: str) -> int:
    """How many layers have such a name, with any number in the place of the star."""
    pattern = re.escape(layer).replace(r"\*", r"\d+")
    return sum(re.fullmatch(rf"{pattern}\.weight", key) is not None for key in state)


def _weight(state: State, layer: str, number: int = 0) -> Tensor:
    return state[layer.replace("*", str(number)) + ".weight"]


def _rrdbnet(state: State, first: str, dense: str, up: str, others: int = 0) -> nn.Module:
    width, growth = len(_weight(state, first)), len(_weight(state, dense))
    scale = {0: 1, 1: 2, 2: 4}[_count(state, up) - others]
    return RRDBNet(_count(state, dense), width, growth, scale)


def _edsr(state: State, first: str, block: str, up: str, residual_scale: float | None = None) -> EDSR:
    width = len(_weight(state, first))
    factors = tuple(len(_weight(state, up, 2 * i)) // width for i in range(_count(state, up)))
    if residual_scale is None:  # the published networks of 256 channels have 0.1, those of 64 have 1
        residual_scale = 0.1 if width == 256 else 1.0
    return EDSR(_count(state, block), width, residual_scale, {(): None, (4,): 2, (9,): 3, (4, 4): 4}[factors])


def _encoder(state: State, settings: Mapping) -> nn.Module:
    if "SFENet1.weight" in state:
        growth, width = state["RDBs.0.convs.0.conv.0.weight"].shape[:2]
        return network_class("RDN")(_count(state, "RDBs.*.LFF"), _count(state, "RDBs.0.convs.*.conv.0"), growth, width)
    if "head.0.weight" in state:
        share = ((settings.get("encoder_spec") or {}).get("args") or {}).get("res_scale")
        share = None if share is None else float(share)
        return _edsr(state, "head.0", "body.*.body.0", "tail.0.*", share)
    raise CheckpointError("The encoder is neither RDN nor EDSR: give the file of a network with one of these.")


def _halves(state: State) -> tuple[State, State]:
    """Encoder and decoder of a whole model; in Meta-SR's own code the encoder's names have nothing before them."""
    inner, outer = {}, {}
    bare = any(key.startswith("P2W.") for key in state)
    for key, value in state.items():
        if key.startswith("encoder.") or (bare and not key.startswith("P2W.")):
            inner[key.removeprefix("encoder.")] = value
        elif key.startswith(("decoder.", "imnet.", "P2W.")):
            outer[key.removeprefix("decoder.")] = value
    return inner, outer


def _any_scale(inner: State, outer: State, settings: Mapping) -> nn.Module:
    """DIINN, LIIF or Meta-SR."""
    encoder: Any = _encoder(inner, settings)
    if "K.0.0.weight" in outer:
        return _diinn(encoder, outer, settings)
    weights = [value for key, value in outer.items() if key.endswith("weight")]
    if weights[0].shape[1] == 3:  # a place and a scale
        shift = inner.get("sub_mean.bias") if any(key.startswith("P2W.") for key in outer) else None
        rgb_range = None if shift is None else float(-shift[0] / MEAN[0])
        return network_class("MetaSR")(encoder, width=len(weights[0]), rgb_range=rgb_range)
    options = {
        (9 if unfold else 1) * encoder.channels + (4 if cell else 2): {"unfold": unfold, "cell": cell}
        for unfold in (True, False)
        for cell in (True, False)
    }
    options = options[weights[0].shape[1]] | {"ensemble": bool(settings.get("local_ensemble", True))}
    return network_class("LIIF")(encoder, hidden=[len(weight) for weight in weights[:-1]], **options)


def _diinn(encoder: nn.Module, state: State, settings: Mapping) -> nn.Module:
    width, layers = len(state["K.0.0.weight"]), _count(state, "K.*.0")
    positional = "first_layer.0.weight" in state
    if state["last_layer.weight"].shape[2:] == (3, 3):
        variant = "mode4"
    elif layers > 1 and state["K.1.0.weight"].shape[1] == width:
        variant = "a" if positional else "b"
    elif "mode" in settings:  # modes 2 and 3 have the same weights
        variant = {2: "cd", 3: "ef"}[int(settings["mode"])][not positional]
    else:
        raise CheckpointError("The file does not say its mode: build a DIINN and use load_author_weights.")
    return network_class("DIINN")(variant, encoder, width=width, layers=layers)
