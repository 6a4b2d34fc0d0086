"""Predictions as files in the formats that others read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from qa_lightning.files import write_json
from qa_lightning.per_question import FILE

METRICS = "metrics.json"
"""The file of scores."""

_PREDICTIONS = ("predictions.json", "nbest_predictions.json", "null_odds.json", "na_prob.json")
_NBEST = ("text", "start_logit", "end_logit", "probability")


def remove_evaluation(folder: Path) -> None:
    """Removes the files of an earlier evaluation, so that none is taken for one of the next.

    Args:
        folder: The run's folder, and that of named evaluation sets, which have no scores or config of their own.
    """
    own = (METRICS, "config.yaml")
    found = [path.parent for path in folder.glob(f"*/{_PREDICTIONS[0]}")]
    sets = [place for place in found if not any((place / name).exists() for name in own)]
    for place in (folder, *sets):
        for name in (METRICS, FILE, *_PREDICTIONS):
            (place / name).unlink(missing_ok=True)
    for place in sets:
        if not any(place.iterdir()):
            place.rmdir()


def write_predictions(folder: Path, table: pa.Table) -> None:
    """Writes what a model answered, by question id.

    ``predictions.json`` (the text, empty for "no answer"), ``nbest_predictions.json`` and ``null_odds.json`` (null
    score minus the best other score: what ``null_score_diff_threshold`` is compared with) are in transformers'
    formats. ``na_prob.json`` holds the probability that there is no answer, a softmax over the answers kept, for
    the official scorer's ``--na-prob-file``. The last two are there only where null could be predicted.

    Args:
        folder: Where to.
        table: Questions with the columns of `per_question.SCHEMA`.
    """
    ids = table["id"].to_pylist()
    answers = [[{key: one[key] for key in _NBEST} for one in kept] for kept in table["answers"].to_pylist()]
    write_json(folder / _PREDICTIONS[0], dict(zip(ids, table["prediction"].to_pylist(), strict=True)))
    write_json(folder / _PREDICTIONS[1], dict(zip(ids, answers, strict=True)))
    for name in ("null_odds", "na_prob"):
        values = table[name]
        if values.null_count < len(values):
            write_json(folder / f"{name}.json", dict(zip(ids, values.to_pylist(), strict=True)))
