"""The networks under LPIPS: which files hold their weights, and loading them without ever trusting a wrong one."""

import contextlib
import io
import warnings
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from restore_lib import compat, files
from restore_lib.errors import DataError
from restore_lib.files import KnownFile

TORCHVISION = "https://download.pytorch.org/models/"

#: Files that hold a trunk, any one of which will do. PyTorch publishes the first eight digits of a file's hash, in
#: its name; the files without an address hold the same weights in less space (VGG's in half precision).
TRUNKS = {
    "alex": (
        KnownFile("lpips_alex/lpips_alex_v0.1.pth", "58aef7cfcb2f06aef7a4c0b5c32608d114ab7676d7aba57069ea52b378c74431"),
        KnownFile("torchvision/alexnet-owt-7be5be79.pth", "7be5be79", TORCHVISION + "alexnet-owt-7be5be79.pth"),
    ),
    "vgg": (
        KnownFile(
            "lpips_vgg/lpips_vgg_v0.1_fp16w.pth", "3a2f50d6910fc7c6e1a01ef7be4e303fdbe487af264b6388b8ac18e324d3e4c9"
        ),
        KnownFile("torchvision/vgg16-397923af.pth", "397923af", TORCHVISION + "vgg16-397923af.pth"),
    ),
    "squeeze": (
        KnownFile("torchvision/squeezenet1_1-b8a52dc0.pth", "b8a52dc0", TORCHVISION + "squeezenet1_1-b8a52dc0.pth"),
    ),
}


def network(net: str, device: torch.device | str = "cpu") -> nn.Module:
    """LPIPS version 0.1 with its trunk, frozen, in evaluation mode.

    Parameters
    ----------
    net : {"alex", "vgg", "squeeze"}
        The trunk.
    device
        Where it runs.

    Raises
    ------
    DataError
        The weights are missing or damaged; the message names the command that fetches them.
    ValueError
        No such trunk.
    """
    if net not in TRUNKS:
        raise ValueError(f"net is {net!r}: choose one of {', '.join(TRUNKS)}")
    path, known = _find(net)
    status = path.stat()
    return _load(net, path, known.sha256, (status.st_mtime_ns, status.st_size), str(device))


def _find(net: str) -> tuple[Path, KnownFile]:
    for known in TRUNKS[net]:
        path = files.locate(known.path)
        if path is not None:
            return path, known
    raise DataError(
        f"LPIPS needs the weights of its {net} network, which are not on this computer: run "
        f"`restore data fetch lpips-{net}`, or name a folder that holds them in RESTORE_DATA."
    )


@lru_cache(maxsize=4)
def _load(net: str, path: Path, known: str, stamp: tuple[int, int], device: str) -> nn.Module:
    """The network of a verified file; ``stamp`` makes a file that was replaced be read again."""
    if not files.matches(path, known):
        raise DataError(f"{path} is damaged or not what it says: delete it and run `restore data fetch lpips-{net}`.")
    compat.import_torchvision()
    import lpips

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of torchvision, about how the package asks for an untrained trunk
        model = lpips.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False)
    weights = torch.load(path, map_location="cpu", weights_only=True)
    trunk = model.net.state_dict()  # sliceS.I.weight is features.I.weight in torchvision's naming
    model.net.load_state_dict({key: weights["features." + key.split(".", 1)[1]].float() for key in trunk})
    return model.requires_grad_(False).eval().to(device)
