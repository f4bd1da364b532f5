"""The registry against the lists of the staged sets, against itself, and against copies damaged on purpose."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image
from pydantic import ValidationError

import restore_lib
from restore_lib import data, files
from restore_lib.data import checking, registry
from restore_lib.errors import DataError

ROOT = Path(restore_lib.__file__).resolve().parent.parent
SETS = [data.find(name) for name in data.names("set")]
BY_HAND = [data.find(name) for name in data.names("by hand")]


def named(data_set) -> str:
    return data_set.name


@pytest.fixture
def trunk(monkeypatch, tmp_path):
    """Stands for the trunk weights that metrics lists: a copy without an address, and a published file."""
    (tmp_path / "trunk").write_bytes(b"a trunk")
    digest = files.sha256(tmp_path / "trunk")
    trunks = (
        files.KnownFile("copy/trunk.pth", digest),
        files.KnownFile("t.pth", digest[:8], "https://t.invalid/t.pth", 7),
    )
    monkeypatch.setattr(registry, "TRUNKS", dict.fromkeys(("alex", "vgg", "squeeze"), trunks))
    registry.find.cache_clear()
    yield tmp_path / "trunk"
    registry.find.cache_clear()


def test_it_knows_what_was_staged_and_what_needs_a_hand():
    assert len(SETS) == 18 and len(BY_HAND) == 7
    assert data.names() == [name for kind in registry.KINDS for name in data.names(kind)]
    assert len(set(data.names())) == len(data.names())


def test_it_agrees_with_the_staged_list(photos):
    """Apart from lists of names and labels, which the library states in its own files."""
    staged = dict(reversed(line.split("  ")) for line in (photos / "SHA256SUMS").read_text().splitlines())
    staged = {path: digest for path, digest in staged.items() if Path(path).suffix not in (".txt", ".tsv")}
    whole = {file.path: file.sha256 for file in registry.find("div2k_test_x4").files}  # of which a part is staged
    part = {file.path: file.sha256 for file in registry.find("div2k_test_lr_x4").files}
    assert {path.replace("_lr_", "_"): digest for path, digest in part.items()}.items() <= whole.items()
    known = {file.path: file for data_set in SETS if data_set.name != "div2k_test_x4" for file in data_set.files}
    assert {path: file.sha256 for path, file in known.items()} == staged
    assert all((photos / path).stat().st_size == file.size for path, file in known.items())


@pytest.mark.parametrize("data_set", SETS, ids=named)
def test_every_address_is_pinned_to_a_commit(data_set):
    paths = [file.path for file in data_set.files]
    assert len(set(paths)) == len(paths) > 0
    for file in data_set.files:
        assert (
            re.fullmatch(r"[0-9a-f]{64}", file.sha256) and file.size > 0 and file.path.startswith(data_set.name + "/")
        )
        if data_set.name == "phone_photos":
            assert file.url is None
            continue
        address = urlsplit(file.url)
        assert address.scheme == "https" and address.netloc == "raw.githubusercontent.com" and not address.query
        owner, repository, commit, *folders, name = unquote(address.path).split("/")[1:]
        assert f"{owner}/{repository}" == data_set.repository and re.fullmatch(r"[0-9a-f]{40}", commit)
        assert "." not in folders and "" not in folders and name == Path(file.path).name
    urls = [file.url for file in data_set.files if file.url]
    assert len(set(urls)) == len(urls)


def test_addresses_where_the_repository_has_other_folders():
    address = {
        file.path: file.url.split("/", 6)[6] for name in data.names("set") for file in data.find(name).files if file.url
    }
    assert address["tiny_imagenet10/train/n01443537/n01443537_0.JPEG"] == (
        "tiny-imagenet-200/train/n01443537/images/n01443537_0.JPEG"
    )
    assert address["tiny_imagenet10/val/n04146614/val_8.JPEG"] == "tiny-imagenet-200/val/images/val_8.JPEG"
    assert address["div2krk/gt_k_x2/kernel_1.mat"] == "datasets/DIV2KRK/gt_k_x2/kernel_1.mat"
    assert address["imagenet_sample200/n01440764_tench.JPEG"] == "n01440764_tench.JPEG"
    assert address["urban100_every8th/img_001_SRF_4_HR.png"] == "data/Urban100/image_SRF_4/img_001_SRF_4_HR.png"


def test_views_are_parts_and_training_parts_do_not_meet_them(photos):
    paths = {name: {file.path for file in data.find(name).files} for name in ("bsds500", "b100", "cbsd68")}
    assert (
        len(paths["b100"]) == 100 and len(paths["cbsd68"]) == 68 and paths["cbsd68"] < paths["b100"] < paths["bsds500"]
    )
    for name, listing in (("b100", "bsd100.txt"), ("cbsd68", "cbsd68.txt")):
        assert paths[name] == {f"bsds500/{line}" for line in (photos / "bsds500" / listing).read_text().split()}
    assert not {item.parts["image"] for item in data.open("bsds500", "train400")} & {
        item.parts["image"] for item in data.open("b100")
    }


@pytest.mark.parametrize("spelling", ["Set5", "set-5", "SET 5"])
def test_spelling_does_not_matter(spelling):
    assert data.find(spelling).name == "set5"


@pytest.mark.parametrize(
    ("wrong", "near"), [("sett5", "set5"), ("urban100", "urban100_every8th"), ("div2krkk", "div2krk")]
)
def test_an_unknown_name_gets_the_nearest(wrong, near):
    with pytest.raises(DataError, match=f"did you mean {near}\\?"):
        data.find(wrong)
    with pytest.raises(DataError, match="`restore data list` shows"):
        data.find("xyzzy")


@pytest.mark.parametrize("name", data.names())
def test_every_card_is_whole(name):
    data_set, text = data.find(name), data.card(name)
    assert text.startswith(f"## {data_set.title}\n") and text.endswith("\n") and "None" not in text
    for fact in ("Name", "Contents", "Licence", "Terms", "Source", "Cite", "To get it"):
        assert re.search(rf"(?m)^- \*\*{fact}\*\*: \S", text)
    assert text.count("`") % 2 == 0 and "|" not in text
    assert f"{{{data_set.cite}," in (ROOT / "book/references.bib").read_text(encoding="utf-8")
    if data_set.kind == "by hand":
        assert data_set.address.startswith("http") and f"restore data verify {name}" in text and "fetch" not in text


def test_fetching_by_hand_or_without_an_address_says_where_to_go():
    for data_set in BY_HAND:
        with pytest.raises(DataError, match="cannot be fetched") as caught:
            data.fetch(data_set.name)
        assert data_set.address in str(caught.value) and f"restore data verify {data_set.name}" in str(caught.value)
    with pytest.raises(DataError, match="no address serves it; put a copy below a folder that RESTORE_DATA names"):
        data.fetch("phone_photos")
    assert data.fetch("embedded") == []


def test_verify_finds_one_changed_bit_and_a_missing_file(photos, monkeypatch, tmp_path):
    copy = tmp_path / "copies"
    shutil.copytree(photos / "set5", copy / "set5")
    monkeypatch.setenv("RESTORE_DATA", str(copy))
    assert data.verify("set5").problems == []
    bird = bytearray((copy / "set5/bird.png").read_bytes())
    bird[len(bird) // 2] ^= 1
    (copy / "set5/bird.png").write_bytes(bird)
    (copy / "set5/baby.png").unlink()
    for folder in (None, copy, copy / "set5"):
        report = data.verify("set5", folder)
        assert report.lines == ("set5: 3 of 5 files have the right hash",)
        assert "1 file is missing (set5/baby.png); 1 file is damaged (set5/bird.png)" in report.sentence()
        assert "restore data fetch set5" in report.sentence()
    with pytest.raises(DataError, match="holds no set5"):
        data.verify("set5", tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        data.verify("set5", tmp_path / "nowhere")
    assert data.fetch_files([f for f in data.find("set5").files if "woman" in f.path]) == [copy / "set5/woman.png"]


def test_verify_of_a_set_that_is_not_there():
    with pytest.raises(DataError, match="Set5 is not on this computer: run `restore data fetch set5`"):
        data.verify("set5")


def test_embedded_photographs_are_verified():
    assert data.verify("embedded").problems == []


@pytest.mark.parametrize("path", ["t.pth", "copy/trunk.pth"])
def test_one_file_of_weights_is_enough_known_by_a_prefix_of_its_hash(trunk, path):
    with pytest.raises(DataError, match="restore data fetch lpips-alex"):
        data.verify("lpips-alex")
    assert checking.status(data.find("lpips-alex")) == (0, 1, "")
    target = files.cache_folder() / path
    target.parent.mkdir(parents=True)
    shutil.copy(trunk, target)
    assert data.verify("lpips-alex").problems == [] and data.fetch("lpips-alex") == [target]
    assert checking.status(data.find("lpips-alex")) == (1, 1, "cache")
    assert checking.holders(data.find("lpips-alex")) == [target.parent]
    target.write_bytes(b"no trunk")
    assert "damaged" in data.verify("lpips-alex").sentence()
    with pytest.raises(DataError, match="holds weights, not pictures"):
        data.open("lpips-alex")


def test_the_trunks_that_metrics_lists_can_be_fetched():
    for name in data.names("weights"):
        file = checking.needed(data.find(name), [])[0]
        assert file.url.startswith("https://download.pytorch.org/models/") and file.url.endswith(f"-{file.sha256}.pth")


def picture(path: Path, size=(3, 2)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 99, 199)).save(path)


@pytest.fixture
def div2k(tmp_path) -> Path:
    """A folder with every high-resolution name of DIV2K, each a picture of six pixels."""
    folder = tmp_path / "mine/DIV2K"
    picture(folder / "first.png")
    content = (folder / "first.png").read_bytes()
    for part, numbers in (("DIV2K_train_HR", range(1, 801)), ("DIV2K_valid_HR", range(801, 901))):
        (folder / part).mkdir()
        for number in numbers:
            (folder / part / f"{number:04d}.png").write_bytes(content)
    return folder


def test_a_folder_by_hand_is_checked_by_name(div2k):
    for folder in (div2k, div2k.parent):
        report = data.verify("div2k", folder)
        assert report.problems == [] and report.lines[0] == "DIV2K_train_HR: 800 of 800 files"
    (div2k / "DIV2K_train_HR/0003.png").unlink()
    (div2k / "DIV2K_valid_HR/0801.png").write_bytes(b"no picture")
    sentence = data.verify("div2k", div2k).sentence()
    assert "1 missing in DIV2K_train_HR (0003.png); damaged in DIV2K_valid_HR: 0801.png" in sentence
    shutil.rmtree(div2k / "DIV2K_valid_HR")
    assert "folder DIV2K_valid_HR is missing" in data.verify("div2k", div2k).sentence()
    with pytest.raises(DataError, match="holds nothing of Flickr2K"):
        data.verify("flickr2k", div2k)


def test_a_folder_by_hand_is_checked_by_number_lines_and_partner(tmp_path):
    voc = tmp_path / "VOCdevkit/VOC2012"
    picture(voc / "JPEGImages/2007_000001.jpg")
    picture(voc / "SegmentationClass/2007_000001.png")
    (voc / "ImageSets/Segmentation").mkdir(parents=True)
    for name, lines in (("train", 1464), ("val", 1448)):
        (voc / f"ImageSets/Segmentation/{name}.txt").write_text("2007_000001\n" * lines)
    sentence = data.verify("voc2012", tmp_path).sentence()
    assert "JPEGImages holds 1 *.jpg, 17,125 belong there" in sentence
    assert "damaged in ImageSets/Segmentation: val.txt" in sentence and "train.txt" not in sentence
    for name in ("iphone/0.jpg", "iphone/1.jpg", "canon/0.jpg"):
        picture(tmp_path / "dped/iphone/training_data" / name)
    assert "1 missing in iphone/training_data/canon (1.jpg)" in data.verify("dped", tmp_path).sentence()
    picture(tmp_path / "dped/iphone/training_data/canon/1.jpg")
    assert data.verify("dped", tmp_path).problems == []


@pytest.mark.parametrize("data_set", BY_HAND, ids=named)
def test_an_empty_folder_is_not_a_set(data_set, tmp_path):
    if data_set.layout[0].folder == ".":
        assert "holds 0 *.png, 109 belong there" in data.verify(data_set.name, tmp_path).sentence()
        return
    with pytest.raises(DataError, match="holds nothing of"):
        data.verify(data_set.name, tmp_path)


def test_a_card_with_an_unknown_key_is_refused(monkeypatch, tmp_path):
    """In the card itself, and in a row of its layout."""
    card = json.loads((registry.FOLDER / "div2k.json").read_text())
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    (tmp_path / "card.json").write_text(json.dumps(card | {"colour": "red"}))
    (tmp_path / "row.json").write_text(json.dumps(card | {"layout": [card["layout"][0] | {"fist": 1}]}))
    for name, key in (("card", "colour"), ("row", "fist")):
        with pytest.raises(ValidationError, match=key):
            data.find(name)
