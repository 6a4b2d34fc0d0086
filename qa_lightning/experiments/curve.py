"""A learning curve over data: trainings on nested shares of it, and what twice the data would bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from qa_lightning.experiments.devices import recorded_devices
from qa_lightning.experiments.fit_settings import (
    as_recorded,
    check_arguments,
    data_settings,
    read_settings,
    require_validation,
)
from qa_lightning.experiments.folder import ExperimentFolder
from qa_lightning.experiments.learning_curve import SCORES, LearningCurve, Point
from qa_lightning.experiments.power_law import forecast
from qa_lightning.experiments.source_data import (
    group_numbers,
    is_synthetic,
    read_train,
    synthetic_table,
    train_flags,
    write_examples,
)
from qa_lightning.experiments.subsets import nested_subsets
from qa_lightning.experiments.trainings import Training, run_trainings
from qa_lightning.runs.questions import read_questions
from qa_lightning.runs.spread import RunScores, scores_of_runs, spread_of
from qa_lightning.scoring.intervals import resample_runs
from qa_lightning.utils.arrays import BoolArray
from qa_lightning.utils.errors import UserError

VERB = "curve"

_RESERVED = {"--seed_everything": "the seeds are those of --seeds"}
_RESAMPLES = 1000


@dataclass(frozen=True)
class _Share:
    fraction: float
    seed: int
    questions: int
    training: Training


def run_curve(
    output: Path,
    fractions: Sequence[float],
    seeds: Sequence[int],
    arguments: Sequence[str],
    *,
    command: str,
    workers: int = 1,
    say: Callable[[str], None] = print,
) -> LearningCurve:
    """Trains on each share of the data with each seed, unless that was done; writes ``curve.parquet``, ``curve.html``.

    Args:
        output: The experiment's folder, in which each run has its own, ``fraction-0.05-seed-0`` and so on.
        fractions: The shares, above 0 and at most 1; more can be added later.
        seeds: The seeds, of the training and of the choice of paragraphs; more can be added later.
        arguments: The arguments of ``fit``.
        command: The command that is shown on the page.
        workers: How many trainings are at work side by side.
        say: Prints a line.

    Raises:
        UserError: Something is wrong with the arguments or the data, or a training fails.
    """
    fractions, seeds = sorted(set(fractions)), list(dict.fromkeys(seeds))
    if len(fractions) < 2 or not all(0 < fraction <= 1 for fraction in fractions):
        raise UserError("--fractions takes two shares of the data or more, each above 0 and at most 1: 0.05,0.25,1")
    check_arguments(arguments, _RESERVED)
    settings = read_settings(arguments)
    require_validation(settings)
    data = data_settings(settings)
    table = read_train(data, scored=False)
    experiment = ExperimentFolder(output, VERB)
    recorded = as_recorded(settings, ["seed_everything"]) | recorded_devices(settings, workers)
    with experiment.at_work(recorded):
        flags = [*arguments, *_validation_flags(output, data)]
        shares = list(_shares(output, table, fractions, seeds, flags, data.get("column_names")))
        run_trainings(experiment, [share.training for share in shares], say, workers=workers)
        folders = [share.training.scored for share in shares]
        scores = scores_of_runs({str(folder): read_questions(folder) for folder in folders})
        curve = _summarize(shares, scores, fractions, len(seeds))
        _write(experiment, shares, scores, curve, command)
    return curve


def _validation_flags(output: Path, data: Mapping[str, Any]) -> list[str]:
    """What names the validation data where they are the synthetic corpus', which goes with no file to train on."""
    if not is_synthetic(data, "validation"):
        return []
    path = output / "data/validation.parquet"
    write_examples(path, synthetic_table(data, "validation"), data.get("column_names"))
    return ["--data.validation_file", str(path), "--data.validation_split", "validation"]


def _shares(
    output: Path,
    table: pa.Table,
    fractions: Sequence[float],
    seeds: Sequence[int],
    arguments: Sequence[str],
    column_names: Mapping[str, str] | None,
) -> list[_Share]:
    """The training of each share and seed, whose files are written; the smallest shares come first."""
    subsets = {seed: nested_subsets(group_numbers(table), fractions, seed=seed) for seed in seeds}
    shares = []
    for place, fraction in enumerate(fractions):
        for seed in seeds:
            chosen: BoolArray = subsets[seed][place]
            name = f"fraction-{fraction:g}-seed-{seed}"
            path = output / "data" / ("all.parquet" if chosen.all() else f"{name}.parquet")
            write_examples(path, table.filter(pa.array(chosen)), column_names)
            fit = ("fit", *arguments, *train_flags(path), "--seed_everything", str(seed))
            count = int(np.count_nonzero(chosen))
            shares.append(_Share(fraction, seed, count, Training(name, output / name, (fit,), float(count))))
    return shares


def _summarize(shares: Sequence[_Share], scores: RunScores, fractions: Sequence[float], seeds: int) -> LearningCurve:
    """Means, spreads and forecasts; the runs of ``scores`` are in the order of ``shares``."""
    places = [slice(first, first + seeds) for first in range(0, len(shares), seeds)]
    points = [
        Point(
            fraction,
            float(np.mean([share.questions for share in shares[part]])),
            spread_of(RunScores({name: runs[part] for name, runs in scores.columns.items()}, scores.paragraphs)),
        )
        for fraction, part in zip(fractions, places, strict=True)
    ]
    sizes = np.array([point.questions for point in points])
    forecasts = {}
    for name in SCORES:
        # A seed's runs on all shares belong together: its paragraphs are nested.
        runs = scores.columns[name]
        resampled = resample_runs([runs[part] for part in places], scores.paragraphs, paired=True, resamples=_RESAMPLES)
        forecasts[name] = forecast(sizes, np.array([point.scores[name].mean for point in points]), resampled)
    return LearningCurve(points, forecasts, seeds, len(scores.paragraphs))


def _write(
    experiment: ExperimentFolder, shares: Sequence[_Share], scores: RunScores, curve: LearningCurve, command: str
) -> None:
    # Imported here, since matplotlib takes a second that a mistake need not wait for.
    from qa_lightning.experiments.curve_page import curve_page
    from qa_lightning.report.experiment_page import write_experiment

    means = {name: np.nanmean(runs, axis=1).tolist() for name, runs in scores.columns.items()}
    rows = [
        {
            "fraction": share.fraction,
            "seed": share.seed,
            "questions": share.questions,
            "run": str(share.training.scored.relative_to(experiment.path)),
            **{name: values[place] for name, values in means.items()},
            "seconds": experiment.done[share.training.name]["seconds"],
        }
        for place, share in enumerate(shares)
    ]
    experiment.write_rows(rows)
    write_experiment(experiment.page, curve_page(experiment.path.resolve().name, curve, command))
