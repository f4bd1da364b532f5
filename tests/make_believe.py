"""A GPU that is not there: tensors that say they are on ``cuda:0``, compute on the CPU, and refuse what CUDA refuses.

:func:`make_believe` is a context in which ``device="cuda"`` gives such tensors, from factories, ``to`` and ``cuda``. It
counts what would make a real GPU slow (:class:`Counts`). It cannot show speed, memory, or how CUDA's kernels round.
"""

import contextlib
import copy
import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from unittest import mock

import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators import CPUAccelerator
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from lightning_fabric.strategies import SingleDeviceStrategy
from torch.optim.optimizer import _foreach_supported_types
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

CUDA = torch.device("cuda:0")
aten = torch.ops.aten
WAITING = {  # whose result, or its size, the processor must know before it goes on
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten.bincount.default,
    aten.repeat_interleave.Tensor,
    aten._unique2.default,
    aten.unique_consecutive.default,
    aten.unique_dim.default,
}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
COPIES = {aten.copy_.default, aten._to_copy.default}
FREE = ("empty", "new_empty", "detach", "alias", "lift_fresh", "_unsafe_view", "_reshape_alias", "set_", "_has_compat")


@dataclass
class Counts:
    """What was asked of the device since the last :meth:`clear`."""

    launches: int = 0  #: kernels: operations other than views and allocations; a ``_foreach`` or fused one counts once
    uploads: int = 0  #: copies from the processor's memory
    blocking: int = 0  #: of these, those that wait: from memory that is not pinned, or not asked to be non-blocking
    waits: int = 0  #: times that the processor waits for the device's answer
    cpu_autocasts: int = 0  #: ``autocast("cpu")``, which does nothing on a GPU
    by_name: Counter = field(default_factory=Counter)  #: launches of each operation
    going_back: bool = False  #: whether autograd is at work

    def clear(self) -> None:
        self.__init__()


class CudaTensor(torch.Tensor):
    """A tensor on ``cuda:0``, to all that ask; its numbers lie in ``elem``, on the CPU."""

    elem: torch.Tensor
    counts = Counts()  # of the context that is active
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, elem: torch.Tensor):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            elem.size(),
            strides=elem.stride(),
            storage_offset=elem.storage_offset(),
            dtype=elem.dtype,
            layout=elem.layout,
            device=elem.device,
        )
        made.elem = elem
        return made

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def __repr__(self):
        return f"CudaTensor({self.elem!r})"

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        twin = CudaTensor(self.elem.detach().clone(memory_format=torch.preserve_format))
        twin.requires_grad_(self.requires_grad)
        twin.__dict__.update({k: copy.deepcopy(v, memo) for k, v in self.__dict__.items() if k != "elem"})
        memo[id(self)] = twin
        return twin

    def numpy(self, **options):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, dtype=None):
        return self.numpy()

    def pin_memory(self, device=None):
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")

    def tolist(self):
        self.counts.waits += 1
        return self.elem.tolist()

    def new_tensor(self, data, dtype=None, device=None, requires_grad=False):
        return torch.tensor(data, dtype=dtype or self.dtype, device=device or CUDA, requires_grad=requires_grad)

    def cpu(self, memory_format=torch.preserve_format):
        return self.to("cpu")

    def cuda(self, device=None, non_blocking=False):
        return self

    def to(self, *args, **kwargs):
        goal, kwargs = _parsed(self, args, kwargs)
        if goal is None or goal.type == "cuda":
            return super().to(**kwargs)
        self.counts.waits += not kwargs.get("non_blocking")
        return _Download.apply(self).to(**kwargs)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        originals: dict[int, CudaTensor] = {}
        strangers: list[torch.Tensor] = []

        def unwrap(x):
            if isinstance(x, CudaTensor):
                originals[id(x.elem)] = x
                return x.elem
            if isinstance(x, torch.Tensor) and x.ndim:
                strangers.append(x)
            return x

        plain_args, plain_kwargs = tree_map(unwrap, args), tree_map(unwrap, kwargs)
        if func is aten.copy_.default and not isinstance(args[0], CudaTensor):  # into a tensor on the CPU
            cls.counts.waits += not (len(args) > 2 and args[2])
            return func(*plain_args, **plain_kwargs)
        cls._count(func, args, plain_args, strangers)
        out = func(*plain_args, **plain_kwargs)

        def wrap(x):
            if not isinstance(x, torch.Tensor):
                return x
            return originals[id(x)] if id(x) in originals else CudaTensor(x)

        return tree_map(wrap, out)

    @classmethod
    def _count(cls, func, args, plain_args, strangers) -> None:
        """Count an operation, or refuse it."""
        counts, name = cls.counts, func._schema.name.removeprefix("aten::")
        if func is aten.copy_.default:
            if not isinstance(args[1], CudaTensor):
                counts.uploads += 1
                counts.blocking += not (len(args) > 2 and args[2] and getattr(args[1], "pinned", False))
        elif func in INDEXING and isinstance(args[0], CudaTensor):
            indices = [index for index in plain_args[1] if index is not None]
            foreign = [index for index in args[1] if index is not None and not isinstance(index, CudaTensor)]
            counts.waits += sum(index.dtype in (torch.bool, torch.uint8) for index in indices)
            counts.uploads += len(foreign)  # indices on the CPU are brought over, and waited for
            counts.blocking += len(foreign)
            strangers = [x for x in strangers if not any(x is index for index in foreign)]
        if (
            counts.going_back
        ):  # zeros that autograd makes in C++, for outputs that no loss has used, lie on the CPU here
            strangers = [x for x in strangers if x.any()]
        if strangers and func is not aten.copy_.default:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
                f"({name} got {[tuple(x.shape) for x in strangers]} on the CPU)"
            )
        counts.waits += func in WAITING
        if not (func.is_view or name.startswith(FREE) or func is aten._local_scalar_dense.default):
            counts.launches += 1
            counts.by_name[name] += 1


