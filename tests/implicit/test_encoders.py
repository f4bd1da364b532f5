"""RDN: its size, and every layer against the paper's formula."""

import pytest
import torch
from torch.nn import functional

from restore_lib.implicit import LIIF, RDN, small_trunk


def test_rdn_has_as_many_parameters_as_configuration_b():
    assert sum(p.numel() for p in RDN().parameters()) == 21_973_952
    assert sum(p.numel() for p in small_trunk().parameters()) == 465_472


def plain_rdn(net, x):
    """Eqs. 1 to 5 with everything joined, as the paper writes them."""
    shallow = net.first(x)
    x, outputs = net.second(shallow), []
    for block in net.blocks:
        seen = [x]
        for conv in block.convs:
            seen.append(functional.relu(conv(torch.cat(seen, dim=1))))
        x = x + block.fuse(torch.cat(seen, dim=1))
        outputs.append(x)
    return shallow + net.last(net.gather(torch.cat(outputs, dim=1)))


@pytest.mark.parametrize("batch", [1, 3])
def test_rdn_is_the_papers(batch, rng):
    net = RDN(3, 2, 5, 7).double()
    x = torch.rand(batch, 3, 6, 9, generator=rng, dtype=torch.float64)
    expected = plain_rdn(net, x)
    torch.testing.assert_close(net(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(net(x), expected)


def test_what_does_not_exist_is_refused():
    assert RDN(1, 1, 4, 6).channels == 6
    with pytest.raises(ValueError, match="at least 1"):
        RDN(blocks=0)
    with pytest.raises(ValueError, match="encoder must be one of rdn, edsr-baseline, edsr, small or a module"):
        LIIF("vgg")
