"""Prediction files: written for a run in the formats that others read, and read in any form that people keep."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from qa_lightning.data.readers import first_line
from qa_lightning.data.values import describe
from qa_lightning.runs.folder import (
    CONFIG,
    EVALUATION_FILES,
    METRICS,
    NA_PROB,
    NBEST_PREDICTIONS,
    NULL_ODDS,
    PREDICTIONS,
)
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import write_entries

FORMS = "id → text, or a list of {id, prediction_text}, with or without no_answer_probability"
"""The forms of predictions that can be read, as messages describe them."""

_NBEST = ("text", "start_logit", "end_logit", "probability")
_PART = 1000
_GZIP = b"\x1f\x8b"


class Predictions(NamedTuple):
    """What a file predicts.

    Attributes:
        texts: The predicted texts by id, empty for no answer.
        probabilities: The probabilities, 0 to 1, that there is no answer, of those predictions that have one; None
            where none has.
    """

    texts: dict[str, str]
    probabilities: dict[str, float] | None


def read_predictions(file: str) -> Predictions:
    """Reads an object of id → text, or records as the metrics of ``evaluate`` take them, as a list or JSON Lines.

    Args:
        file: A path; the file may be compressed by gzip.

    Raises:
        UserError: The file cannot be read, is of another form, or predicts twice for a question.
    """
    content = _read_json(file)
    if isinstance(content, dict) and "prediction_text" in content:
        content = [content]  # JSON Lines of one line
    if isinstance(content, list):
        return _from_records(file, content)
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected {FORMS}, found {describe(content)}")
    for name, value in content.items():
        if isinstance(value, list):
            raise UserError(
                f"{file}: {name!r:.80} has {describe(value)}, not one text; n-best files cannot be scored: "
                "give the predictions.json beside it"
            )
        _check_text(file, name, value)
    return Predictions(content, None)


def read_probabilities(file: str) -> dict[str, float]:
    """Reads an object of id → probability that there is no answer.

    Raises:
        UserError: The file cannot be read or is of another form.
    """
    content = _read_json(file)
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected an object of id → probability, found {describe(content)}")
    for name, value in content.items():
        _check_probability(file, name, value)
    return content


def remove_evaluation(folder: Path) -> None:
    """Removes the files of an earlier evaluation, so that none is taken for one of the next.

    Args:
        folder: The run's folder, and that of named evaluation sets, which have no scores or config of their own.
    """
    found = [path.parent for path in folder.glob(f"*/{PREDICTIONS}")]
    sets = [place for place in found if not any((place / name).exists() for name in (METRICS, CONFIG))]
    for place in (folder, *sets):
        for name in EVALUATION_FILES:
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
        table: Questions with the columns of `questions.SCHEMA`.
    """
    write_entries(folder / PREDICTIONS, _entries(table, "prediction"))
    write_entries(folder / NBEST_PREDICTIONS, _entries(table, "answers"))
    for column, name in (("null_odds", NULL_ODDS), ("na_prob", NA_PROB)):
        if table[column].null_count < len(table):
            write_entries(folder / name, _entries(table, column))


def _from_records(file: str, records: list[Any]) -> Predictions:
    texts: dict[str, str] = {}
    probabilities = {}
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise UserError(f"{file}, entry {number}: expected {{id, prediction_text}}, found {describe(record)}")
        name = record.get("id")
        name = str(name) if type(name) is int else name
        if not isinstance(name, str):
            raise UserError(f"{file}, entry {number}: id is {describe(name)}, not a text")
        _check_text(file, name, record.get("prediction_text"))
        if name in texts:
            raise _twice(file, name)
        texts[name] = record["prediction_text"]
        if record.get("no_answer_probability") is not None:
            probabilities[name] = record["no_answer_probability"]
            _check_probability(file, name, probabilities[name])
    return Predictions(texts, probabilities or None)


def _check_text(file: str, name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise UserError(f"{file}: {name!r:.80} has {describe(value)}, not a text; expected {FORMS}")


def _check_probability(file: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UserError(
            f"{file}: {name!r:.80} has {describe(value)}, not a probability from 0 to 1; "
            "null_odds.json is on another scale: give the na_prob.json beside it"
        )


def _twice(file: str, name: str) -> UserError:
    return UserError(f"{file}: {name!r:.80} occurs twice; each question has one prediction")


def _read_json(file: str) -> Any:
    """What a file of JSON says, or the list of what the lines of a file of JSON Lines say."""
    path = Path(file).expanduser()
    if not path.exists():
        raise UserError(f"{file}: no such file")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            names = [name for name, _ in pairs]
            raise _twice(file, next(name for name in names if names.count(name) > 1))
        return value

    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if content.startswith(_GZIP) else content).decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{file}: not a whole gzip file: {first_line(error)}") from error
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not JSON: {first_line(error)}") from error
    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":  # one value behind the other
            raise UserError(f"{file}: not JSON: {first_line(error)}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not JSON: {first_line(error)}") from error
    values = []
    for number, line in enumerate(text.split("\n"), 1):
        if line and not line.isspace():
            try:
                values.append(json.loads(line, object_pairs_hook=once))
            except (ValueError, RecursionError) as error:
                raise UserError(f"{file}, line {number}: not JSON: {first_line(error)}") from error
    return values


def _entries(table: pa.Table, column: str) -> Iterator[tuple[str, Any]]:
    """Yields each question's id and its value in a column; only some of them are Python's objects at a time."""
    for part in table.select(["id", column]).to_batches(max_chunksize=_PART):
        values = _n_best(part["answers"]) if column == "answers" else part[column].to_pylist()
        yield from zip(part["id"].to_pylist(), values, strict=True)


def _n_best(answers: pa.ListArray) -> Iterator[list[dict[str, Any]]]:
    """Yields the answers of each question, as in ``nbest_predictions.json``."""
    rows = answers.flatten()
    columns = [rows.field(name).to_numpy(zero_copy_only=False).tolist() for name in _NBEST]
    dicts = (dict(zip(_NBEST, row, strict=True)) for row in zip(*columns, strict=True))
    for count in answers.value_lengths().to_pylist():
        yield list(islice(dicts, count))
