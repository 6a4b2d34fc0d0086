"""The same training over several seeds: mean, spread, and an interval over seeds and questions together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from qa_lightning.experiments.devices import recorded_devices
from qa_lightning.experiments.fit_settings import as_recorded, check_arguments, read_settings, require_validation
from qa_lightning.experiments.folder import ExperimentFolder
from qa_lightning.experiments.trainings import Training, run_trainings
from qa_lightning.runs.comparison_tables import ComparisonTable
from qa_lightning.runs.questions import read_questions
from qa_lightning.runs.spread import RunScores, Spread, scores_of_runs, spread_of
from qa_lightning.utils.errors import UserError

VERB = "seeds"

_RESERVED = {"--seed_everything": "the seeds are those of --seeds"}


def run_seeds(
    output: Path,
    seeds: Sequence[int],
    arguments: Sequence[str],
    *,
    command: str,
    workers: int = 1,
    say: Callable[[str], None] = print,
) -> dict[str, Spread]:
    """Trains with each seed, unless that was done, and writes ``seeds.parquet`` and ``seeds.html``.

    Args:
        output: The experiment's folder, in which the run of each seed has its own, ``seed-0`` and so on.
        seeds: The seeds, two at least; more can be added later.
        arguments: The arguments of ``fit``.
        command: The command that is shown on the page.
        workers: How many trainings are at work side by side.
        say: Prints a line.

    Returns:
        Each score's spread.

    Raises:
        UserError: Something is wrong with the arguments, or a training fails.
    """
    if len(set(seeds)) < 2:
        raise UserError("one seed has no spread: give two or more")
    check_arguments(arguments, _RESERVED)
    settings = read_settings(arguments)
    require_validation(settings)
    experiment = ExperimentFolder(output, VERB)
    trainings = [training_of(output, seed, arguments) for seed in dict.fromkeys(seeds)]
    recorded = as_recorded(settings, ["seed_everything"]) | recorded_devices(settings, workers)
    with experiment.at_work(recorded):
        run_trainings(experiment, trainings, say, workers=workers)
        scores = scores_of_runs({str(training.scored): read_questions(training.scored) for training in trainings})
        spreads = spread_of(scores)
        experiment.write_rows(_rows(output, seeds, trainings, spreads, experiment))
        _write_page(experiment, scores, spreads, trainings, command)
    return spreads


def training_of(output: Path, seed: int, arguments: Sequence[str]) -> Training:
    """The training of a seed."""
    name = f"seed-{seed}"
    return Training(name, output / name, (("fit", *arguments, "--seed_everything", str(seed)),))


def runs_of_seeds(folder: Path) -> list[Path] | None:
    """The scored folders of the runs in a folder of seeds; None where it is no such folder, or not finished.

    Raises:
        UserError: Where its table cannot be read.
    """
    path = ExperimentFolder(folder, VERB).table
    if not path.is_file():
        return None
    try:
        return [folder / run for run in pq.read_table(path, columns=["run"])["run"].to_pylist()]
    except (pa.ArrowException, OSError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the table of a folder of seeds: {str(error).splitlines()[0]}") from error


def spread_table(spreads: Mapping[str, Spread]) -> ComparisonTable:
    """The mean of each score, its spread and its intervals."""
    head = ("score", "mean", "deviation", "95 % interval", "of these seeds")
    rows: list[tuple[str, ...]] = [
        (
            name,
            f"{spread.mean:.2f}",
            "–" if spread.deviation is None else f"{spread.deviation:.2f}",
            "–" if spread.interval is None else _interval(spread.interval),
            _interval(spread.over_questions),
        )
        for name, spread in spreads.items()
    ]
    return ComparisonTable("Mean and spread", head, rows)


def how_made(scores: RunScores, runs: int) -> str:
    """Says what the intervals are over."""
    questions, paragraphs = len(scores.paragraphs), len(set(scores.paragraphs.tolist()))
    return (
        f"{runs} seeds, {questions:,} questions on {paragraphs:,} paragraphs. 95 % interval: bootstrap over seeds and "
        "paragraphs together, for another seed and other questions; of these seeds: over paragraphs alone. "
        "Deviation: of the sample, over seeds."
    )


def _rows(
    output: Path,
    seeds: Sequence[int],
    trainings: Sequence[Training],
    spreads: Mapping[str, Spread],
    experiment: ExperimentFolder,
) -> list[dict[str, Any]]:
    return [
        {
            "seed": seed,
            "run": str(training.scored.relative_to(output)),
            **{name: spread.runs[place] for name, spread in spreads.items()},
            "seconds": experiment.done[training.name]["seconds"],
        }
        for place, (seed, training) in enumerate(zip(dict.fromkeys(seeds), trainings, strict=True))
    ]


def _write_page(
    experiment: ExperimentFolder,
    scores: RunScores,
    spreads: Mapping[str, Spread],
    trainings: Sequence[Training],
    command: str,
) -> None:
    # Imported here, since matplotlib takes a second that a mistake need not wait for.
    from qa_lightning.report.experiment_drawing import spread_chart
    from qa_lightning.report.experiment_page import ExperimentPage, Part, Picture, write_experiment

    words = "; ".join(
        f"{name}: {spread.mean:.2f}, seeds {', '.join(f'{value:.2f}' for value in spread.runs)}"
        for name, spread in spreads.items()
    )
    picture = Picture("Scores over seeds", "0 to 100.", words, spread_chart(spreads))
    of_runs = ComparisonTable(
        "Each seed",
        ("run", *spreads, "seconds"),
        [
            (
                training.name,
                *(f"{spread.runs[place]:.2f}" for spread in spreads.values()),
                f"{experiment.done[training.name]['seconds']:,.0f}",
            )
            for place, training in enumerate(trainings)
        ],
    )
    part = Part("Scores", (), [picture], [spread_table(spreads), of_runs], how_made(scores, len(trainings)))
    facts = [f"{len(trainings)} seeds", f"{len(scores.paragraphs):,} questions"]
    write_experiment(experiment.page, ExperimentPage(experiment.path.resolve().name, facts, [part], command))


def _interval(limits: tuple[float, float]) -> str:
    return " – ".join(f"{limit:.2f}" for limit in limits)
