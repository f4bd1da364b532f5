"""What a recipe gives to the loop, and what a step may use while the loop runs."""

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from restore_lib.errors import TrainingError
from restore_lib.training.precision import Speed

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # slow to load


@dataclass
class Task:
    """What the loop trains, and how; networks, optimisers and schedulers by name."""

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    #: ``step(run, batch)`` computes losses, calls :meth:`Run.update` for each optimiser, and returns losses by name as
    #: 0-dimensional tensors; a run whose first one is NaN or explodes is stopped.
    step: Callable[["Run", tuple[Tensor, ...]], Mapping[str, Tensor]]
    #: ``batches(step, rank, world)``: this process's part of a batch, on the CPU; a pure function of its arguments.
    batches: Callable[[int, int, int], tuple[Tensor, ...]]
    schedulers: dict[str, LRScheduler] = field(default_factory=dict)  #: Each steps with the optimiser of its name.
    #: Metrics of the networks, averaged where there are averages.
    validate: Callable[[Mapping[str, nn.Module]], Mapping[str, float]] | None = None
    frozen: dict[str, nn.Module] = field(default_factory=dict)  #: What losses look through, not trained.
    average: dict[str, float] = field(default_factory=dict)  #: Decay of the moving average of a network's weights.
    clip: dict[str, float] = field(default_factory=dict)  #: Largest gradient norm, by optimiser.
    #: A metric of the validation and which of two values is better, as ``("lpips", min)``: the first network's best
    #: weights (averaged where there are averages) are kept, from before the first step on.
    best: tuple[str, Callable[[float, float], float]] | None = None
    patience: int = 0  #: Validations in a row without a better one that end the run; 0: none do.
    on_cpu: tuple[int, ...] = ()  #: Numbers of a batch's parts that stay on the CPU, such as sizes.


def one_network(
    name: str, network: nn.Module, optimizer: Optimizer, rate: Callable[[int], float], decay: float
) -> dict[str, Any]:
    """What a :class:`Task` of one network has by its name; ``rate(step)`` multiplies the learning rate.

    ``decay`` is that of the averaged weights; 0: the last ones are kept.
    """
    return {
        "networks": {name: network},
        "optimizers": {name: optimizer},
        "schedulers": {name: LambdaLR(optimizer, rate)},
        "average": {name: decay} if decay else {},
    }


class Run:
    """A task while it runs: what a step may use. Its networks and frozen ones are ready to be called on its device.

    ``best`` is the best validation so far (step, value and weights), where the task asks for it; ``ended`` says that
    all steps are done, or that the task's patience is at its end.
    """

    def __init__(self, task: Task, fabric: "Fabric", speed: Speed, seed: int):
        self.task, self.fabric, self.speed, self.seed, self.step = task, fabric, speed, seed, 0
        self.device, self.ended = fabric.device, False
        self.best: dict[str, Any] | None = None
        self.averaged = {
            name: speed.laid_out(copy.deepcopy(task.networks[name]).requires_grad_(False).eval().to(self.device))
            for name in task.average
        }
        self.networks, self.optimizers = {}, {}
        for name, network in task.networks.items():
            # Sizes of a network's parameters decide the layout of the optimiser's memory: move before it exists.
            self.networks[name] = fabric.setup_module(speed.prepare(network), move_to_device=True)
        for name, optimizer in task.optimizers.items():
            for group in optimizer.param_groups:
                group["fused"] = speed.fused or None
            self.optimizers[name] = fabric.setup_optimizers(optimizer)
        self.frozen = {
            name: speed.prepare(network.eval().requires_grad_(False).to(self.device))
            for name, network in task.frozen.items()
        }

    def received(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A batch on the run's device; a GPU copies it from pinned memory while it computes."""
        stay = self.task.on_cpu
        return tuple(x if i in stay else x.to(self.device, non_blocking=True) for i, x in enumerate(batch))

    def update(self, name: str, loss: Tensor) -> None:
        """Make one update of the weights behind the optimiser ``name`` down the gradient of a loss."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        self.fabric.backward(loss)
        limit = self.task.clip.get(name)
        if limit is not None:
            self.fabric.strategy.precision.unscale_gradients(self.task.optimizers[name])  # in float16 they are scaled
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], limit)
        optimizer.step()
        if name in self.task.schedulers:
            self.task.schedulers[name].step()

    def randn(self, like: Tensor) -> Tensor:
        """Normal random numbers of a local batch's shape: this process's part of those of the whole batch."""
        world, rank = self.fabric.world_size, self.fabric.global_rank
        whole = torch.randn(len(like) * world, *like.shape[1:], generator=self.generator(), device=self.device)
        return self.speed.layout(whole[rank * len(like) : (rank + 1) * len(like)])

    def generator(self, stream: int = 0) -> torch.Generator:
        """A generator on the run's device that starts anew in each step, the same for all processes."""
        return torch.Generator(self.device).manual_seed(mix(self.seed, self.step, 1 + stream))

    @torch.no_grad()
    def update_averages(self) -> None:
        """Move the averaged weights towards the current ones, early on faster, to forget the random start."""
        for name, decay in self.task.average.items():
            decay = min(decay, (1 + self.step) / (10 + self.step))
            pairs = list(zip(_tensors(self.averaged[name]), _tensors(self.task.networks[name]), strict=True))
            means, now = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
            torch._foreach_lerp_(means, now, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
            for count, new in (pair for pair in pairs if not pair[0].is_floating_point()):
                count.copy_(new)

    def note_best(self, metrics: Mapping[str, float]) -> None:
        """Keep the weights that a validation has just looked at, if it was the best one so far."""
        if self.task.best is None:
            return
        metric, better = self.task.best
        value, name = metrics[metric], next(iter(self.task.networks))
        if self.best is None or (value != self.best["value"] and better(value, self.best["value"]) == value):
            weights = self.averaged.get(name, self.task.networks[name]).state_dict()
            self.best = {"step": self.step, "value": value, "weights": {k: v.clone() for k, v in weights.items()}}

    def state_dict(self) -> dict:
        """Everything the next step depends on, but the number of the step."""
        return {
            "networks": {name: network.state_dict() for name, network in self.task.networks.items()},
            "averaged": {name: network.state_dict() for name, network in self.averaged.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.task.optimizers.items()},
            "schedulers": {name: scheduler.state_dict() for name, scheduler in self.task.schedulers.items()},
            "precision": self.fabric.strategy.precision.state_dict(),  # float16's scale
        } | ({"best": self.best} if self.best else {})

    def load_state_dict(self, state: Mapping) -> None:
        """Go on from what :meth:`state_dict` gave; TrainingError where it is the state of another task."""
        task, self.best = self.task, state.get("best")
        own = {"networks": task.networks, "averaged": self.averaged}
        own |= {"optimizers": task.optimizers, "schedulers": task.schedulers}
        for part, objects in own.items():
            if state[part].keys() != objects.keys():
                raise TrainingError(f"The state holds {part} {sorted(state[part])}, the recipe has {sorted(objects)}.")
            for name, each in objects.items():
                each.load_state_dict(state[part][name])
        self.fabric.strategy.precision.load_state_dict(state.get("precision", {}))
        for optimizer in task.optimizers.values():
            _match_layout(optimizer)


def mix(*numbers: int) -> int:
    """A seed out of several numbers, far from the seeds of neighbouring ones."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:8], "little") >> 1


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def _match_layout(optimizer: Optimizer) -> None:
    """Lay an optimiser's memory out as its parameters are: fused kernels walk through both side by side."""
    for parameter, memory in optimizer.state.items():
        for name, value in memory.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                memory[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
