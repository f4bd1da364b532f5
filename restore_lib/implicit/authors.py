"""Weights that the authors of DIINN, LIIF and Meta-SR trained, in networks of this library.

Names and shapes in their files are those of the official repositories: ``robotic-vision-lab/Dual-Interactive-Implicit-
Neural-Network``, ``yinboc/liif`` and ``XuecaiHu/Meta-SR-Pytorch`` (whose encoders come from ``EDSR-PyTorch``).
"""

import re
from collections.abc import Mapping
from os import PathLike

import torch
from torch import Tensor, nn

from restore_lib.errors import CheckpointError
from restore_lib.implicit.anyscale import AnyScale
from restore_lib.implicit.diinn import DIINN, DIINNDecoder
from restore_lib.implicit.liif import LIIF, LIIFDecoder
from restore_lib.implicit.metasr import MetaSR, MetaSRDecoder
from restore_lib.nets import EDSR, RDN
from restore_lib.nets.edsr import MEAN, RANGE

State = Mapping[str, Tensor]

# Official names on the left; in every second layer of a Sequential there is an activation, so numbers are halved (#).
_MLP = [(r"(?:imnet\.layers|layers|P2W\.meta_block)\.(\d+)\.", r"layers.#\1."), (r"(\d+)\.", r"layers.#\1.")]
RENAMES = {
    RDN: [
        (r"SFENet1\.", "first."),
        (r"SFENet2\.", "second."),
        (r"RDBs\.(\d+)\.convs\.(\d+)\.conv\.0\.", r"blocks.\1.convs.\2."),
        (r"RDBs\.(\d+)\.LFF\.", r"blocks.\1.fuse."),
        (r"GFF\.0\.", "gather."),
        (r"GFF\.1\.", "last."),
    ],
    EDSR: [
        (r"head\.0\.", "head."),
        (r"body\.(\d+)\.body\.(\d+)\.", r"blocks.\1.convs.#\2."),
        (r"body\.\d+\.", "body."),
        (r"tail\.0\.(\d+)\.", r"ups.#\1."),
        (r"tail\.1\.", "tail."),
    ],
    DIINNDecoder: [
        (r"K\.(\d+)\.0\.", r"modulation.\1."),
        (r"Q\.(\d+)\.0\.", r"synthesis.\1."),
        (r"first_layer\.0\.", "position."),
        (r"last_layer\.", "last."),
    ],
    LIIFDecoder: _MLP,
    MetaSRDecoder: _MLP,
}
_MODES = {1: "ab", 2: "cd", 3: "ef"}  # of DIINN's code, with and without the positional layer
_WRAPPINGS = ("module.", "net.", "model.")


def load_author_weights(module: nn.Module, official_state_dict: State) -> None:
    """Copy weights under their official names into a network, a decoder or an encoder of this library.

    Parameters
    ----------
    module
        A :class:`DIINN`, :class:`LIIF` or :class:`MetaSR`, its decoder alone, or an encoder alone (:class:`RDN`,
        :class:`EDSR`, this one also with its upsampler).
    official_state_dict
        All of its weights and nothing else; a name may begin with what Lightning, DataParallel or the whole model
        put before it.

    Raises
    ------
    CheckpointError
        A weight is missing, left over, of another shape, or not finite. The module then is as it was.
    """
    for key, value in official_state_dict.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"Weights must be tensors, but {key} is a {type(value).__name__}.")
    state = _unwrapped(official_state_dict)
    if isinstance(module, AnyScale):
        inner, outer = _halves(state)
        weights = {f"encoder.{k}": v for k, v in _renamed(module.encoder, inner).items()}
        weights |= {f"decoder.{k}": v for k, v in _renamed(module.decoder, outer).items()}
    else:
        if any(key.startswith("encoder.") for key in state) and not all(key.startswith("encoder.") for key in state):
            raise CheckpointError(f"These are the weights of a whole model, not of {type(module).__name__} alone.")
        for part in ("encoder.", "decoder."):
            if state and all(key.startswith(part) for key in state):
                state = {key.removeprefix(part): value for key, value in state.items()}
        weights = _renamed(module, state)
    own = module.state_dict()
    for key in weights.keys() & own.keys():
        if own[key].ndim == 2 and weights[key].ndim == 4:  # a 1x1 convolution there, a linear layer here
            weights[key] = weights[key].flatten(2).squeeze(2) if weights[key].shape[2:] == (1, 1) else weights[key]
    problem = _misfit(weights, own)
    if problem:
        raise CheckpointError(f"These weights do not fit {type(module).__name__}: {problem}.")
    module.load_state_dict(weights)


