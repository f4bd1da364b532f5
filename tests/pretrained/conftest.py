"""What the tests of trained networks share: a folder for checkpoints, and a network that is saved in it."""

from pathlib import Path

import pytest
from cards_made_up import Small, card, randomised
from torch import nn

from restore_lib.pretrained import checkpoints


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def saved(home, rng) -> nn.Module:
    """A network whose checkpoint lies in ``home``."""
    network = randomised(Small(), rng)
    checkpoints.save_checkpoint(network, card(), home)
    return network
