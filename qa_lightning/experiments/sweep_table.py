"""The trials of a sweep as a table, and the best one's config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from qa_lightning.experiments.parameters import Parameter, drawn_values, label_of
from qa_lightning.experiments.sweep_study import SweepStudy
from qa_lightning.runs.folder import RunFolder
from qa_lightning.utils.files import whole_file
from qa_lightning.utils.secrets import hide_secrets

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TABLE = "sweep.parquet"
BEST = "best.yaml"
PAGE = "sweep.html"

STATES = {"COMPLETE": "complete", "PRUNED": "stopped", "FAIL": "failed", "RUNNING": "not ended", "WAITING": "waits"}
"""What Optuna's states are called."""


@dataclass(frozen=True)
class TrialRow:
    """A trial as tables show it.

    Attributes:
        number: Its number.
        state: ``complete``, ``stopped``, ``failed``, ``not ended`` or ``waits``.
        value: The best of its values; None where it has none.
        values: All its values of the metric, in order.
        parameters: The value of each parameter.
        seconds: How long it was worked at.
        begun: When it began.
        ended: When it ended; None where it has not.
        folder: The folder of its run.
    """

    number: int
    state: str
    value: float | None
    values: list[float]
    parameters: dict[Parameter, Any]
    seconds: float
    begun: datetime | None
    ended: datetime | None
    folder: Path


def trial_rows(study: SweepStudy) -> list[TrialRow]:
    """The trials of a sweep by their numbers; of those that failed and were repeated, the last."""
    trials = study.trials()
    repeated = {trial.user_attrs.get("repeats") for trial in trials}
    return [_row(study, trial) for trial in trials if trial.number not in repeated]


def best_row(study: SweepStudy, rows: Sequence[TrialRow]) -> TrialRow | None:
    """The trial with the best value of those that came to their end; None where there is none."""
    known = [row for row in rows if row.state == "complete" and row.value is not None]
    if not known:
        return None
    best = study.sweep.metric.best(row.value for row in known if row.value is not None)
    return next(row for row in known if row.value == best)


def write_tables(study: SweepStudy) -> None:
    """Writes ``sweep.parquet`` and, where a trial has come to its end, ``best.yaml``, each whole or not at all."""
    rows = trial_rows(study)
    with whole_file(study.folder / TABLE) as unfinished:
        pq.write_table(_table(study, rows), unfinished)
    best = best_row(study, rows)
    config = None if best is None else RunFolder(best.folder).config
    if best is None or config is None or not config.is_file():
        return
    head = (
        f"# The best of {sum(row.state in ('complete', 'stopped') for row in rows)} trials of {study.sweep.path.name}: "
        f"trial {best.number}, {study.sweep.metric.name} {best.value:.6g}.\n"
    )
    with whole_file(study.folder / BEST) as unfinished:
        unfinished.write_text(head + config.read_text(encoding="utf-8"), encoding="utf-8")


def _row(study: SweepStudy, trial: FrozenTrial) -> TrialRow:
    values = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
    whole = all(parameter.name in trial.params for parameter in study.sweep.searched)
    return TrialRow(
        number=trial.number,
        state=STATES[trial.state.name],
        value=study.sweep.metric.best(values) if values else None,
        values=values,
        parameters=drawn_values(study.sweep.parameters, trial.params) if whole else {},
        seconds=float(trial.user_attrs.get("seconds", 0.0)),
        begun=trial.datetime_start,
        ended=trial.datetime_complete,
        folder=study.run_of(trial.number),
    )


def _table(study: SweepStudy, rows: Sequence[TrialRow]) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "trial": pa.array([row.number for row in rows], pa.int64()),
        "state": pa.array([row.state for row in rows], pa.string()),
        "value": pa.array([row.value for row in rows], pa.float64()),
        "values": pa.array([row.values for row in rows], pa.list_(pa.float64())),
        "seconds": pa.array([row.seconds for row in rows], pa.float64()),
        "begun": pa.array([row.begun for row in rows], pa.timestamp("us")),
        "ended": pa.array([row.ended for row in rows], pa.timestamp("us")),
        "folder": pa.array([str(row.folder) for row in rows], pa.string()),
    }
    for parameter in study.sweep.parameters:
        values = [hide_secrets(row.parameters.get(parameter), parameter.name) for row in rows]
        columns[f"parameters.{parameter.name}"] = _column(values)
    return pa.table(columns)


def _column(values: Sequence[Any]) -> pa.Array:
    """Values as a column: numbers, texts or truth values as they are, what is mixed or nested as JSON."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return pa.array(values, pa.int64() if kinds == {int} else pa.float64())
    if kinds in ({str}, {bool}):
        return pa.array(values)
    return pa.array([None if value is None else label_of(value) for value in values], pa.string())