def load_author_checkpoint(path: str | PathLike) -> DIINN | LIIF | MetaSR:
    """The network in a file that the authors' code saved, ready to use.

    Parameters
    ----------
    path
        A Lightning checkpoint of DIINN's code (which trains LIIF and Meta-SR, too), a file of LIIF's code with
        ``{"model": {"name", "args", "sd"}}``, or a state dict of Meta-SR's code. Read with ``weights_only=True``: a
        file cannot run anything.

    Returns
    -------
    DIINN, LIIF or MetaSR
        In evaluation mode. Its sizes are those of the weights in the file.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, or of another network.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no file {path}.") from error
    except Exception as error:  # damaged files fail in many ways
        raise CheckpointError(
            f"{path} cannot be read as weights: it is damaged or no PyTorch checkpoint; get it again from its authors."
        ) from error
    try:
        model = _built(content)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no checkpoint of DIINN, LIIF or Meta-SR that this library can build: {error or 'it is empty'}."
        ) from error
    try:
        load_author_weights(model, _contents(content)[0])
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return model.eval()


def _contents(content: object) -> tuple[State, Mapping]:
    """The state dict, and what the file says about the network, of all three formats."""
    state, told = content, {}
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        state, told = content["model"].get("sd"), content["model"].get("args")
    elif isinstance(content, Mapping) and "state_dict" in content:
        state, told = content["state_dict"], content.get("hyper_parameters")
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise ValueError("it holds no tensors by name")
    return state, told if isinstance(told, Mapping) else {}


def _built(content: object) -> DIINN | LIIF | MetaSR:
    """A network as large as the weights, of the kind that their names tell."""
    state, told = _contents(content)
    inner, outer = _halves(_unwrapped(state))
    encoder = _encoder(inner, told)
    if "K.0.0.weight" in outer:
        return _diinn(encoder, outer, told)
    weights = [value for key, value in outer.items() if key.endswith("weight")]
    if len(weights) < 2:
        raise ValueError("it has no decoder")
    if weights[0].shape[1] == 3:
        shift = inner.get("sub_mean.bias") if any(key.startswith("P2W.") for key in outer) else None
        rgb_range = None if shift is None else float(-shift[0] / MEAN[0])
        return MetaSR(encoder, width=len(weights[0]), rgb_range=rgb_range)
    options = {
        (9 if unfold else 1) * encoder.channels + (4 if cell else 2): {"unfold": unfold, "cell": cell}
        for unfold in (True, False)
        for cell in (True, False)
    }
    hidden = [len(weight) for weight in weights[:-1]]
    return LIIF(encoder, hidden=hidden, ensemble=bool(told.get("local_ensemble", True)), **options[weights[0].shape[1]])


def _diinn(encoder: nn.Module, state: State, told: Mapping) -> DIINN:
    width, layers = len(state["K.0.0.weight"]), sum(bool(re.fullmatch(r"K\.\d+\.0\.weight", key)) for key in state)
    positional = "first_layer.0.weight" in state
    if state["last_layer.weight"].shape[2:] == (3, 3):
        variant = "mode4"
    elif layers > 1 and state["K.1.0.weight"].shape[1] == width:
        variant = _MODES[1][not positional]
    elif "mode" in told:  # modes 2 and 3 have the same weights
        variant = _MODES[int(told["mode"])][not positional]
    else:
        raise ValueError("it does not say which mode it was trained in: build a DIINN and use load_author_weights")
    return DIINN(variant, encoder, width=width, layers=layers)


def _encoder(state: State, told: Mapping) -> nn.Module:
    """RDN or EDSR, as large as the weights."""
    if "SFENet1.weight" in state:
        blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("RDBs."))
        layers = 1 + max(int(key.split(".")[3]) for key in state if key.startswith("RDBs.0.convs."))
        growth, width = state["RDBs.0.convs.0.conv.0.weight"].shape[:2]
        return RDN(blocks, layers, growth, width)
    if "head.0.weight" in state:
        width, blocks = (
            len(state["head.0.weight"]),
            sum(bool(re.fullmatch(r"body\.\d+\.body\.0\.bias", k)) for k in state),
        )
        spec = (told.get("encoder_spec") or {}).get("args") or {}
        # The official code's default: 0.1 in the network with 256 channels, else 1.
        return EDSR(blocks, width, float(spec.get("res_scale", 0.1 if width == 256 else 1.0)))
    raise ValueError("its encoder is neither RDN nor EDSR")


def _unwrapped(state: State) -> dict[str, Tensor]:
    """Without what Lightning and DataParallel put before names, and Lightning's two numbers for normalising."""
    state = {key: value for key, value in state.items() if key not in ("sub", "div")}
    for wrapping in _WRAPPINGS:
        if state and all(key.startswith(wrapping) for key in state):
            return _unwrapped({key.removeprefix(wrapping): value for key, value in state.items()})
    return state


