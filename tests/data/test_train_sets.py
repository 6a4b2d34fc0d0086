"""Several training sets: each read by its own settings, and batches that have windows of all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from qa_lightning.data.datamodule import QADataModule
from qa_lightning.data.mixed_windows import MixedWindows
from qa_lightning.data.mixing import Mixing
from qa_lightning.data.shapes import Shapes
from qa_lightning.data.train_sets import TrainSet
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError
from tests.tiny import tiny_folder, write_squad
from tests.training import make_data, write_long


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Short contexts as SQuAD JSON, long ones likewise, and a table with names of its own, in Latin-1."""
    here = tmp_path_factory.mktemp("sets")
    table = here / "table.csv"
    table.write_text(
        "frage;text;antwort\n"
        "Who lived in Paris?;Ada lived in Paris. Zoé built a house.;Ada\n"
        "Who built a house?;Ada lived in Paris. Zoé built a house.;Zoé\n",
        encoding="latin-1",
    )
    both = here / "both.jsonl"
    context = "Ada wrote the first program in London."
    golds = {"text": ["Ada", "London"], "answer_start": [0, context.index("London")]}
    wrong = {"text": ["Rome"], "answer_start": [0]}
    rows = [{"id": "0", "question": "Who?", "answers": golds}, {"id": "1", "question": "Where?", "answers": wrong}]
    both.write_text("".join(json.dumps({"context": context} | row) + "\n" for row in rows))
    return {
        "short": str(write_squad(here / "short.json", copies=2)),
        "long": str(write_long(here / "long.json", copies=3)),
        "table": str(table),
        "both": str(both),
    }


def mixed(folder: Path, sets: dict[str, Any], **options: Any) -> QADataModule:
    data = make_data(folder, train_sets=sets, **options)
    data.setup("fit")
    return data


def batches_of(data: QADataModule, epoch: int = 0) -> list[Batch]:
    loader: Any = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def equal(ours: Batch, theirs: Batch) -> bool:
    same = all(torch.equal(ours.inputs[name], theirs.inputs[name]) for name in theirs.inputs)
    return same and ours.ids == theirs.ids and torch.equal(ours.starts, theirs.starts)


def test_each_set_is_read_by_its_own_settings(folder: Path, files: dict[str, str]) -> None:
    names = {"question": "frage", "context": "text", "answers": "antwort"}
    sets = {
        "table": TrainSet(file=files["table"], column_names=names, csv={"delimiter": ";"}, encoding="latin-1"),  # type: ignore[arg-type]
        "first": TrainSet(file=files["both"]),
        "all": {"file": files["both"], "answers": "all", "on_misaligned": "repair"},
        "part": {"file": files["short"], "split": "train[:5]"},
    }
    data = mixed(folder, sets, on_misaligned="drop")
    reports = data.reports()
    assert {name: report["questions"] for name, report in reports.items()} == {
        "train/table": 2,
        "train/first": 1,
        "train/all": 1,
        "train/part": 5,
    }
    golds = [len(part.dataset.encoded.golds.first) for part in data.splits["train"]]
    assert golds == [2, 1, 2, 5]
    assert reports["train/part"]["windows_per_epoch"] == {"0": reports["train/part"]["windows"]}
    texts = data.splits["train"][0].table["gold_texts"].to_pylist()
    assert texts == [["Ada"], ["Zoé"]]
    with pytest.raises(UserError, match="train first: "):
        mixed(folder, {"all": sets["all"], "first": {"file": files["both"], "on_misaligned": "error"}})


def test_one_named_set_is_what_a_file_is(folder: Path, files: dict[str, str]) -> None:
    plain = make_data(folder, train=Path(files["long"]))
    plain.setup("fit")
    named = mixed(folder, {"long": {"file": files["long"]}})
    for epoch in range(2):
        pairs = list(zip(batches_of(plain, epoch), batches_of(named, epoch), strict=True))
        assert all(equal(ours, theirs) for ours, theirs in pairs)
    assert {batch.sets for batch in batches_of(named)} == {None}


