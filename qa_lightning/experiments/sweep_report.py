"""The page of a sweep, and the lines that say what came out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from qa_lightning.experiments.importance import FEWEST, REFITS, Importance, importances
from qa_lightning.experiments.parameters import Parameter, label_of
from qa_lightning.experiments.sweep_study import SweepStudy
from qa_lightning.experiments.sweep_table import BEST, PAGE, TABLE, TrialRow, best_row, trial_rows, write_tables
from qa_lightning.report.experiment_page import ExperimentPage, Part, Picture, write_experiment
from qa_lightning.report.sweep_drawing import (
    Scale,
    Trials,
    choice_scale,
    importance_chart,
    number_scale,
    parallel_chart,
    progress_chart,
    slice_chart,
)
from qa_lightning.runs.comparison_tables import ComparisonTable
from qa_lightning.utils.pace import duration
from qa_lightning.utils.secrets import hide_secrets
from qa_lightning.utils.terminal import shortened

_FAMILIES = {"grid": "every combination", "random": "random draws", "bayes": "TPE (Bayesian optimisation)"}
_LONGEST = 24
_DRAWN = ("complete", "stopped")
_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


def write_report(study: SweepStudy, command: str) -> list[str]:
    """Writes table, best config and page, and returns lines that say what is in them.

    Args:
        study: The trials.
        command: The command that makes the sweep, as the page shows it.
    """
    write_tables(study)
    rows = trial_rows(study)
    best = best_row(study, rows)
    page = ExperimentPage(study.sweep.path.stem, _facts(study, rows), list(_parts(study, rows, best)), command)
    write_experiment(study.folder / PAGE, page)
    counts = {state: sum(row.state == state for row in rows) for state in dict.fromkeys(row.state for row in rows)}
    lines = [f"{len(rows)} trials: {', '.join(f'{count} {state}' for state, count in counts.items())}"]
    if best is not None:
        lines.append(
            f"the best is trial {best.number}: {study.sweep.metric.name} {_number(best.value)}; its config is "
            f"{study.folder / BEST}"
        )
    return [*lines, f"all trials are in {study.folder / TABLE}, the page is {study.folder / PAGE}"]


def _facts(study: SweepStudy, rows: Sequence[TrialRow]) -> list[str]:
    goal = "as large" if study.sweep.metric.maximize else "as small"
    seconds = sum(row.seconds for row in rows)
    metric = shortened(study.sweep.metric.name, 18)
    facts = [_FAMILIES[study.sweep.method], f"{metric} {goal} as can be", f"{len(rows)} trials"]
    return [*facts, f"{duration(seconds)} of training"]


def _parts(study: SweepStudy, rows: Sequence[TrialRow], best: TrialRow | None) -> Iterator[Part]:
    metric = study.sweep.metric
    if best is None:
        yield Part("No trial has come to its end", ["The best and the pictures come with the first that does."])
    else:
        settings: list[tuple[str, ...]] = list(_shown(best.parameters).items())
        yield Part(
            f"The best: {metric.name} {_number(best.value)}",
            [f"Trial {best.number}, in {best.folder}. {BEST} is its config, which fit takes with --config."],
            tables=[ComparisonTable("Its parameters", ("parameter", "value"), settings)] if settings else [],
        )
        # One that failed or has not ended has no value to compare with the others' best.
        known = sorted((row for row in rows if row.value is not None and row.state in _DRAWN), key=_end)
        trials = Trials(
            values=np.array([row.value for row in known], dtype=np.float64),
            ended=np.array([row.state == "complete" for row in known]),
            best=known.index(best),
            label=metric.name,
            maximize=metric.maximize,
        )
        yield Part("All trials in pictures", pictures=[*_overview(study, known, trials, best)])
        yield _importance_part(study)
        yield _slices_part(study, known, trials)
    yield Part("Trials", tables=[_trials_table(study, rows)], note=_note(study))


def _overview(study: SweepStudy, rows: Sequence[TrialRow], trials: Trials, best: TrialRow) -> Iterator[Picture]:
    begun = min(row.begun for row in rows if row.begun is not None)
    seconds = np.array([_end(row) - begun.timestamp() for row in rows])
    unit, length = next(pair for pair in _UNITS if seconds[-1] >= 2 * pair[1] or pair[1] == 1)
    yield Picture(
        "The best so far",
        "Each trial at the time of its end.",
        f"After {seconds[-1] / length:.3g} {unit}, the best of {len(rows)} trials is {_number(best.value)}",
        progress_chart(trials, seconds / length, unit),
    )
    scales = [_scale(parameter, rows) for parameter in study.sweep.searched]
    if scales:
        objective = number_scale(trials.label, trials.values)
        at_best = ", ".join(f"{name} {value}" for name, value in _shown(best.parameters).items())
        yield Picture(
            "All trials over all parameters",
            "A line is a trial; a dotted one was stopped.",
            f"The best trial has {at_best}",
            parallel_chart(trials, [*scales, objective]),
        )


def _importance_part(study: SweepStudy) -> Part:
    found = importances(study)
    title = "How much each parameter matters"
    if not found:
        return Part(title, [f"That takes {FEWEST} trials that ended, with different values, and two parameters."])
    return Part(
        title,
        pictures=[
            Picture(
                "Importance",
                "How much of the differences between trials is due to each parameter alone, with 95 % intervals.",
                "; ".join(f"{of.name}: {of.share:.0%}, from {of.low:.0%} to {of.high:.0%}" for of in found),
                importance_chart(
                    [of.name for of in found],
                    np.array([of.share for of in found]),
                    np.array([(of.low, of.high) for of in found]),
                ),
            )
        ],
        tables=[_importance_table(found)],
        note=(
            "By fANOVA, as Optuna computes it, from the trials that came to their end; scaled to 100 %. Intervals are "
            f"of {REFITS} forests, each with a seed of its own and fitted to trials drawn with replacement."
        ),
    )


def _importance_table(found: Sequence[Importance]) -> ComparisonTable:
    cells: list[tuple[str, ...]] = [(of.name, f"{of.share:.0%}", f"{of.low:.0%} to {of.high:.0%}") for of in found]
    return ComparisonTable("Importance in numbers", ("parameter", "importance", "95 % interval"), cells)


def _slices_part(study: SweepStudy, rows: Sequence[TrialRow], trials: Trials) -> Part:
    pictures = []
    for parameter in study.sweep.searched:
        scale = _scale(parameter, rows)
        words = f"The best {trials.label} is at {parameter.name} {_shown(rows[trials.best].parameters)[parameter.name]}"
        pictures.append(Picture(parameter.name, "", words, slice_chart(trials, scale)))
    return Part("Each parameter by itself", pictures=pictures)


def _trials_table(study: SweepStudy, rows: Sequence[TrialRow]) -> ComparisonTable:
    metric = study.sweep.metric
    sign = -1 if metric.maximize else 1
    ordered = sorted(rows, key=lambda row: (row.value is None, sign * (row.value or 0), row.number))
    names = [parameter.name for parameter in study.sweep.searched]
    cells = [
        (
            f"trial {row.number}",
            "–" if row.value is None else _number(row.value),
            row.state,
            *(_shown(row.parameters).get(name, "–") for name in names),
            f"{len(row.values)}",
            duration(row.seconds),
        )
        for row in ordered
    ]
    head = ("trial", shortened(metric.name, _LONGEST), "state", *names, "values", "time")
    return ComparisonTable("All trials, the best first", head, cells)


def _note(study: SweepStudy) -> str:
    text = f"A trial's {study.sweep.metric.name} is the best of its values. Its folder is trial-NNN in {study.folder}."
    stopping = study.sweep.early_terminate
    if stopping is None:
        return text
    brackets = ", ".join(map(str, stopping.brackets[:5]))
    return f"{text} Trials were compared after {brackets} … values; one in {stopping.eta} went on."


def _scale(parameter: Parameter, rows: Sequence[TrialRow]) -> Scale:
    values = [row.parameters.get(parameter) for row in rows]
    if parameter.is_choice:
        labels = [label_of(value) for value in values]
        return choice_scale(parameter.name, labels, parameter.labels)
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return number_scale(parameter.name, numbers, logarithmic=parameter.is_logarithmic)


def _shown(parameters: dict[Parameter, Any]) -> dict[str, str]:
    plain = hide_secrets({parameter.name: value for parameter, value in parameters.items()})
    return {
        name: f"{value:.4g}" if isinstance(value, float) else shortened(label_of(value), _LONGEST)
        for name, value in plain.items()
    }


def _number(value: float | None) -> str:
    assert value is not None
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4g}"


def _end(row: TrialRow) -> float:
    when = row.ended or row.begun
    return 0.0 if when is None else when.timestamp()
