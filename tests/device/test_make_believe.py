"""The make-believe device refuses what CUDA refuses, counts what a GPU would wait for, and computes as the CPU does."""

import copy

import numpy as np
import pytest
import torch
from make_believe import CudaTensor
from torch import nn
from torch.nn import functional as F

CPU = torch.rand(4, 5)


def refused(what, words: str, error: type = RuntimeError) -> None:
    with pytest.raises(error, match=words):
        what()


def test_tensors_say_where_they_are(gpu):
    for x in (torch.rand(3, device="cuda"), CPU.to("cuda"), CPU.cuda(), CPU.to(torch.device("cuda", 0), torch.float64)):
        assert isinstance(x, CudaTensor) and x.device == torch.device("cuda:0") and x.is_cuda and not x.is_cpu
        for y in (x + 1, x[:2], torch.zeros_like(x), x.new_zeros(2), x.double(), x.detach(), x.sum()):
            assert isinstance(y, CudaTensor)
        assert x.cpu().device.type == x.to("cpu").device.type == "cpu"
    assert CPU.to("cuda").to(CPU).device.type == "cpu" and CPU.to(CPU.cuda()).is_cuda


def test_devices_do_not_mix_but_for_single_numbers(gpu):
    x = CPU.cuda()
    for mixed in (
        lambda: x + CPU,
        lambda: torch.cat([x, CPU]),
        lambda: F.linear(x, CPU),
        lambda: CPU.mul(x),
        lambda: x.add_(CPU),
        lambda: x.index_select(0, torch.tensor([1])),
        lambda: torch.where(x > 0, x, CPU),
    ):
        refused(mixed, "same device")
    assert (x * torch.tensor(2.0)).is_cuda and (torch.tensor(2.0) * x).is_cuda
    y = torch.empty(4, 5)
    y[:] = x  # a copy may cross
    y.copy_(x)
    x.copy_(CPU)
    assert torch.equal(y, CPU)


def test_numpy_pinning_and_generators(gpu):
    x = CPU.cuda()
    refused(x.numpy, "can't convert cuda:0", TypeError)
    refused(lambda: np.asarray(x), "can't convert cuda:0", TypeError)
    refused(x.pin_memory, "only dense CPU tensors can be pinned")
    refused(lambda: torch.randn(3, device="cuda", generator=torch.Generator()), "'cuda' device type for generator")
    refused(lambda: torch.randn(3, generator=torch.Generator("cuda")), "'cpu' device type for generator")
    refused(lambda: x.normal_(generator=torch.Generator()), "'cuda' device type for generator")
    drawn = [torch.randn(3, device="cuda", generator=torch.Generator("cuda").manual_seed(5)).cpu() for _ in range(2)]
    assert torch.equal(*drawn)


def test_waits_are_counted(gpu):
    x = CPU.cuda()
    for waiting in (
        lambda: x.sum().item(),
        lambda: float(x[0, 0]),
        lambda: bool((x > 2).any()),
        lambda: x.cpu(),
        lambda: x.to("cpu"),
        lambda: x.tolist(),
        lambda: x.nonzero(),
        lambda: x[x > 0.5],
        lambda: torch.equal(x, x),
        lambda: torch.empty(4, 5).copy_(x),
    ):
        gpu.clear()
        waiting()
        assert gpu.waits == 1
    gpu.clear()
    x[1:, ::2], x[..., None], x.sum(), x.to("cpu", non_blocking=True), x.long()[:, 0].float()
    assert gpu.waits == 0


def test_copies_to_the_device_are_counted_and_those_that_wait(gpu):
    x = torch.rand(8, device="cuda")
    for upload, blocking in (
        (lambda: CPU.cuda(), 1),
        (lambda: CPU.to("cuda", non_blocking=True), 1),  # its memory is not pinned
        (lambda: CPU.pin_memory().to("cuda", non_blocking=True), 0),
        (lambda: CPU.pin_memory().to("cuda"), 1),
        (lambda: torch.tensor([1, 2], device="cuda"), 1),
        (lambda: x.new_tensor([1.0]), 1),
        (lambda: x[torch.tensor([0, 3])], 1),
        (lambda: x[[0, 3]], 1),
        (lambda: x.copy_(torch.rand(8)), 1),
    ):
        gpu.clear()
        upload()
        assert (gpu.uploads, gpu.blocking) == (1, blocking)
    gpu.clear()
    torch.zeros(3, device="cuda"), torch.arange(3, device="cuda"), x.new_zeros(2), x + 1, x * torch.tensor(2.0)
    assert gpu.uploads == 0


def test_launches_are_counted(gpu):
    x = torch.empty(4, 4, device="cuda")
    gpu.clear()
    x.view(16), x[1:], x.mT, x.detach(), torch.empty(3, device="cuda"), x.expand(2, 4, 4)
    assert gpu.launches == 0
    x.add_(1), torch._foreach_add_([x, x], 1), x.relu() + 1
    assert gpu.launches == 4 and gpu.by_name["_foreach_add_"] == 1


def test_a_moved_network_keeps_its_parameters_and_learns_as_on_the_cpu(gpu):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 3))
    moved, x = copy.deepcopy(net), torch.rand(2, 3, 8, 8)
    before = list(moved.parameters())
    for fused in (None, True):
        pairs = [(each, torch.optim.Adam(each.parameters(), 0.1, fused=fused)) for each in (net, moved)]
        moved.to("cuda")
        kept = zip(moved.parameters(), before, strict=True)
        assert all(p is q and p.is_cuda and isinstance(p, nn.Parameter) for p, q in kept)
        for each, optimizer in pairs:
            for _ in range(3):
                optimizer.zero_grad()
                each(x.to(next(each.parameters()).device)).square().mean().backward()
                optimizer.step()
        for a, b in zip(net.state_dict().values(), moved.state_dict().values(), strict=True):
            assert torch.allclose(a, b.cpu(), atol=1e-5)
        twin = copy.deepcopy(moved)
        twin[0].weight.data.zero_()
        assert (
            float(moved[0].weight.detach().abs().sum()) > 0 and twin[0].weight.is_cuda and twin[0].weight.requires_grad
        )


def test_autocast_of_the_cpu_does_nothing_here(gpu):
    x, weight = torch.rand(2, 3, device="cuda"), torch.rand(4, 3, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        assert F.linear(x, weight).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert F.linear(x, weight).dtype == torch.float32 and gpu.cpu_autocasts == 1


def test_gradients_pass_from_one_device_to_the_other(gpu):
    x = CPU.clone().requires_grad_()
    (3 * x.cuda()).cpu().sum().backward()
    assert torch.equal(x.grad, torch.full_like(CPU, 3))


def test_nothing_is_left_behind():
    assert not torch.cuda.is_available() and torch.Generator().device.type == "cpu"
    with pytest.raises((AssertionError, RuntimeError)):
        torch.zeros(1, device="cuda")
