"""Offsets counted in something else than characters, found out and read aright."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_lightning.data import units
from qa_lightning.data.alignment import align
from qa_lightning.data.sources import RawSplit, read_examples
from qa_lightning.data.splits import Split
from qa_lightning.data.units import offsets_in_characters
from tests.data.prepared import prepare
from tests.data.tokenizers import characters

Count = Callable[[str, int], int]

UNITS: dict[str, Count] = {
    "UTF-8 bytes": lambda text, at: len(text[:at].encode()),
    "UTF-16 code units": lambda text, at: len(text[:at].encode("utf-16-le")) // 2,
    "UTF-16 bytes": lambda text, at: len(text[:at].encode("utf-16-le")),
    "characters of the stripped context": lambda text, at: at - len(text) + len(text.lstrip()),
    "UTF-8 bytes of the stripped context": lambda text, at: len(text[:at].lstrip().encode()),
    "characters with \\r\\n counted once": lambda text, at: len(text[:at].replace("\r\n", "\n")),
    "UTF-16 code units with \\r\\n counted once": lambda text, at: (
        len(text[:at].replace("\r\n", "\n").encode("utf-16-le")) // 2
    ),
    "characters with \\n counted twice": lambda text, at: len(text[:at].replace("\r\n", "\n").replace("\n", "\r\n")),
    "characters with runs of white space counted once": lambda text, at: len(" ".join((text[:at] + "x").split())) - 1,
    "characters counted from 1": lambda text, at: at + 1,
    "characters 9 too low": lambda text, at: at - 9,
}
"""What a note calls each unit, and where a character stands in it."""


def contexts(count: int = 12) -> list[str]:
    """Texts in which every word occurs several times, with all that units differ in."""
    draw = random.Random(0)
    parts = ["cat", "dog", "né", "水", "🐢", "कि", "ox"]
    gaps = [" ", "  ", "\n", "\r\n", " \t"]
    words = (draw.choice(parts) + draw.choice(gaps) for _ in range(60 * count))
    starts = [draw.choice(["", " ", "\n ", "   "]) + "----------" for _ in range(count)]
    return [start + "".join(islice(words, 60)) for start in starts]


def golds_of(texts: list[str]) -> tuple[list[str], list[int], np.ndarray[Any, Any]]:
    """Every third word of each, where it stands, and in which text."""
    golds = [
        (word, at, number)
        for number, text in enumerate(texts)
        for word, at in [(word, at) for at, word in _words(text)][3::3]
    ]
    words, starts, of = map(list, zip(*golds, strict=True))
    return words, starts, np.array(of)


def _words(text: str) -> list[tuple[int, str]]:
    return [(match.start(), match[0]) for match in re.finditer(r"[^\s-]+", text)]


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_is_found_and_every_gold_is_where_it_was(unit: str) -> None:
    texts = contexts()
    words, starts, of = golds_of(texts)
    counted: list[int | None] = [UNITS[unit](texts[number], at) for at, number in zip(starts, of.tolist(), strict=True)]
    assert counted != starts
    counted[5] = None
    found = offsets_in_characters(words, counted, of, texts)
    assert found.note == f"read as {unit}"
    assert found.starts == [*starts[:5], None, *starts[6:]]


def test_characters_stay_as_they_are() -> None:
    texts = contexts()
    words, starts, of = golds_of(texts)
    assert offsets_in_characters(words, list(starts), of, texts) == units.Offsets(list(starts), "")
    nothing = np.zeros(0, dtype=np.int64)
    assert (
        offsets_in_characters([], [], nothing, [])
        == offsets_in_characters([], [], nothing, ["text"])
        == units.Offsets([], "")
    )
    assert offsets_in_characters(["cat"], [None], np.zeros(1, np.int64), ["cat"]) == units.Offsets([None], "")


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_careless_offsets_are_no_unit(share: float) -> None:
    """Some golds are a little off, as after editing; the others say that characters are meant."""
    texts = contexts(40)
    words, starts, of = golds_of(texts)
    draw = random.Random(1)
    moved: list[int | None] = [at + draw.choice([-3, -2, -1, 1, 2, 3]) * (draw.random() < share) for at in starts]
    assert offsets_in_characters(words, list(moved), of, texts) == units.Offsets(moved, "")


def test_offsets_that_are_nearly_all_wrong_are_reported() -> None:
    texts = contexts(40)
    words, starts, of = golds_of(texts)
    draw = random.Random(1)
    moved: list[int | None] = [at + draw.randrange(2, 40) for at in starts]
    found = offsets_in_characters(words, moved, of, texts)
    assert found.starts == moved
    assert found.note.startswith("are in no known unit: 9")
    assert found.note.endswith("% of the golds stand elsewhere than they say")
    # Golds that stand nowhere are another matter.
    assert offsets_in_characters(["bird"] * len(words), moved, of, texts).note == ""


def test_one_gold_shows_no_unit() -> None:
    of = np.zeros(1, dtype=np.int64)
    assert offsets_in_characters(["ox"], [4], of, ["né ox"]) == units.Offsets([4], "")
    assert (
        offsets_in_characters(["ox", "ox"], [4, 7], np.zeros(2, np.int64), ["né ox ox"]).note == "read as UTF-8 bytes"
    )
    # Two units that fit alike and have other places for a gold.
    starts: list[int | None] = [7, 7]
    text = "né né " + "ox"
    assert offsets_in_characters(["ox"] * 2, [8, 8], np.zeros(2, np.int64), [text]).note == "read as UTF-8 bytes"
    assert offsets_in_characters(["ox"] * 2, starts, np.zeros(2, np.int64), [text]).note == ""


def test_a_few_golds_that_were_written_otherwise_keep_their_places() -> None:
    texts = contexts(40)
    words, starts, of = golds_of(texts)
    counted: list[int | None] = [
        UNITS["UTF-8 bytes"](texts[number], at) for at, number in zip(starts, of.tolist(), strict=True)
    ]
    counted[::50] = starts[::50]
    found = offsets_in_characters(words, counted, of, texts)
    assert found.note == "read as UTF-8 bytes"
    for word, start, number in zip(words, found.starts, of.tolist(), strict=True):
        assert start is not None
        assert texts[number].startswith(word, start)
    # Unless bytes make sense of them, too.
    assert sum(a != b for a, b in zip(found.starts, starts, strict=True)) < len(counted[::50]) / 2


@given(st.lists(st.text(st.sampled_from("aé水🐢 \n\r"), max_size=12), min_size=1, max_size=5), st.integers(1, 9))
def test_widths_are_the_obvious_count(texts: list[str], block: int) -> None:
    kinds = {**units._UNITS, **{f"characters{name}": of for name, of in units._TEXTS.items() if name}}
    places = [(number, at) for number, text in enumerate(texts) for at in range(len(text) + 1)]
    of = np.array([number for number, _ in places])
    ones = units._UNITS["characters"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "BLOCK", block)
        for name, widths in kinds.items():
            if name not in UNITS:
                continue
            counts = np.array([UNITS[name](texts[number], at) for number, at in places])
            found, begins = units._widths_to_characters((widths, ones), counts, of, texts)
            for (number, at), place, fine in zip(places, found.tolist(), begins.tolist(), strict=True):
                text = texts[number]
                word = at < len(text) and not text[at].isspace()
                if word:
                    assert (place, fine) == (at, True), name


# Through files


def write(path: Path, document: Any) -> str:
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return str(path)


def recounted(file: Path, count: Count) -> dict[str, Any]:
    """SQuAD's nesting with all offsets counted otherwise."""
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                for gold in question["answers"]:
                    gold["answer_start"] = count(paragraph["context"], gold["answer_start"])
    return document