@pytest.mark.parametrize("shapes", [None, Shapes(np.array([14, 20]), np.array([9, 7]))])
def test_a_batch_has_the_windows_of_each_set_as_that_set_has_them(
    folder: Path, files: dict[str, str], shapes: Shapes | None
) -> None:
    sets = {"short": {"file": files["short"]}, "all": {"file": files["both"], "answers": "all"}}
    sets["long"] = {"file": files["long"]}
    parts = [part.dataset for part in mixed(folder, sets).splits["train"]]
    joined = MixedWindows(parts)
    joined.shapes = shapes
    assert len(joined) == sum(map(len, parts)) == len(joined.lengths) == len(joined.contexts)
    sizes = np.cumsum([0, *map(len, parts)]).tolist()
    rows: NDArray[np.int64] = np.array([sizes[2] + 3, 1, sizes[1], sizes[2] + 1, 0, 1])
    batch = joined[rows]
    assert batch.sets == {"short": 3, "all": 1, "long": 2}
    by_set = [(0, 1), (0, 0), (0, 1), (1, 0), (2, 3), (2, 1)]
    assert len(batch) == len(by_set)
    width = batch.inputs["input_ids"].shape[1]
    assert batch.inputs["input_ids"].shape[0] == (6 if shapes is None else 7)
    assert batch.starts.shape[1] == 2
    for place, (number, row) in enumerate(by_set):
        alone = parts[number].gather(np.array([row]), width, 1)
        for name, values in alone.inputs.items():
            assert torch.equal(batch.inputs[name][place], values[0]), name
        golds = alone.starts.shape[1]
        assert torch.equal(batch.starts[place, :golds], alone.starts[0])
        assert torch.equal(batch.ends[place, :golds], alone.ends[0])
        assert (batch.starts[place, golds:] == -1).all()
        assert torch.equal(batch.context_mask[place], alone.context_mask[0])
        assert batch.ids[place] == alone.ids[0]
    only = joined[rows[rows >= sizes[2]]]
    assert only.sets == {"short": 0, "all": 0, "long": 2}


def test_an_epoch_of_all_sets_has_every_window_once(folder: Path, files: dict[str, str]) -> None:
    data = mixed(folder, {name: {"file": files[name]} for name in ("short", "long")}, tokens_per_batch=60)
    seen: dict[str, int] = {"short": 0, "long": 0}
    weights = 0.0
    for batch in batches_of(data):
        assert batch.sets is not None
        weights += batch.weight
        for name, count in batch.sets.items():
            seen[name] += count
    assert seen == {part.dataset.name: len(part.dataset) for part in data.splits["train"]}
    assert weights == pytest.approx(len(batches_of(data)))


def test_settings_come_back_from_plain_data(folder: Path, files: dict[str, str]) -> None:
    mixing = Mixing(epoch_windows=20, curriculum={1: {"long": 1.0}})
    sets = {"short": {"file": Path(files["short"])}, "long": TrainSet(file=files["long"], weight=2.0)}
    data = mixed(folder, sets, mixing=mixing)
    assert json.loads(json.dumps(data.hparams["train_sets"])) == data.hparams["train_sets"]
    again = QADataModule(**data.hparams)
    again.setup("fit")
    assert again.mixing == mixing
    for epoch in range(2):
        pairs = zip(batches_of(data, epoch), batches_of(again, epoch), strict=True)
        assert all(equal(ours, theirs) for ours, theirs in pairs)
    counts = [sum(batch.sets["long"] for batch in batches_of(data, epoch) if batch.sets) for epoch in range(3)]
    assert counts == [13, 20, 20]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_sets": {}}, r"data\.train_sets names no set"),
        ({"train_sets": {"a": {}}}, r"data\.train_sets\.a names no data; set one of file and dataset_name"),
        ({"train_sets": {"a": {"file": ""}}}, r"data\.train_sets\.a\.file names no file"),
        ({"train_sets": {"a": {"file": "x", "dataset_name": "y"}}}, r"names a file and a data set on the Hub"),
        ({"train_sets": {"a/b": {"file": "x"}}}, r"'a/b' cannot be the name of a set"),
        ({"train_sets": {"a": {"file": "x"}}, "train_file": "x"}, r"data\.train_sets and data\.train_file both say"),
        ({"train_sets": {"a": {"file": "x"}}, "train_split": "train[:9]"}, r"data\.train_sets and data\.train_split"),
        ({"train_sets": {"a": {"file": "x", "weight": -2.0}}}, r"the weight of a must be at least 0, not -2\.0"),
        ({"train_file": "x", "mixing": Mixing(temperature=2.0)}, r"data\.mixing mixes the sets of data\.train_sets"),
        ({"train_sets": {"a": {"file": [{"id": object()}]}}}, r"train_sets\.a\.file takes the names of files"),
    ],
)
def test_contradictions_are_refused_before_data_are_read(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        QADataModule("nowhere", **settings)
