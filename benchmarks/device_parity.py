"""Compare every network's answer on the GPU with the CPU's; ends with an error where they differ too much.

Inference by `upscale` and `denoise`, one step of training of each kind at tier smoke, and what deterministic settings
give twice. Without a GPU both sides are the CPU: the script itself can be tried.
"""

import tempfile
from pathlib import Path

import torch
from lightning_fabric import Fabric

import restore_lib as rl
from restore_lib import data, images
from restore_lib.pretrained import checkpoints
from restore_lib.recipes import RECIPES
from restore_lib.training import at_tier, fit
from restore_lib.training.loop import make_fabric
from restore_lib.training.precision import best_device, deterministic
from restore_lib.training.state import load_state, states

MODELS = ("diinn-cpu", "liif-cpu", "metasr-cpu", "rrdb-gan-both-cpu", "edsr-l1-bicubic-cpu")
TRAINED = ("small-denoiser", "diinn", "rrdb-gan-both")
LEAST = 60.0  # dB, of a PSNR between both answers


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    """Between two tensors of numbers around 1."""
    return float(-10 * (a.double() - b.double()).square().mean().clamp(min=1e-20).log10())


def weights(name: str, fabric: Fabric) -> torch.Tensor:
    """All weights of a recipe after four steps."""
    with tempfile.TemporaryDirectory() as folder:
        fit(at_tier(RECIPES[name], "smoke", steps=4), Path(folder), fabric=fabric, quiet=True)
        networks = load_state(states(folder)[-1])[0]["networks"]
        return torch.cat([value.float().flatten() for network in networks.values() for value in network.values()])


def main() -> None:
    """Print a line for each comparison."""
    device, worst = best_device(), 1e9
    deterministic()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    photo = images.centre_crop(data.open("embedded")[0].image, 64)
    rows = {f"upscale by {name}": [] for name in MODELS if name in checkpoints.names()}
    for place in ("cpu", device):
        for name in rows:
            rows[name].append(rl.upscale(photo, model=name.rpartition(" ")[2], device=place))
    rows["denoise"] = [rl.denoise(photo, 25, device=place) for place in ("cpu", device)]
    for name in TRAINED:
        fabrics = (Fabric(accelerator="cpu", devices=1), make_fabric())
        rows[f"4 steps of {name}"] = [weights(name, fabric) for fabric in fabrics]
    for name, (a, b) in rows.items():
        agree = psnr(a, b)
        worst = min(worst, agree)
        print(f"{name:36} {agree:6.1f} dB between the CPU and {device}", flush=True)
    same = torch.equal(weights("diinn", make_fabric()), rows["4 steps of diinn"][1])
    print(f"twice on {device}: {'the same bits' if same else 'different bits'}")
    if worst < LEAST or not same:
        raise SystemExit(f"The devices differ: at least {LEAST:.0f} dB are expected, and the same bits twice.")


if __name__ == "__main__":
    main()
