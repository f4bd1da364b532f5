"""Photos window by window: what the network answers for the whole picture, in the memory of a window."""

import pytest
import torch

from restore_lib import implicit, nets
from restore_lib.implicit import inference
from restore_lib.implicit.inference import reach, upscale, windows

ENCODERS = {"rdn": lambda: implicit.RDN(2, 2, 3, 5), "edsr": lambda: nets.EDSR(1, 5, 1.0)}
NETWORKS = {
    "diinn": lambda e: implicit.DIINN("f", e, width=8, layers=3),
    "positional": lambda e: implicit.DIINN("c", e, width=8, layers=2),
    "mode4": lambda e: implicit.DIINN("mode4", e, width=8, layers=2),
    "liif": lambda e: implicit.LIIF(e, hidden=(8, 8)),
    "no ensemble": lambda e: implicit.LIIF(e, hidden=(8,), ensemble=False),
    "metasr": lambda e: implicit.MetaSR(e, width=6),
    "metasr 255": lambda e: implicit.MetaSR(e, width=6, rgb_range=255.0),
}


def lively(name, encoder, rng):
    """A network whose answer depends on all that it sees, in float64, so that rounding hides nothing."""
    network = NETWORKS[name](ENCODERS[encoder]()).double()
    with torch.no_grad():
        for p in network.parameters():
            spread = (2 / p[0].numel()) ** 0.5 if p.ndim > 1 else 0.1
            p.copy_(spread * torch.randn(p.shape, generator=rng).double())
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("size", "tile"), [((63, 70), 9), ((11, 140), 16), ((2, 2), 20), ((71, 80), 100)])
def test_windows_answer_as_the_whole_picture(name, size, tile, rng):
    for encoder in ENCODERS if tile == 9 else ("rdn",):
        network, lr = lively(name, encoder, rng), torch.rand(3, 35, 41, generator=rng).double()
        with torch.no_grad():
            expected = network(lr[None], size)[0]
        found = upscale(network, lr, size, tile=tile)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_windows_answer_as_the_whole_picture_in_float32(name, rng):
    network, lr = NETWORKS[name](ENCODERS["rdn"]()).eval(), torch.rand(3, 35, 41, generator=rng)
    with torch.no_grad():
        expected = network(lr[None], (50, 71))[0]
    torch.testing.assert_close(upscale(network, lr, (50, 71), tile=14), expected, rtol=0, atol=1e-5)


def test_a_window_that_sees_too_little_would_show(rng, monkeypatch):
    network, lr = lively("diinn", "rdn", rng), torch.rand(3, 40, 40, generator=rng).double()
    expected = upscale(network, lr, (90, 90))
    monkeypatch.setattr(inference, "reach", lambda encoder: 0)
    apart = (upscale(network, lr, (90, 90), tile=10) - expected).abs().max() / expected.abs().max()
    assert apart > 1e-4  # else the test above proves nothing


@pytest.mark.parametrize("encoder", [*ENCODERS.values(), implicit.small_trunk])
def test_an_encoder_looks_no_further_than_said(encoder, rng):
    network = encoder().double()
    far = reach(network)
    image = torch.rand(1, 3, 1, 2 * far + 9, generator=rng).double().requires_grad_()
    middle = image.shape[3] // 2
    network(image)[0, :, 0, middle].sum().backward()
    touched = image.grad.abs().sum((0, 1, 2)).nonzero().flatten()
    assert middle - touched.min() <= far and touched.max() - middle <= far


def test_windows_share_the_picture(rng):
    decoders = [implicit.DIINNDecoder(4), implicit.LIIFDecoder(4), implicit.MetaSRDecoder(4)]
    for decoder in decoders:
        for _ in range(20):
            small, large, tile = (int(n) for n in torch.randint(1, 60, (3,), generator=rng))
            axis, answered = decoder.place(small, large), []
            for seen, out, places in windows(axis, small, tile, 3):
                answered += range(large)[out]
                assert torch.equal(places.index + seen.start, axis.index[:, out])
                assert int(places.index.max()) < seen.stop - seen.start <= tile + 6
                assert torch.equal(places.offset, axis.offset[:, out])
            assert answered == list(range(large))


def test_only_windows_are_encoded_and_all_are_told(rng):
    network, seen, told = lively("diinn", "rdn", rng).float(), [], []
    network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    upscale(network, torch.rand(3, 50, 90, generator=rng), (120, 100), tile=30, progress=lambda *n: told.append(n))
    margin = reach(network.encoder) + inference.LOOKS
    assert len(seen) == 6 and max(max(size) for size in seen) <= 30 + 2 * margin
    assert told == [(i + 1, 6) for i in range(6)]


def test_bfloat16_is_near(rng, monkeypatch):
    network, lr = lively("liif", "edsr", rng).float(), torch.rand(3, 24, 20, generator=rng)
    exact = upscale(network, lr, (50, 61))
    monkeypatch.setattr(inference, "in_bfloat16", lambda precision, device: precision == "bf16")
    found = upscale(network, lr, (50, 61), precision="bf16")
    assert not torch.equal(found, exact) and (found - exact).abs().mean() < 0.05 * exact.std()


def test_what_makes_no_sense_is_refused(rng):
    network, lr = lively("diinn", "rdn", rng), torch.rand(3, 5, 5, generator=rng)
    for words, options in (("size must be", {"size": (0, 5)}), ("tile is 0", {"tile": 0})):
        with pytest.raises(ValueError, match=words):
            upscale(network, lr, **({"size": (7, 7)} | options))
    with pytest.raises(ValueError, match="choose one of exact, bf16"):
        upscale(network, lr, (7, 7), precision="half")
    with pytest.raises(ValueError, match=r"call network\.eval"):
        upscale(network.train(), lr, (7, 7))
