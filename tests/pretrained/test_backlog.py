"""The backlog: an ordered list of plain data, and a page that says the same."""

import json
from dataclasses import replace

import pytest

from restore_lib.errors import CheckpointError
from restore_lib.pretrained import backlog, checkpoints
from restore_lib.pretrained.backlog import Wanted

TWO = [
    Wanted("first", "denoiser-25", "gpu", 0, "Table 1 | sigma 25", 1000, 1000),
    Wanted("second", "denoiser-35", "cpu", 3, "Table 1, sigma 35", 3000, 1999),
]


def test_the_page_in_the_repository_is_the_rendering_of_its_list():
    folder = checkpoints.checkpoints_folder()
    assert (folder / backlog.PAGE).read_text(encoding="utf-8") == backlog.markdown(backlog.load())


def test_the_list_knows_how_far_the_shipped_checkpoints_are_trained():
    trained = {card.name: card.steps for card in checkpoints.cards()}
    wanted = [entry for entry in backlog.load() if entry.name in trained]
    assert wanted and all(entry.steps_done >= trained[entry.name] for entry in wanted)


def test_what_is_saved_is_what_is_loaded(tmp_path):
    assert backlog.load(tmp_path) == []
    for wanted in (TWO, TWO[::-1], []):
        backlog.save(wanted, tmp_path)
        assert backlog.load(tmp_path) == wanted
        assert (tmp_path / "BACKLOG.md").read_text(encoding="utf-8") == backlog.markdown(wanted)


def test_the_most_valuable_unfinished_one_comes_next():
    assert backlog.next_unfinished(TWO) == TWO[1]
    assert backlog.next_unfinished([replace(TWO[0], steps_done=999), TWO[1]]).name == "first"
    assert backlog.next_unfinished(TWO[:1]) is None and backlog.next_unfinished([]) is None


def test_the_page_says_what_continues_each():
    rows = [line for line in backlog.markdown(TWO).splitlines() if line.startswith("| ")][1:]
    assert rows == [
        "| first | Table 1 &#124; sigma 25 | 1,000 | yes |  |",
        "| second | Table 1, sigma 35 | 3,000 | 1,999 (66 %) | "
        "`restore train denoiser-35 --tier cpu --seed 3 --resume` |",
    ]


def test_progress_is_noted_in_both_files(tmp_path):
    backlog.save(TWO, tmp_path)
    backlog.advance("second", 3000, tmp_path)
    assert backlog.load(tmp_path) == [TWO[0], replace(TWO[1], steps_done=3000)]
    assert "2 of 2 finished" in (tmp_path / "BACKLOG.md").read_text(encoding="utf-8")
    before = (tmp_path / "backlog.json").read_bytes()
    backlog.advance("unknown", 1, tmp_path)
    assert (tmp_path / "backlog.json").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps_done": "1"}, "entry 2: the field steps_done is '1'"),
        ({"steps_wanted": 0}, "some must be wanted"),
        ({"seed": True}, "the field seed is True"),
        ({"why": " "}, "the field why is ' '"),
        ({"tier": "huge"}, "no checkpoint can be 'second' at tier 'huge'"),
        ({"name": "first"}, "two entries have the same name"),
        ({"extra": 1}, "the field extra is unknown"),
    ],
)
def test_bad_entries_are_one_sentence(tmp_path, changes, words):
    backlog.save(TWO, tmp_path)
    path = tmp_path / "backlog.json"
    entries = json.loads(path.read_text())
    path.write_text(json.dumps([entries[0], entries[1] | changes]))
    with pytest.raises(CheckpointError, match=words) as error:
        backlog.load(tmp_path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_damaged_files_are_one_sentence_and_nothing_bad_is_written(tmp_path):
    path = tmp_path / "backlog.json"
    for text in ("[", "{}", "[1]", "[{}]"):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=r"is damaged|is not a good backlog"):
            backlog.load(tmp_path)
    with pytest.raises(CheckpointError, match="The backlog was not written: entry 1"):
        backlog.save([replace(TWO[0], steps_wanted=-1)], tmp_path)
    assert path.read_text() == "[{}]"
