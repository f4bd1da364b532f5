"""Labelled pictures of paper A's second half, by what they are for: to train on, to validate with, to test with."""

from functools import cache

import torch

from restore_lib.data import labelled, labelled_files
from restore_lib.data.labelled import Labelled
from restore_lib.data.labelled_files import LabelledFiles

SCENE = 96  # side of drawn scenes in pixels
GOALS = {"scenes": ("classify", "segment"), "tiny": ("classify",), "camvid": ("segment",)}
CLASSES = {"scenes": len(labelled.scenes.CLASSES), "tiny": 10, "camvid": len(labelled.CAMVID)}
CLASSES |= {"ilsvrc": 1000, "voc": len(labelled_files.VOC)}


@cache
def pictures(source: str, goal: str, part: str, count: int = 0) -> Labelled | LabelledFiles:
    """Labelled pictures by what they are for.

    Parameters
    ----------
    source : {"scenes", "tiny", "camvid", "ilsvrc", "voc"}
    goal : {"classify", "segment"}
    part : {"train", "held", "test"}
        ``held`` pictures are for validation: other scenes of the training textures, every twentieth of Tiny ImageNet's
        training pictures, the last eight of CamVid's. ``test`` ones are never looked at in training. For ILSVRC2012
        and VOC 2012 both are the first of the official validation part, as the paper has no other.
    count : int
        Of scenes to draw, of other sources the first so many; 0: the usual number.

    Returns
    -------
    Labelled or LabelledFiles
        The latter for training on ILSVRC2012 and VOC 2012.

    Raises
    ------
    DataError
        The set is not on this computer.
    """
    if source == "scenes":
        usual = {"train": 3600, "held": 240, "test": 240}[part]
        split, seed = ("test", 0) if part == "test" else ("train", int(part == "held"))
        of = {"classify": "label", "segment": "mask"}[goal]
        return labelled.drawn(split, count or usual, SCENE, of=of, seed=seed)
    if source in ("ilsvrc", "voc"):
        return _files(source, part, count)
    if source == "tiny":
        found = labelled.classified("tiny_imagenet10", "val" if part == "test" else "train")
        held = torch.arange(len(found)) % 20 == 19  # the set lies class by class
    else:
        found = labelled.camvid("test" if part == "test" else "train")
        held = torch.arange(len(found)) >= len(found) - 8
    if part != "test":
        found = found.part((held if part == "held" else ~held).nonzero()[:, 0].tolist())
    return found.part(range(min(count, len(found)))) if count else found


def _files(source: str, part: str, count: int) -> Labelled | LabelledFiles:
    """ILSVRC2012 and VOC 2012: files to train on, middles of 224 and 320 pixels in memory to validate with."""
    if part == "train":
        return labelled_files.ilsvrc("train") if source == "ilsvrc" else labelled_files.voc("train_aug")
    found = labelled_files.ilsvrc("val") if source == "ilsvrc" else labelled_files.voc("val")
    size, usual = (224, 1000) if source == "ilsvrc" else (320, 100)
    chosen = range(min(count or usual, len(found)))
    middles, targets = zip(*(found.centre(number, size) for number in chosen), strict=True)
    targets = torch.stack(targets)
    targets = targets if source == "ilsvrc" else targets.to(torch.uint8)
    names = [found.names[number] for number in chosen]
    return Labelled(found.name, found.split, names, torch.stack(middles), targets, found.classes, found.digest)