class _Upload(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return CudaTensor(x.detach().clone())

    @staticmethod
    def backward(ctx, gradient):
        return gradient.elem


class _Download(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.elem.detach().clone()

    @staticmethod
    def backward(ctx, gradient):
        return CudaTensor(gradient)


class CudaGenerator(torch._C.Generator):
    """A generator on the device."""

    device = property(lambda self: CUDA)


def _generator(device="cpu"):
    return CudaGenerator() if torch.device(device).type == "cuda" else torch._C.Generator(device)


def _parsed(x, args, kwargs):
    """The device that arguments of ``Tensor.to`` name, or None; and all other arguments by name."""
    args, kwargs = list(args), dict(kwargs)
    goal, like = kwargs.pop("device", None), kwargs.pop("other", None)
    if args and isinstance(args[0], torch.Tensor):
        like = args.pop(0)
    elif args and not isinstance(args[0], torch.dtype):
        goal = args.pop(0)
    if like is not None:
        goal, kwargs["dtype"] = like.device, like.dtype
    else:
        kwargs["dtype"] = (args.pop(0) if args else None) or kwargs.get("dtype") or x.dtype
    kwargs.update(zip(("non_blocking", "copy"), args, strict=False))
    return None if goal is None else torch.device("cuda", goal) if isinstance(goal, int) else torch.device(goal), kwargs


class _Factories(TorchFunctionMode):
    """Gives tensors on the make-believe device to all that ask for ``device="cuda"``."""

    def __init__(self, counts: Counts):
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.Tensor.to, torch.Tensor.cuda) and not isinstance(args[0], CudaTensor):
            goal, named = _parsed(args[0], args[1:], kwargs)
            if func is torch.Tensor.cuda or (goal is not None and goal.type == "cuda"):
                return self._upload(args[0].to(**named), named, args[0])
            return func(*args, **kwargs)
        generator, asked = kwargs.get("generator"), kwargs.get("device")
        if generator is not None:
            place = CUDA if asked is not None and torch.device(asked).type == "cuda" else torch.device("cpu")
            if any(isinstance(x, CudaTensor) for x in args):
                place = CUDA
            if generator.device.type != place.type:
                raise RuntimeError(
                    f"Expected a '{place.type}' device type for generator but found '{generator.device}'"
                )
        if func is torch.Tensor.backward:
            self.counts.going_back = True
            try:
                return func(*args, **kwargs)
            finally:
                self.counts.going_back = False
        if asked is None or torch.device(asked).type != "cuda":
            return func(*args, **kwargs)
        args, kwargs = tree_map(
            lambda x: x.elem if isinstance(x, CudaTensor) else x, (args, {**kwargs, "device": "cpu"})
        )
        kwargs.pop("pin_memory", None)
        made = func(*args, **kwargs)
        if func in (torch.tensor, torch.as_tensor, torch.asarray):
            return self._upload(made, {}, made)
        self.counts.launches += not func.__name__.startswith("empty")
        self.counts.by_name[func.__name__] += 1
        wants = made.requires_grad
        return CudaTensor(made.detach()).requires_grad_(wants)

    def _upload(self, x, kwargs, source):
        self.counts.uploads += 1
        self.counts.blocking += not (kwargs.get("non_blocking") and getattr(source, "pinned", False))
        return _Upload.apply(x)


def _pin(x, device=None):
    if isinstance(x, CudaTensor):
        return x.pin_memory()
    pinned = x.clone(memory_format=torch.preserve_format)
    pinned.pinned = True
    return pinned


def _autocast(counts: Counts):
    """``torch.autocast`` for which ``"cuda"`` concerns the make-believe device, and ``"cpu"`` does not."""
    real = torch.autocast

    class Autocast(real):
        def __init__(self, device_type, dtype=None, enabled=True, cache_enabled=None):
            if device_type == "cuda":
                super().__init__("cpu", dtype or torch.float16, enabled, cache_enabled)
            else:
                counts.cpu_autocasts += bool(enabled)
                super().__init__(device_type, dtype, False, cache_enabled)

    return Autocast


def _without_gradients(mode):
    """``inference_mode`` as ``no_grad``: views of tensors of other classes cannot be taken in the former."""
    mode.instead = torch.no_grad()
    mode.instead.__enter__()


class _Accelerator(CPUAccelerator):
    def setup_device(self, device):
        """Any device is set up."""


def fabric(precision: str = "32-true") -> Fabric:
    """Lightning Fabric on the make-believe device, one process."""
    plugin = Precision() if precision == "32-true" else MixedPrecision(precision, "cuda")
    return Fabric(strategy=SingleDeviceStrategy(CUDA, _Accelerator(), precision=plugin))


@contextlib.contextmanager
def make_believe(capability: tuple[int, int] = (9, 0)) -> Iterator[Counts]:
    """A context in which there is a GPU of some compute capability: (9, 0) is an H200, (7, 5) a T4 without bfloat16."""
    counts = CudaTensor.counts = Counts()
    types = _foreach_supported_types
    swapped = torch.__future__.get_swap_module_params_on_conversion()
    with contextlib.ExitStack() as stack:
        for target, name, value in (
            (torch, "Generator", _generator),
            (torch, "autocast", _autocast(counts)),
            (torch.Tensor, "pin_memory", _pin),
            (torch.inference_mode, "__enter__", _without_gradients),
            (torch.inference_mode, "__exit__", lambda mode, *error: mode.instead.__exit__(*error)),
            (torch.cuda, "is_available", lambda: True),
            (torch.cuda, "get_device_capability", lambda device=None: capability),
            (torch.cuda, "get_device_name", lambda device=None: "make-believe"),
            (torch.cuda, "synchronize", lambda device=None: None),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        types.append(CudaTensor)
        stack.callback(types.remove, CudaTensor)
        torch.__future__.set_swap_module_params_on_conversion(True)  # moved parameters stay the objects that they were
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, swapped)
        stack.enter_context(_Factories(counts))
        yield counts


def on_device(function):
    """Decorates a test: it runs on the make-believe device."""

    @functools.wraps(function)
    def run(*args, **kwargs):
        with make_believe():
            return function(*args, **kwargs)

    return run
