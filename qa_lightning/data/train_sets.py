"""The settings of each of several training sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qa_lightning.data.alignment import OnMisaligned
from qa_lightning.data.encode import AnswerChoice
from qa_lightning.data.file_settings import Files, check_files_named, file_names
from qa_lightning.data.textfiles import CSVFormat
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.plain import from_plain


@dataclass(frozen=True)
class TrainSet:
    """One of several sets to train on: files or a data set on the Hub, and how they are read.

    Args:
        file: File or files, as of ``train_file``.
        dataset_name: A data set on the Hub instead.
        dataset_config_name: Its configuration.
        dataset_revision: Its revision.
        split: Which part to train on, in datasets' notation (``train[:5%]``).
        column_names: Our columns by the names they have in this set; default: those of the data; ``{}``: our own.
        csv: How its CSV and TSV files are written; default: as those of the data.
        encoding: The encoding of its text files; default: that of the data.
        on_misaligned: What to do with answers that do not stand where the set says; default: as in the data.
        answers: Which of several gold answers to train on; default: as in the data.
        weight: Its share of an epoch's windows, to be divided by the sum over all sets; 1 where only others have one.
            Default: sets are mixed by their sizes.
    """

    file: Files | None = None
    dataset_name: str | None = None
    dataset_config_name: str | None = None
    dataset_revision: str | None = None
    split: str = "train"
    column_names: dict[str, str] | None = None
    csv: CSVFormat | None = None
    encoding: str | None = None
    on_misaligned: OnMisaligned | None = None
    answers: AnswerChoice | None = None
    weight: float | None = None


TrainSets = dict[str, TrainSet]
"""Training sets by name."""


def make_train_sets(sets: Mapping[str, TrainSet] | None, *, train_file: object, train_split: str) -> TrainSets:
    """Makes the training sets from settings, which may be plain data.

    Args:
        sets: The sets by name; None: training is on one set, that of the data's own settings.
        train_file: What the data's own settings name to train on.
        train_split: Which part of that.

    Raises:
        UserError: Where a set names no data, has a name that cannot be one, or the data's own settings name some, too.
    """
    if sets is None:
        return {}
    if not sets:
        raise UserError("data.train_sets names no set; name one, or leave it out")
    for setting, given in (("train_file", train_file is not None), ("train_split", train_split != "train")):
        if given:
            raise UserError(
                f"data.train_sets and data.{setting} both say what to train on; leave one of them out (each set has a "
                "file and a split of its own)"
            )
    made = {name: _make_set(name, of_set) for name, of_set in sets.items()}
    for name, of_set in made.items():
        if not (name and name.isprintable() and "/" not in name and len(name) <= 100):
            raise UserError(
                f"data.train_sets: {name[:100]!r} cannot be the name of a set, which is that of its figures"
            )
        where = f"data.train_sets.{name}"
        check_files_named(f"{where}.file", of_set.file)
        if (of_set.file is None) == (of_set.dataset_name is None):
            which = "no data" if of_set.file is None else "a file and a data set on the Hub"
            raise UserError(f"{where} names {which}; set one of file and dataset_name")
    return made


def _make_set(name: str, settings: TrainSet | Mapping[str, Any]) -> TrainSet:
    of_set = from_plain(TrainSet, settings)
    csv = None if of_set.csv is None else from_plain(CSVFormat, of_set.csv)
    return replace(of_set, file=file_names(f"train_sets.{name}.file", of_set.file), csv=csv)
