"""What the tests of data share."""

import pytest
import torch
from PIL import Image

from restore_lib.data.opening import Item


@pytest.fixture
def draw(tmp_path, rng):
    """Random pictures of the given (height, width), as PNG files and their items."""

    def make(sizes, name="a", folder="png") -> list[Item]:
        (tmp_path / folder).mkdir(exist_ok=True)
        items = [
            Item(f"{name}{number}", {"image": tmp_path / folder / f"{name}{number}.png"})
            for number in range(len(sizes))
        ]
        for item, size in zip(items, sizes, strict=True):
            levels = torch.randint(256, (*size, 3), generator=rng, dtype=torch.uint8)
            Image.fromarray(levels.numpy()).save(item.parts["image"])
        return items

    return make
