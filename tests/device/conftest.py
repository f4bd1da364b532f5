"""What tests on the make-believe device share."""

import pytest
import torch
from make_believe import make_believe

from restore_lib import data, images
from restore_lib.data.opening import Item


@pytest.fixture
def gpu():
    """Counts of a make-believe GPU that is there during the test."""
    with make_believe() as counts:
        yield counts


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def pieces(tmp_path_factory) -> list[Item]:
    """Middles of the photos that come with the library, 160 pixels wide and high."""
    folder, items = tmp_path_factory.mktemp("pieces"), []
    for item in data.open("embedded"):
        path = folder / f"{item.name}.png"
        images.write(path, images.centre_crop(item.image, 160))
        items.append(Item(item.name, {"image": path}))
    return items


@pytest.fixture
def small_photos(pieces, monkeypatch, tmp_path_factory):
    """The library's photos are small, and what is computed of them is kept for the other tests of this folder."""
    opened = data.open
    monkeypatch.setattr(data, "open", lambda name, *options: pieces if name == "embedded" else opened(name, *options))
    monkeypatch.setenv("RESTORE_CACHE", str(tmp_path_factory.getbasetemp() / "device-cache"))
