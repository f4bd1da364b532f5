"""Small recipes for tests of the loop; as a program, trains one: ``toy.py FOLDER NAME [STEPS] [DEVICES] [PACE]``."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from restore_lib.training import Task, fit
from restore_lib.training.recipes import Recipe
from restore_lib.training.task import mix


def pictures(step: int, rank: int, world: int, batch: int, seed: int) -> tuple[torch.Tensor]:
    """This process's part of a batch of random smooth pictures."""
    whole = torch.rand(batch, 3, 4, 4, generator=torch.Generator().manual_seed(mix(seed, step)))
    whole = nn.functional.interpolate(whole, size=12, mode="bilinear")
    return (whole.chunk(world)[rank].contiguous(),)


class Net(nn.Module):
    """Batch norm, dropout and a buffer: everything whose state a careless resume forgets."""

    def __init__(self, norm: bool = True, dropout: float = 0.1):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(8, 3, 3, padding=1),
        )

    def forward(self, x):
        return x - self.body(x)


@dataclass(frozen=True)
class Toy(Recipe):
    """Denoise toy pictures, with everything switched on."""

    name: str = "toy"
    tiers: Mapping = field(default_factory=lambda: {"smoke": {"steps": 10}, "gpu": {"steps": 50}})
    steps: int = 60
    batch_size: int = 8
    validate_every: int = 10
    norm: bool = True
    dropout: float = 0.1
    learning_rate: float = 0.01
    poison: int = 0  # a step whose loss is spoilt
    spoilt: float = float("nan")
    patience: int = 0  # with a best validation to wait for

    def task(self, seed: int) -> Task:
        net = Net(self.norm, self.dropout)
        optimizer = torch.optim.Adam(net.parameters(), self.learning_rate)

        def step(run, batch):
            (clean,) = batch
            noisy = clean + 0.1 * run.randn(clean)
            loss = (run.networks["net"](noisy) - clean).square().mean()
            if run.step == self.poison:
                loss = loss * self.spoilt
            run.update("net", loss)
            return {"loss": loss.detach()}

        fixed = pictures(10**6, 0, 1, 4, seed)[0]
        return Task(
            networks={"net": net},
            optimizers={"net": optimizer},
            schedulers={"net": torch.optim.lr_scheduler.MultiStepLR(optimizer, [20, 40], 0.5)},
            step=step,
            batches=lambda step, rank, world: pictures(step, rank, world, self.batch_size, seed),
            validate=lambda nets: {"error": (nets["net"](fixed) - fixed).square().mean()},
            average={"net": 0.9},
            clip={"net": 0.5},
            best=("error", min) if self.patience else None,
            patience=self.patience,
        )


@dataclass(frozen=True)
class ToyGAN(Recipe):
    """Two networks against each other, under the eyes of a frozen third."""

    name: str = "toy-gan"
    steps: int = 40
    batch_size: int = 4
    validate_every: int = 10

    def task(self, seed: int) -> Task:
        generator, judge, eyes = Net(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3)), Net()

        def step(run, batch):
            (real,) = batch
            fake = run.networks["generator"](real + 0.1 * run.randn(real))
            soft = nn.functional.softplus
            loss_d = soft(-run.networks["judge"](real)).mean() + soft(run.networks["judge"](fake.detach())).mean()
            run.update("judge", loss_d)
            seen = (run.frozen["eyes"](fake) - run.frozen["eyes"](real)).abs().mean()
            loss_g = seen + 0.1 * soft(-run.networks["judge"](fake)).mean()
            run.update("generator", loss_g)
            return {"generator": loss_g.detach(), "judge": loss_d.detach()}

        return Task(
            networks={"generator": generator, "judge": judge},
            optimizers={
                "generator": torch.optim.Adam(generator.parameters(), 0.003),
                "judge": torch.optim.SGD(judge.parameters(), 0.01, momentum=0.9),
            },
            step=step,
            batches=lambda step, rank, world: pictures(step, rank, world, self.batch_size, seed),
            frozen={"eyes": eyes},
        )


def main(folder: str, name: str, steps: str = "60", devices: str = "1", pace: str = "0") -> None:
    """Train in ``folder``, saving at every look; ``pace`` seconds between steps give a killer time to aim."""
    import time

    from lightning_fabric import Fabric

    torch.set_num_threads(1)
    changes = {"norm": False, "dropout": 0.0} if name == "even" else {}
    recipe = (ToyGAN if name == "toy-gan" else Toy)(steps=int(steps), validate_every=2, **changes)
    if float(pace):
        task = type(recipe).task

        def slow(self, seed):
            made = task(self, seed)
            step = made.step
            made.step = lambda run, batch: (time.sleep(float(pace)), step(run, batch))[1]
            return made

        type(recipe).task = slow
    many = int(devices) > 1
    fabric = Fabric(accelerator="cpu", devices=int(devices), strategy="ddp" if many else "auto")
    run = fit(recipe, folder, seed=5, fabric=fabric, save_minutes=0, quiet=True)
    print("done", run.step, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
