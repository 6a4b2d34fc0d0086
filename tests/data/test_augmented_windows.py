"""Windows of augmented texts in a training's batches: their labels, their places, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qa_lightning.data.augmentation import Augmentation
from qa_lightning.data.augmented_windows import AugmentedWindows
from qa_lightning.data.batching import TrainingBatchSampler
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.data.loaders import Placement, training_batch_sampler
from qa_lightning.data.mixture import AllWindows, Mixture
from qa_lightning.records import Batch
from tests.tiny import tiny_folder, tiny_tokenizer
from tests.training import make_data, write_long

ALL: dict[str, Any] = {
    "probability": 0.7,
    "typos": 0.05,
    "shuffle_sentences": 0.5,
    "distractors": 1,
    "templates": ["{question}", "So , {question}"],
}

Window = tuple[str, tuple[int, ...], tuple[tuple[int, int], ...]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("augmented")
    write_long(folder / "train.json", copies=3)
    return tiny_folder(folder / "model").parent


def data_of(folder: Path, augmentation: dict[str, Any] | None = None, **options: Any) -> QADataModule:
    section = {} if augmentation is None else {"augmentation": Augmentation(**augmentation)}
    data = make_data(folder / "model", train=folder / "train.json", **section, **options)
    data.setup("fit")
    return data


def epoch(loader: Any, number: int) -> list[Batch]:
    loader.sampler.set_epoch(number)
    return list(loader)


def windows(batches: list[Batch]) -> list[Window]:
    """What is in each window: its id, tokens and labels."""
    found = []
    for batch in batches:
        for row, name in enumerate(batch.ids):
            ids = batch.inputs["input_ids"][row][batch.inputs["attention_mask"][row].bool()]
            pairs = zip(batch.starts[row].tolist(), batch.ends[row].tolist(), strict=True)
            found.append((name, tuple(ids.tolist()), tuple(pair for pair in pairs if pair[0] >= 0)))
    return found


def answers(folder: Path) -> dict[str, list[int]]:
    """The tokens of each question's answer."""
    table = data_of(folder).splits["train"][0].table
    tokenizer = tiny_tokenizer()
    rows = zip(table["id"].to_pylist(), table["gold_texts"].to_pylist(), strict=True)
    return {name: tokenizer(golds[0], add_special_tokens=False)["input_ids"] for name, golds in rows if golds}


@pytest.mark.parametrize("options", [{}, {"answers": "all", "batch_shapes": 2}, {"tokens_per_batch": 80}])
def test_labels_are_the_answers_in_every_epoch(folder: Path, options: dict[str, Any]) -> None:
    plain = windows(list(data_of(folder, **options).train_dataloader()))
    loader = data_of(folder, ALL, **options).train_dataloader()
    tokens_of, expected = answers(folder), sorted((name, label != ((0, 0),)) for name, _, label in plain)
    seen = []
    for number in range(3):
        batches = epoch(loader, number)
        assert len(batches) == len(loader)
        made = windows(batches)
        for name, ids, labels in made:
            assert len(ids) <= 20
            for start, end in labels:
                assert (start, end) == (0, 0) or list(ids[start : end + 1]) == tokens_of[name]
        # Each place holds an answer, or none, as it does without augmentation.
        assert sorted((name, label != ((0, 0),)) for name, _, label in made) == expected
        seen.append({(name, ids) for name, ids, _ in made})
    own = {(name, ids) for name, ids, _ in plain}
    for made in seen:
        assert 0 < len(made & own) < len(own)  # some are as they were
    assert seen[0] != seen[1] != seen[2]
    assert windows(epoch(loader, 1)) == windows(epoch(data_of(folder, ALL, **options).train_dataloader(), 1))


