"""Every network gives the output of its authors' own code, on weights under the authors' names."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_weights import by_rule

from restore_lib import realsr
from restore_lib.fast.decoders import decode
from restore_lib.implicit import DIINN, LIIF, RDN, MetaSR
from restore_lib.nets.rrdbnet import RRDBNet
from restore_lib.pretrained import load_author_weights

NO_ENCODER = torch.nn.Identity()
NETWORKS = {
    "diinn_decoder_mode1_x4.0": lambda: DIINN("b", NO_ENCODER).decoder,
    "diinn_decoder_mode2_initq_x2.7": lambda: DIINN("c", NO_ENCODER).decoder,
    "diinn_decoder_mode3_x2.0": lambda: DIINN("f", NO_ENCODER).decoder,
    "diinn_decoder_mode3_x2.7": lambda: DIINN("f", NO_ENCODER).decoder,
    "diinn_decoder_mode4_x2.7": lambda: DIINN("mode4", NO_ENCODER).decoder,
    "liif_x2.0": lambda: LIIF(NO_ENCODER).decoder,
    "liif_x7.3": lambda: LIIF(NO_ENCODER).decoder,
    "metasr_x2.7": lambda: MetaSR(NO_ENCODER).decoder,
    "rdn_b": RDN,
    "esrgan_rrdb23": RRDBNet,
    "kernelgan_g": realsr.KernelGenerator,
    "realsr_patch_d": realsr.PatchDiscriminator,
    "realsr_vgg128_d": realsr.VGGDiscriminator,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_the_authors_code(name):
    fixture = np.load(Path(__file__).parent / f"{name}.npz")
    weights = by_rule(json.loads(str(fixture["keys"])), int(fixture["seed"]))
    network = load_author_weights(NETWORKS[name](), weights).eval()
    given = torch.from_numpy(fixture["image" if "image" in fixture else "feature"])
    size = (fixture["size"].tolist(),) if "size" in fixture else ()
    expected = torch.from_numpy(fixture["expected"])
    near = 1e-5 * max(1, float(expected.abs().max()))  # some of these weights give values up to 51
    for gradients in (False, True):  # accelerations without gradients compute the same
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(network(given, *size), expected, rtol=0, atol=near)
            if size:
                torch.testing.assert_close(decode(network, given, *size), expected, rtol=0, atol=near)


def test_the_generators_kernel_is_its_layers():
    fixture = np.load(Path(__file__).parent / "kernelgan_g.npz")
    weights = by_rule(json.loads(str(fixture["keys"])), int(fixture["seed"]))
    generator = load_author_weights(realsr.KernelGenerator(), weights)
    image, expected = (torch.from_numpy(fixture[key]) for key in ("image", "expected"))
    composed = torch.nn.functional.conv2d(image[0][:, None], generator.kernel()[None, None], stride=2)
    torch.testing.assert_close(composed[:, 0], expected[0], rtol=0, atol=1e-5)


def test_every_fixture_is_compared():
    assert {path.stem for path in Path(__file__).parent.glob("*.npz")} == set(NETWORKS)
