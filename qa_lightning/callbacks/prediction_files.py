"""Predictions as files in the formats that others read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from qa_lightning.files import write_json

_NBEST = ("text", "start_logit", "end_logit", "probability")


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
    write_json(folder / "predictions.json", dict(zip(ids, table["prediction"].to_pylist(), strict=True)))
    write_json(folder / "nbest_predictions.json", dict(zip(ids, answers, strict=True)))
    for name in ("null_odds", "na_prob"):
        values = table[name]
        if values.null_count < len(values):
            write_json(folder / f"{name}.json", dict(zip(ids, values.to_pylist(), strict=True)))
        else:
            (folder / f"{name}.json").unlink(missing_ok=True)
