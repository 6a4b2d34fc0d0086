"""Where the questions of each split come from: files, a data set on the Hub, or the synthetic corpus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_info

from qa_lightning.data.file_settings import Files, NamedFiles, check_files_named, check_set_names
from qa_lightning.data.sources import RawSplit, read_examples, rows_to_examples
from qa_lightning.data.synthetic import SyntheticCorpus
from qa_lightning.data.textfiles import TextFormat
from qa_lightning.data.train_sets import TrainSet, TrainSets
from qa_lightning.utils.errors import UserError


class RawSet(NamedTuple):
    """A set of questions as it was read.

    Attributes:
        name: The set's name; empty where a split is one set.
        source: What to call it in messages.
        raw: Its questions.
        choices: The fields of a `SplitConfig` that are the set's own.
    """

    name: str
    source: str
    raw: RawSplit
    choices: Mapping[str, Any]


@dataclass(frozen=True)
class SplitSources:
    """The settings that say where each split comes from; see the arguments of `QADataModule`.

    Files take precedence over the Hub, and both over the synthetic corpus.

    Attributes:
        files: The files of each split; None: no file is named.
        dataset_name: A data set on the Hub.
        dataset_config_name: Its configuration.
        dataset_revision: Its revision.
        selections: Which part of each split to take, in datasets' notation.
        column_names: Our columns by the names they have in the data.
        text_format: How text files are written.
        synthetic: The synthetic corpus.
        train_sets: The sets to train on, by name; none: training is on one set, as the other settings say.
    """

    files: Mapping[str, Files | NamedFiles | None]
    dataset_name: str | None
    dataset_config_name: str | None
    dataset_revision: str | None
    selections: Mapping[str, str]
    column_names: dict[str, str] | None
    text_format: TextFormat
    synthetic: SyntheticCorpus | None
    train_sets: TrainSets = field(default_factory=dict)

    def __post_init__(self) -> None:
        for split, files in self.files.items():
            check_files_named(f"data.{split}_file", files)
            if isinstance(files, dict):
                check_set_names(split, files)

    def has(self, split: str) -> bool:
        """Whether a split comes from anywhere."""
        return self._overriding_setting(split) is not None or self.synthetic is not None

    def check_synthetic(self, splits: Sequence[str]) -> None:
        """Checks that the synthetic corpus has those of the splits that would come from it.

        Raises:
            UserError: It has no test or predict questions, or training is on other data.
        """
        if self.synthetic is None:
            return
        chosen = {split: self._overriding_setting(split) for split in splits}
        for split, setting in chosen.items():
            if setting is None and split in ("test", "predict"):
                raise UserError(
                    f"the synthetic corpus has questions for training and validation only; set data.{split}_file to a "
                    "file, or evaluate on its validation questions with validate"
                )
            if setting is None and chosen.get("train") is not None:
                raise UserError(
                    f"training is on data.{chosen['train']}, and validation would be on the synthetic corpus; set "
                    "data.validation_file to a file, or data.synthetic to null"
                )

    def read(self, split: str, *, version_2_with_negative: bool) -> Iterator[RawSet]:
        """Reads the set, or the sets, of a split, one at a time.

        Args:
            split: ``train``, ``validation``, ``test`` or ``predict``.
            version_2_with_negative: Whether unanswerable questions are allowed.

        Raises:
            UserError: There is no data for it, or it is not as it should be.
        """
        if not self.has(split):
            raise UserError(
                f"no data for {split}: set data.{split}_file to a file, or data.dataset_name to a data set on the Hub"
            )
        return self._read(split, version_2_with_negative)

    def _read(self, split: str, version_2_with_negative: bool) -> Iterator[RawSet]:
        setting = self._overriding_setting(split)
        if setting is None:
            assert self.synthetic is not None
            source = f"the synthetic corpus ({split})"
            rows = self.synthetic.rows("train" if split == "train" else "validation")
            yield RawSet("", source, rows_to_examples(rows, source=source), {})
            return
        if self.synthetic is not None:
            rank_zero_info(f"{split}: data.{setting} is taken, not data.synthetic")
        for name, part in self._sets(split).items():
            raw = read_examples(
                split=split,
                files=part.file,
                dataset_name=part.dataset_name,
                dataset_config_name=part.dataset_config_name,
                dataset_revision=part.dataset_revision,
                select=part.split,
                columns=self.column_names if part.column_names is None else part.column_names,
                training=split == "train",
                labelled=split != "predict",
                version_2_with_negative=version_2_with_negative,
                text_format=self._text_format(part),
            )
            choices = {"on_misaligned": part.on_misaligned, "answers": part.answers}
            given = {key: value for key, value in choices.items() if value is not None}
            yield RawSet(name, f"{split} {name}".strip(), raw, given)

    def _sets(self, split: str) -> Mapping[str, TrainSet]:
        """The sets of a split, one of which has no name where it is the only one; all are read in the same way."""
        if split == "train" and self.train_sets:
            return self.train_sets
        files = self.files[split]
        return {
            name: TrainSet(
                part, self.dataset_name, self.dataset_config_name, self.dataset_revision, self.selections[split]
            )
            for name, part in (files if isinstance(files, dict) else {"": files}).items()
        }

    def _text_format(self, part: TrainSet) -> TextFormat:
        return TextFormat(
            self.text_format.encoding if part.encoding is None else part.encoding,
            self.text_format.delimiter if part.csv is None else part.csv.delimiter,
        )

    def _overriding_setting(self, split: str) -> str | None:
        """The setting that takes precedence over the synthetic corpus; None where the corpus is used."""
        if split == "train" and self.train_sets:
            return "train_sets"
        if self.files[split] is not None:
            return f"{split}_file"
        return None if self.dataset_name is None else "dataset_name"
