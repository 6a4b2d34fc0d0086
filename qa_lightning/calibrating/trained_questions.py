"""The questions that a model was trained on, as far as its run knows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qa_lightning.data.datamodule import QADataModule
from qa_lightning.pretrained.checkpoint_file import checkpoint_config, is_checkpoint
from qa_lightning.pretrained.ensemble_file import is_ensemble, read_ensemble
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.provenance import read_config
from qa_lightning.utils.errors import UserError, in_one_line

_OF_READING = (
    *("dataset_name", "dataset_config_name", "dataset_revision", "train_file", "train_sets", "train_split"),
    *("column_names", "csv", "encoding", "synthetic", "cache_dir"),
)
"""Settings of the data that say what was trained on."""


@dataclass(frozen=True)
class TrainedQuestions:
    """What is known of the questions that a model was trained on.

    Attributes:
        pairs: Each question and its context.
        unknown: Why what some of its trainings were on is not known, one text each.
    """

    pairs: set[tuple[str, str]] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)


def trained_questions(name: str) -> TrainedQuestions:
    """Reads the questions that a model was trained on, also in earlier rounds, from where its runs read them.

    Args:
        name: The folder of a run, its best model, a checkpoint or an ensemble. Of any other model nothing is known.
    """
    found = TrainedQuestions()
    for config in _configs(name, set()):
        try:
            for table in _tables(config):
                found.pairs.update(zip(table["question"].to_pylist(), table["context"].to_pylist(), strict=True))
        except Exception as error:  # a class of the user's, data on the Hub, files that have gone
            found.unknown.append(in_one_line(error))
    return found


def check_not_trained_on(name: str, pairs: list[tuple[str, str]], data: str) -> list[str]:
    """Refuses questions that a model was trained on, of which it is surer than of others.

    Args:
        name: The model, as `trained_questions` takes it.
        pairs: Each question and its context.
        data: Where they are from, for messages.

    Returns:
        Why it is not known whether it was trained on them; empty where it is.

    Raises:
        UserError: Where it was trained on any of them.
    """
    trained = trained_questions(name)
    shared = sum(pair in trained.pairs for pair in pairs)
    if shared:
        raise UserError(
            f"{data}: the model was trained on {shared:,} of its {len(pairs):,} questions, of which it is surer than "
            "of others; give questions that it has not seen"
        )
    return trained.unknown


def _configs(name: str, seen: set[str]) -> Iterator[Mapping[str, Any]]:
    """The settings of each training that a model comes from."""
    if not name or name in seen:
        return
    seen.add(name)
    if is_ensemble(name):
        for member in read_ensemble(name).members:
            yield from _configs(member, seen)
        return
    run = RunFolder(Path(name)).run_of_best_model()
    if run is None and not (is_checkpoint(name) and Path(name).is_file()):
        return
    config = checkpoint_config(name) if run is None else read_config(run.config)
    yield config
    yield from _configs(str(_arguments(config, "model").get("model_name_or_path") or ""), seen)


def _tables(config: Mapping[str, Any]) -> Iterator[Any]:
    """The training sets of a config."""
    given = _arguments(config, "data")
    settings = {name: given[name] for name in _OF_READING if given.get(name) is not None}
    data = QADataModule(**settings)
    if data.sources.has("train"):
        for part in data.sources.read("train", version_2_with_negative=True):
            yield part.raw.table


def _arguments(config: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    values = config.get(section)
    values = values.get("init_args", values) if isinstance(values, dict) else {}
    return values if isinstance(values, dict) else {}
