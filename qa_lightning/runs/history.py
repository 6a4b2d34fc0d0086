"""The history of a run, as its folder holds it: scores and learning curves."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from qa_lightning.runs.folder import RunFolder
from qa_lightning.scoring.figures import MEAN, PROGRESS, is_interval
from qa_lightning.utils.arrays import FloatArray
from qa_lightning.utils.errors import UserError

Scores = dict[str, Any]
"""An evaluation set's figures by plain name, ``f1``; an interval is a list of two, ``f1_ci95``."""

Curves = dict[str, tuple[FloatArray, FloatArray]]
"""Steps and values by name: ``train/loss``, ``val/f1``."""

_STAGES = ("val", "test")

_LARGEST = 1e30
"""Beyond this no number is a figure of a run: it could be neither written in a table nor drawn."""


def run_name(run: Path) -> str:
    """What to call a run: its folder's name, behind the run's that the folder belongs to."""
    folder = run.resolve()
    return f"{folder.parent.name}/{folder.name}" if RunFolder(folder.parent).is_run else folder.name


def read_scores(run: Path) -> Scores:
    """Reads the figures of ``metrics.json``, with ``epoch`` and ``step``; empty where there is no such file.

    Args:
        run: The folder of a run; or of a named evaluation set, whose figures stand in the file above.

    Raises:
        UserError: Where the file is not what it should be.
    """
    owner, prefix = RunFolder(run).owner()
    path = owner.metrics
    if not path.is_file():
        return {}
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from error
    except RecursionError as error:
        raise UserError(f"{path}: not the scores of a run: lists or objects stand too deep in each other") from error
    if not isinstance(written, dict):
        raise UserError(f"{path}: not the scores of a run, which are an object of names and numbers")
    scores: Scores = {}
    for key, value in written.items():
        stage, _, plain = key.partition("/")
        if key in PROGRESS:
            scores[key] = value
        elif plain.startswith(MEAN) and "/" not in plain:
            continue  # of several sets, which is the score of none
        elif stage in _STAGES and plain.startswith(prefix) and "/" not in plain.removeprefix(prefix):
            scores[plain.removeprefix(prefix)] = value
    return {key: value for key, value in scores.items() if _is_figure(key, value)}


def read_curves(run: Path) -> Curves:
    """Reads what was logged while training, of all the times that it went on; empty where nothing was.

    Args:
        run: The folder of a run; or of a named evaluation set, whose curves stand in the logs above.

    Raises:
        UserError: Where a log is not what it should be.
    """
    owner, prefix = RunFolder(run).owner()
    points: dict[str, dict[int, float]] = {}
    for path in [*_logs(owner.lightning_logs), *_logs(owner.logs)]:
        later = _logged(path)
        # Training went on from a checkpoint: what was logged beyond it belongs to an end that nobody kept.
        start = min((step for column in later.values() for step in column), default=math.inf)
        for column, values in later.items():
            kept = {step: value for step, value in points.get(column, {}).items() if step < start}
            points[column] = kept | values
    return {
        column.replace(f"/{prefix}", "/", 1) if prefix else column: _sorted(values)
        for column, values in points.items()
        if not prefix or column.startswith((f"val/{prefix}", "train/"))
    }


def _is_figure(key: str, value: object) -> bool:
    if not is_interval(key):
        return _is_number(value)
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _logs(folder: Path) -> list[Path]:
    """The logs below a folder, the oldest first."""
    found = [path for path in folder.glob("version_*/metrics.csv") if _version(path) is not None]
    return sorted(found, key=lambda path: _version(path) or 0)


def _version(path: Path) -> int | None:
    number = path.parent.name.removeprefix("version_")
    return int(number) if number.isdecimal() else None


def _logged(path: Path) -> dict[str, dict[int, float]]:
    """Values by column and step; of several at one step, the last."""
    columns: dict[str, dict[int, float]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                step = int(row["step"])
                if abs(step) > _LARGEST:
                    raise ValueError("a step is too large to be one")
                for column, cell in row.items():
                    if column not in PROGRESS and cell and abs(float(cell)) <= _LARGEST:
                        columns.setdefault(column, {})[step] = float(cell)
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a log of steps and numbers: {error}") from error
    return columns


def _sorted(values: dict[int, float]) -> tuple[FloatArray, FloatArray]:
    steps = sorted(values)
    return np.array(steps, dtype=np.float64), np.array([values[step] for step in steps])