def test_all_of_the_context_is_there_where_there_is_room(folder: Path) -> None:
    """Without windows that are cut, each holds its question and its context."""
    section = ALL | {"probability": 1.0, "distractors": 0, "typos": 0.0}
    data = data_of(folder, section, max_length=60)
    loader = data.train_dataloader()
    tokenizer, dataset = tiny_tokenizer(), loader.dataset
    made = {name: ids for name, ids, _ in windows(epoch(loader, 4))}
    assert len(made) == len(dataset.ids) == 21
    fitting = 0
    for row, name in enumerate(dataset.ids):
        question, passage = dataset.augmented_text(row, 4)
        whole = tokenizer(question, passage.text)["input_ids"]
        fitting += list(made[name]) == whole
        # Where a question with a template does not fit, some of the context is lost.
        assert list(made[name]) == whole or len(whole) > dataset.lengths.min()
    assert fitting >= 15


def test_windows_do_not_depend_on_their_batches(folder: Path) -> None:
    dataset = data_of(folder, ALL).train_dataloader().dataset
    rows = np.arange(len(dataset))
    together, apart = windows([dataset[rows]]), windows([dataset[rows[n : n + 1]] for n in rows])
    assert together == apart


def test_two_processes_see_what_one_sees(folder: Path) -> None:
    data = data_of(folder, ALL)
    seen = []
    for world in (1, 2):
        found = []
        for rank in range(world):
            dataset = data.training_sets(0)[0]
            assert isinstance(dataset, AugmentedWindows)
            batches = training_batch_sampler(
                dataset,
                Mixture([AllWindows(dataset.lengths)]),
                Placement(rank=rank, world_size=world),
                batch_size=4,
                tokens_per_batch=None,
                shapes=None,
                seed=0,
            )
            dataset.follow(batches)
            batches.set_epoch(2)
            found += windows([dataset[rows] for rows in batches])
        seen.append(set(found))
    assert seen[0] == seen[1]


def test_packed_batches_fit_into_their_rows(folder: Path) -> None:
    dataset = data_of(folder, ALL).training_sets(0)[0]
    assert isinstance(dataset, AugmentedWindows)
    batches: TrainingBatchSampler = training_batch_sampler(
        dataset,
        Mixture([AllWindows(dataset.lengths)]),
        Placement(packs_windows=True),
        batch_size=6,
        tokens_per_batch=None,
        shapes=None,
        seed=0,
    )
    dataset.follow(batches)
    for number in range(4):
        batches.set_epoch(number)
        for rows in batches:
            batch = dataset[rows]
            assert batch.inputs["attention_mask"][: len(batch)].sum() <= (batch.row_tokens or 0)
            assert batch.starts.shape == (len(rows), 1)


def test_null_windows_are_drawn_as_well(folder: Path) -> None:
    loader = data_of(folder, ALL, null_windows=0.3).train_dataloader()
    for number in range(2):
        labels = [label == ((0, 0),) for _, _, label in windows(epoch(loader, number))]
        assert np.mean(labels) == pytest.approx(0.3, abs=0.05)


def test_a_resumed_epoch_goes_on_with_the_same_windows(folder: Path) -> None:
    straight = epoch(data_of(folder, ALL).train_dataloader(), 3)
    data = data_of(folder, ALL)
    data.load_state_dict({"epoch": 3, "trained": 2})
    assert windows(list(data.train_dataloader())) == windows(straight[2:])


def test_off_it_is_the_plain_data_set(folder: Path) -> None:
    data = data_of(folder)
    assert data.train_dataloader().dataset is data.splits["train"][0].dataset
    assert QADataModule(**data_of(folder, ALL).hparams).augmentation == Augmentation(**ALL)


def test_a_question_that_leaves_too_little_room_stays_as_it_was(folder: Path) -> None:
    templates = {"templates": ["who who who who who who who who who who {question}"], "probability": 1.0}
    room = {"max_question_length": 14, "doc_stride": 1}
    plain = windows(list(data_of(folder, **room).train_dataloader()))
    made = windows(list(data_of(folder, templates, **room).train_dataloader()))
    assert sorted(made) == sorted(plain)
    some = windows(list(data_of(folder, templates).train_dataloader()))
    assert sorted(some) != sorted(windows(list(data_of(folder).train_dataloader())))