def read(files: Any, training: bool = True) -> RawSplit:
    return read_examples(split="train", files=files, training=training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("unit", ["UTF-8 bytes", "UTF-16 code units"])
@pytest.mark.parametrize("language", ["zh", "hi", "ar", "vi"])
def test_real_data_in_other_units(language: str, unit: str, training: bool, shared: Path, tmp_path: Path) -> None:
    """Every gold gets its true place, where the nearest would be another in 3 to 8 of 100."""
    file = shared / f"data/xquad.{language}.json"
    published = read(str(file), training)
    # Characters beyond U+FFFF are rare in these: one in front of each context makes the units differ.
    document = recounted(file, lambda text, at: at)
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            paragraph["context"] = "🐢 " + paragraph["context"]
            for question in paragraph["qas"]:
                for gold in question["answers"]:
                    gold["answer_start"] = UNITS[unit](paragraph["context"], gold["answer_start"] + 2)
    path = tmp_path / "other.json"
    loaded = read(write(path, document), training)
    assert loaded.offsets == {str(path): f"read as {unit}"}
    expected = [[start + 2 for start in starts] for starts in published.table["gold_starts"].to_pylist()]
    assert loaded.table["gold_starts"].to_pylist() == expected
    _, report = align(loaded.table, on_misaligned="error", training=training, source="")
    assert report.counts["exact"] == 1190


def test_english_in_bytes_and_files_of_different_units(shared: Path, tmp_path: Path) -> None:
    """Few of its golds stand behind a character that is not ASCII."""
    plain = shared / "data/xquad.vi.json"
    other = tmp_path / "english.json"
    files = [write(other, recounted(shared / "data/xquad.en.json", UNITS["UTF-8 bytes"])), str(plain)]
    loaded = read(files)
    assert loaded.offsets == {str(other): "read as UTF-8 bytes"}
    _, report = align(loaded.table, on_misaligned="error", training=True, source="")
    assert report.counts["exact"] == 2380


def test_published_data_are_read_as_characters(shared: Path) -> None:
    for file in sorted(shared.glob("data/*.json")):
        loaded = read_examples(split="train", files=str(file), training=True, version_2_with_negative=True)
        assert loaded.offsets == {}, file.name


@pytest.mark.parametrize("training", [True, False])
def test_the_case_of_offsets_in_bytes(shared: Path, training: bool) -> None:
    file = shared / "cases/offsets-in-bytes.json"
    (paragraph,) = json.loads(file.read_text(encoding="utf-8"))["data"][0]["paragraphs"]
    loaded = read(str(file), training)
    assert loaded.table["gold_starts"].to_pylist() == [[qa["true_character_start"]] for qa in paragraph["qas"]]
    split: Split = prepare(loaded, characters(), training=training)
    assert split.report["offsets"] == {str(file): "read as UTF-8 bytes"}
    assert "; offsets of offsets-in-bytes.json read as UTF-8 bytes; answers: 4 golds, 4 exact" in split.summary


def test_a_suspicious_file_is_reported(shared: Path, tmp_path: Path) -> None:
    draw = random.Random(0)
    document = recounted(shared / "data/xquad.en.json", lambda text, at: max(0, at + draw.randrange(-30, 30)))
    loaded = read(write(tmp_path / "x.json", document))
    split = prepare(loaded, characters(), training=True)
    assert "; offsets of x.json are in no known unit: 9" in split.summary
    assert list(split.report["offsets"]) == [str(tmp_path / "x.json")]
