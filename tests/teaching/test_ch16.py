"""References of chapter 16 against layers on joined inputs, interpolation, and multiplications that are counted."""

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from restore_lib.fast.decoders import decode
from restore_lib.implicit import DIINNDecoder, coordinates
from restore_lib.teaching import check
from restore_lib.teaching.checks import all_exercises
from restore_lib.teaching.exercises import ch16

SPLIT, SHARES, PARAMETERS, COST = (all_exercises()[f"16.{number}"] for number in (1, 2, 3, 4))


def test_two_products_are_the_layer(rng):
    weight, bias, z = SPLIT.inputs(rng)
    table, rest = SPLIT.reference(weight, bias, z)
    for i, content in enumerate(z):
        s = torch.randn(rest.shape[1], generator=rng, dtype=torch.float64)
        assert torch.allclose(table[i] + rest @ s, weight @ torch.cat([s, content]) + bias, atol=1e-9)


def test_shares_are_those_of_straight_lines(rng):
    """Mixing values by areas is bilinear interpolation, here by PyTorch."""
    small, large = 4, 13
    axis = coordinates.around(small, large)
    inside = [k for k in range(large) if axis.index[0, k] != axis.index[1, k]]  # away from the border
    values = torch.rand(small, small, generator=rng, dtype=torch.float64)
    expected = functional.interpolate(values[None, None], size=(large, large), mode="bilinear")[0, 0]
    for y in inside:
        pairs = [(i, j) for i in (0, 1) for j in (0, 1)]
        offset = torch.stack([
            torch.stack([torch.stack([axis.offset[i, y], axis.offset[j, x]]) for x in inside]) for i, j in pairs
        ])  # fmt: skip
        corners = torch.stack([values[axis.index[i, y], axis.index[j, inside]] for i, j in pairs])
        found = (SHARES.reference(offset) * corners).sum(0)
        assert torch.allclose(found, expected[y, inside], atol=1e-5)  # places are rounded to float32


def test_parameters_by_hand(rng):
    assert PARAMETERS.reference(64, 256, 4) == [693_251, 544_259, 1_135_619, 986_627, 1_135_619, 986_627]
    sizes = PARAMETERS.inputs(rng)
    assert PARAMETERS.reference(*sizes) == ch16._counted(*sizes)


def test_multiplications_are_those_that_happen(rng):
    channels, width, layers, scale = 5, 32, 4, 4
    decoder, feature = DIINNDecoder(channels, width=width, layers=layers), torch.rand(1, channels, 4, 8, generator=rng)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        decode(decoder, feature, (4 * scale, 8 * scale))
    counted = counter.get_total_flops() / 2 / (4 * scale * 8 * scale)
    assert counted == pytest.approx(COST.reference(9 * channels, width, layers, scale)[1].item())


def cost_in_words(content, width, layers, scale):
    synthesis = 3 * width + (layers - 1) * width * width
    modulation = layers * content * width + (layers - 1) * width * width
    plain = synthesis + modulation + width * 3
    return [plain, plain - layers * content * width + layers * content * width * scale**-2]


def shares_by_factors(offset):
    down, across = offset.abs().unbind(2)
    return (1 - down / 2) * (1 - across / 2)


@pytest.mark.parametrize(("number", "answer"), [("16.2", shares_by_factors), ("16.4", cost_in_words)])
def test_other_ways_to_write_it_pass(number, answer):
    assert check(number, answer, seed=1).passed
