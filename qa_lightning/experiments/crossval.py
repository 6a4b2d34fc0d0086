"""Cross-validation: each question is predicted by a model that was not trained on it, and all are scored as one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lightning.experiments.devices import recorded_devices
from qa_lightning.experiments.fit_settings import as_recorded, check_arguments, data_settings, read_settings
from qa_lightning.experiments.folder import ExperimentFolder
from qa_lightning.experiments.folds import assign_folds
from qa_lightning.experiments.pooling import Pooled, figures_of, metrics_of, pool
from qa_lightning.experiments.source_data import group_numbers, read_train, train_flags, write_examples
from qa_lightning.experiments.trainings import Training, run_trainings
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.predictions import write_predictions
from qa_lightning.runs.questions import read_questions, write_table
from qa_lightning.utils.arrays import IntArray
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import write_json

VERB = "crossval"
PARAGRAPH = "paragraph"
"""What questions are grouped by unless it is said otherwise: those on one paragraph are in one fold."""

_WITHOUT_VALIDATION = ("validation_file", "dataset_name", "synthetic")


@dataclass(frozen=True)
class CrossValidation:
    """What a cross-validation comes to.

    Attributes:
        pooled: The out-of-fold predictions.
        metrics: Their scores and intervals, as ``metrics.json`` has them.
        folds: A row for each fold, as the table has it.
    """

    pooled: Pooled
    metrics: dict[str, Any]
    folds: list[dict[str, Any]]


def run_crossval(
    output: Path,
    folds: int,
    arguments: Sequence[str],
    *,
    command: str,
    group_by: str = PARAGRAPH,
    seed: int = 0,
    workers: int = 1,
    say: Callable[[str], None] = print,
) -> CrossValidation:
    """Trains on all folds but one and predicts that one, for each fold, unless that was done; writes run and page.

    The experiment's folder is then itself one of a run: ``per_question.parquet``, ``metrics.json`` and the files of
    predictions are those of all questions.

    Args:
        output: The experiment's folder, in which the run of each fold has its own, ``fold-1`` and so on.
        folds: How many folds, two at least.
        arguments: The arguments of ``fit``.
        command: The command that is shown on the page.
        group_by: ``paragraph``, or a column whose equal values are in one fold, such as ``title``.
        seed: Of the choice of folds.
        workers: How many trainings are at work side by side.
        say: Prints a line.

    Raises:
        UserError: Something is wrong with the arguments or the data, or a training fails.
    """
    if folds < 2:
        raise UserError(f"--folds must be at least 2, not {folds}")
    check_arguments(arguments, {})
    settings = read_settings(arguments)
    if settings.get("early_stopping_patience") is not None:
        raise UserError("early stopping would watch the fold that is scored; set trainer.max_epochs instead")
    data = data_settings(settings)
    table = read_train(data, scored=True, group_by=None if group_by == PARAGRAPH else group_by)
    answerable = pc.greater(pc.list_value_length(table["gold_texts"]), 0).to_numpy()
    of_question = assign_folds(group_numbers(table), answerable, folds, seed=seed)
    experiment = ExperimentFolder(output, VERB)
    recorded = as_recorded(settings) | {"--folds": str(folds), "--group_by": group_by, "--seed": str(seed)}
    recorded |= recorded_devices(settings, workers)
    with experiment.at_work(recorded):
        trainings = _trainings(output, table, of_question, arguments, data.get("column_names"))
        run_trainings(experiment, trainings, say, workers=workers)
        pooled = pool([read_questions(training.scored) for training in trainings], table["id"].to_pylist())
        found = CrossValidation(pooled, metrics_of(pooled.table), _rows(experiment, trainings, pooled))
        _write(experiment, found, command, group_by)
    return found


def _trainings(
    output: Path,
    table: pa.Table,
    of_question: IntArray,
    arguments: Sequence[str],
    column_names: Mapping[str, str] | None,
) -> list[Training]:
    """The training and the evaluation of each fold, whose files are written."""
    trainings = []
    for fold in range(int(of_question.max()) + 1):
        name = f"fold-{fold + 1}"
        held_out = of_question == fold
        train, validation = (output / "data" / f"{name}-{part}.parquet" for part in ("train", "validation"))
        write_examples(train, table.filter(pa.array(~held_out)), column_names)
        write_examples(validation, table.filter(pa.array(held_out)), column_names)
        # What training watched would be tuned on it: the fold is predicted by the last weights, after the training.
        nothing = [word for setting in _WITHOUT_VALIDATION for word in (f"--data.{setting}", "null")]
        fit = ("fit", *arguments, *nothing, *train_flags(train))
        validate = ("validate", "--data.validation_file", str(validation), "--data.validation_split", "validation")
        trainings.append(Training(name, output / name, (fit, validate), float(np.count_nonzero(~held_out))))
    return trainings


def _rows(experiment: ExperimentFolder, trainings: Sequence[Training], pooled: Pooled) -> list[dict[str, Any]]:
    rows = []
    for fold, training in enumerate(trainings):
        of_fold = pooled.table.filter(pa.array(pooled.folds == fold))
        rows.append(
            {
                "fold": fold + 1,
                "run": str(training.scored.relative_to(experiment.path)),
                "questions": len(of_fold),
                "paragraphs": len(of_fold["context"].unique()),
                "threshold": None if pooled.thresholds is None else pooled.thresholds[fold],
                **{name: value for name, value in figures_of(of_fold).items() if not name.endswith("total")},
                "seconds": experiment.done[training.name]["seconds"],
            }
        )
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def _write(experiment: ExperimentFolder, found: CrossValidation, command: str, group_by: str) -> None:
    """Writes the folder's files as of one run, the table, and the page."""
    # Imported here, since matplotlib takes a second that a mistake need not wait for.
    from qa_lightning.experiments.crossval_page import crossval_page
    from qa_lightning.report.experiment_page import write_experiment

    run = RunFolder(experiment.path)
    write_predictions(run.path, found.pooled.table)
    write_table(run.questions, found.pooled.table)
    write_json(run.metrics, found.metrics)
    experiment.write_rows(found.folds)
    name = experiment.path.resolve().name
    write_experiment(experiment.page, crossval_page(name, found.pooled, found.metrics, found.folds, command, group_by))
