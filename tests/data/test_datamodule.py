"""Which splits there are, where they come from, and what their loaders give."""

from __future__ import annotations

import gc
import json
import math
from pathlib import Path
from typing import Any

import pytest

from qa_lightning.data.datamodule import QADataModule
from qa_lightning.data.synthetic import SyntheticCorpus
from qa_lightning.data.textfiles import CSVFormat, TextFormat
from qa_lightning.utils.errors import UserError
from tests.tiny import tiny_folder, write_squad

SIZES: dict[str, Any] = {"max_length": 48, "doc_stride": 8, "max_question_length": 12, "batch_size": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    tiny_folder(folder / "model")
    write_squad(folder / "train.json", copies=2)
    write_squad(folder / "dev.json", impossible=True)
    (folder / "bare.jsonl").write_text(json.dumps({"question": "Who?", "context": "Ada wrote."}), encoding="utf-8")
    return folder


def module(folder: Path, **settings: Any) -> QADataModule:
    return QADataModule(model_name_or_path=str(folder / "model"), **SIZES | settings)


def test_each_stage_reads_its_own_splits(folder: Path) -> None:
    files = {"train_file": str(folder / "train.json"), "version_2_with_negative": True}
    data = module(folder, **files, validation_file=str(folder / "dev.json"), predict_file=str(folder / "bare.jsonl"))
    data.setup("validate")
    assert list(data.splits) == ["validation"]
    data.setup("fit")
    assert list(data.splits) == ["validation", "train"]
    data.setup("predict")
    with pytest.raises(UserError, match=r"no data for test: set data\.test_file"):
        data.setup("test")
    assert {key: report["questions"] for key, report in data.reports().items()} == {
        "validation": 9,
        "train": 12,
        "predict": 1,
    }


def test_every_window_is_trained_on_once_an_epoch(folder: Path) -> None:
    data = module(folder, train_file=[str(folder / "train.json")])
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert [len(batch) for batch in batches] == [4, 4, 4]
    assert len({id_ for batch in batches for id_ in batch.ids}) == 12
    assert all(batch.questions is None for batch in batches)


@pytest.mark.parametrize(("settings", "windows"), [({}, 4), ({"eval_batch_size": 3}, 3)])
def test_evaluation_takes_twice_the_batch_unless_set(folder: Path, settings: dict[str, Any], windows: int) -> None:
    dev = str(folder / "dev.json")
    data = module(folder, validation_file=dev, version_2_with_negative=True, **settings | {"batch_size": 2})
    data.setup("validate")
    (loader,) = data.val_dataloader()
    shapes = [batch.question_mask.shape for batch in loader]
    # As many tokens as so many windows of 48 have; these are shorter.
    assert all(rows == windows * 48 // width for rows, width in shapes[:-1])
    assert shapes[0][0] > windows
    assert sum(rows for rows, _ in shapes) == 9


@pytest.mark.parametrize(
    ("settings", "shapes"),
    [
        ({"batch_size": 1}, {(1, 13), (1, 15), (1, 16), (1, 19)}),
        ({"batch_size": 1, "batch_shapes": 2}, {(1, 16), (1, 19)}),
        ({"batch_size": 5, "batch_shapes": 2}, {(5, 16), (5, 19)}),
        ({"tokens_per_batch": 60, "batch_shapes": 2}, {(3, 16), (3, 19)}),
        ({"tokens_per_batch": 60, "batch_shapes": 1}, {(3, 19)}),
    ],
)
def test_training_batches_come_in_few_shapes_where_asked(
    folder: Path, settings: dict[str, Any], shapes: set[tuple[int, int]]
) -> None:
    data = module(folder, train_file=str(folder / "train.json"), **settings)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert {tuple(batch.inputs["input_ids"].shape) for batch in batches} == shapes
    assert sum(len(batch) for batch in batches) == len(data.splits["train"][0].dataset)
    tokens = sum(int(batch.inputs["attention_mask"][: len(batch)].sum()) for batch in batches)
    assert tokens == data.splits["train"][0].dataset.lengths.sum()


def test_evaluation_batches_come_in_few_shapes_where_asked(folder: Path) -> None:
    dev = str(folder / "dev.json")
    data = module(folder, validation_file=dev, version_2_with_negative=True, eval_batch_size=1, batch_shapes=2)
    data.setup("validate")
    (loader,) = data.val_dataloader()
    batches = list(loader)
    assert {tuple(batch.inputs["input_ids"].shape) for batch in batches} == {(3, 16), (2, 19)}
    assert sorted(question.row for batch in batches for question in batch.questions or ()) == list(range(9))


def test_reading_leaves_the_garbage_collector_as_it_was(folder: Path) -> None:
    data = module(folder, train_file=str(folder / "train.json"), validation_file="absent.json")
    with pytest.raises(UserError, match="absent"):
        data.setup("fit")
    assert gc.isenabled()


def test_batches_by_tokens_weigh_what_their_windows_do(folder: Path) -> None:
    data = module(folder, train_file=str(folder / "train.json"), tokens_per_batch=60)
    data.setup("fit")
    batches = list(data.train_dataloader())
    tokens = sum(int(batch.inputs["attention_mask"].sum()) for batch in batches)
    assert len(batches) == math.ceil(tokens / 60)
    weights = [batch.weight for batch in batches]
    assert weights == pytest.approx([len(batch) * len(batches) / 12 for batch in batches])
    assert len(set(weights)) > 1


def test_several_validation_sets_in_the_order_given(folder: Path) -> None:
    files = {"zwei": str(folder / "dev.json"), "eins": [str(folder / "train.json")]}
    data = module(folder, validation_file=files, version_2_with_negative=True)
    data.setup("validate")
    assert [next(iter(loader)).name for loader in data.val_dataloader()] == ["zwei", "eins"]
    assert list(data.reports()) == ["validation/zwei", "validation/eins"]


def test_files_win_over_a_data_set_and_that_over_the_corpus(folder: Path) -> None:
    few = SyntheticCorpus(train_passages=2, validation_passages=1)
    data = module(folder, synthetic=few, validation_file=str(folder / "dev.json"), version_2_with_negative=True)
    data.setup("fit")
    assert data.splits["validation"][0].report["questions"] == 9
    assert data.splits["train"][0].dataset.ids[0].startswith("train-")


def test_slices_count_questions(folder: Path) -> None:
    data = module(folder, train_file=str(folder / "train.json"), train_split="train[50%:75%]")
    data.setup("fit")
    assert data.splits["train"][0].dataset.ids == ["1-0-0", "1-0-1", "1-1-0"]


def test_settings_are_checked_before_the_data_is_looked_at(folder: Path) -> None:
    with pytest.raises(UserError, match="batch_size must be at least 1"):
        module(folder, batch_size=0)
    with pytest.raises(UserError, match=r"tokens_per_batch \(47\) must be at least max_length \(48\)"):
        module(folder, tokens_per_batch=47)
    with pytest.raises(UserError, match="batch_shapes must be at least 1, not 0"):
        module(folder, batch_shapes=0)
    data = module(folder, train_file="absent.json", doc_stride=40)
    with pytest.raises(UserError, match=r"doc_stride \(40\) leaves no room"):
        data.setup("fit")
    with pytest.raises(UserError, match="no tokenizer"):
        QADataModule(train_file=str(folder / "train.json")).setup("fit")


def test_how_tables_are_written_is_plain_data_in_a_checkpoint(folder: Path) -> None:
    data = module(folder, csv=CSVFormat(delimiter=";"), encoding="cp1252")
    assert data.hparams["csv"] == {"delimiter": ";"}
    again = QADataModule(**data.hparams)
    assert again.sources.text_format == data.sources.text_format == TextFormat("cp1252", ";")


@pytest.mark.parametrize("split", ["validation", "test", "predict"])
@pytest.mark.parametrize(
    "name",
    [
        *("best_model", "test", "../elsewhere", "a/b", "", ".", ".hidden"),
        *("Best_Model", "metrics.json", "config.yaml", "data.json", "per_question.parquet", "x" * 101),
    ],
)
def test_a_set_is_not_called_as_another_folder_of_the_run(folder: Path, name: str, split: str) -> None:
    with pytest.raises(UserError, match=rf"^{split}_file: '{name[:100]}' cannot be the name of a set"):
        module(folder, **{f"{split}_file": {"fine": "dev.json", name: "dev.json"}})


def test_sets_are_not_called_alike(folder: Path) -> None:
    """Some file systems hold one folder for both."""
    with pytest.raises(UserError, match="'VI' cannot be the name of a set"):
        module(folder, test_file={"VI": "dev.json", "vi": "dev.json"})


def test_a_mapping_names_a_set(folder: Path) -> None:
    with pytest.raises(UserError, match=r"data\.test_file names no file"):
        module(folder, test_file={})