def _halves(state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Encoder and decoder of a whole model. In Meta-SR's own code the encoder's names have nothing before them."""
    inner, outer = {}, {}
    bare = any(key.startswith("P2W.") for key in state)
    for key, value in state.items():
        if key.startswith("encoder.") or (bare and not key.startswith("P2W.")):
            inner[key.removeprefix("encoder.")] = value
        else:
            outer[key.removeprefix("decoder.")] = value
    return inner, outer


def _renamed(module: nn.Module, state: State) -> dict[str, Tensor]:
    """Weights of one encoder or decoder under the names of this library."""
    rules = next((rules for kind, rules in RENAMES.items() if isinstance(module, kind)), [])
    if isinstance(module, (EDSR, RDN)):
        _check_colours(module, state)
        state = {key: value for key, value in state.items() if not key.startswith(("sub_mean.", "add_mean."))}
    found = {}
    for key, value in state.items():
        name = key
        for pattern, replacement in rules:
            name, fits = re.subn(f"^{pattern}", replacement, key)
            if fits:
                break
        if key == "P2W.meta_block.0.weight" and value.shape[1:] == (3,):
            value = value[:, [1, 2, 0]]  # Meta-SR's own code has 1 / scale before the place
        found[re.sub(r"#(\d+)", lambda match: str(int(match[1]) // 2), name)] = value
    return found


def _check_colours(module: nn.Module, state: State) -> None:
    """A mean that is taken off by the file's network, and by an upsampling one of ours, must be the same."""
    shift = state.get("sub_mean.bias")
    if getattr(module, "scale", None) is None or shift is None:
        return
    expected = -RANGE * torch.tensor(MEAN)
    if shift.shape != (3,) or not torch.allclose(shift.float(), expected, rtol=1e-3):
        raise CheckpointError(
            f"These weights want colours from 0 to 255 and DIV2K's mean, but take off {shift.tolist()}."
        )


def _misfit(weights: State, own: State) -> str:
    """Why weights do not fit, in words; empty when they do."""
    for have, lack, words in ((own, weights, "they have no"), (weights, own, "the network has no")):
        keys = sorted(have.keys() - lack.keys())
        if keys:
            return f"{words} {keys[0]}" + (f" and {len(keys) - 1} more" if keys[1:] else "")
    for key, value in weights.items():
        if value.shape != own[key].shape:
            return f"{key} is {tuple(value.shape)}, in the network {tuple(own[key].shape)}"
        if not torch.isfinite(value).all():
            return f"{key} has numbers that are not finite"
    return ""
