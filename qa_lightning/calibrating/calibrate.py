"""Calibrates a model: fits its temperatures to questions, and keeps them with its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from qa_lightning.calibrating.fitting import Change, changes, cross_fitted_confidence, fit_temperatures
from qa_lightning.calibrating.trained_questions import check_not_trained_on
from qa_lightning.data.sources import read_examples
from qa_lightning.data.textfiles import TextFormat
from qa_lightning.decoding.temperatures import PLAIN_SOFTMAX, Temperatures
from qa_lightning.pretrained.adapter_file import ADAPTER_CONFIG
from qa_lightning.pretrained.checkpoint_file import is_checkpoint
from qa_lightning.pretrained.ensemble_file import ENSEMBLE_FILE, is_ensemble, read_ensemble, write_settings
from qa_lightning.pretrained.head import CONFIG_FILE
from qa_lightning.pretrained.loading import load_settings
from qa_lightning.pretrained.settings import CALIBRATION, SETTINGS_FILE
from qa_lightning.reader.reader import Reader
from qa_lightning.records import Prediction
from qa_lightning.runs.calibration import AnsweredQuestions, fingerprint
from qa_lightning.runs.creation import sole_run
from qa_lightning.runs.folder import RunFolder, resolve_model
from qa_lightning.runs.questions import tabulate
from qa_lightning.scoring.mlqa import check_language
from qa_lightning.scoring.rules import rule_name
from qa_lightning.utils.arrays import FloatArray
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import remove_unfinished, write_json

Progress = Callable[[Iterable[list[Prediction]], int], Iterable[list[Prediction]]]
"""Hands on predictions, some at a time, given how many there will be, and shows how far they are."""

_OF_A_MODEL = (CONFIG_FILE, SETTINGS_FILE, ADAPTER_CONFIG)
"""Files one of which the folder of a model has; an adapter that peft wrote has the last one only."""

_TOGETHER = 128
"""Questions that the model is asked between two moments at which progress is shown."""


@dataclass(frozen=True)
class Calibrated:
    """What came of a calibration.

    Attributes:
        temperatures: Those that fit all questions best.
        table: The questions as the model answered them, with the columns of `runs.questions.SCHEMA`.
        answered: The same, as calibration looks at them.
        before: The confidence of each answer by the model's own softmax; ``[questions]``.
        after: That by temperatures that were fitted to the questions on other contexts; ``[questions]``.
        changes: The figures of `scoring.calibration.FIGURES` of both.
        unchecked: Why it is not known whether the model was trained on these questions; empty where it is.
    """

    temperatures: Temperatures
    table: pa.Table
    answered: AnsweredQuestions
    before: FloatArray
    after: FloatArray
    changes: dict[str, Change]
    unchecked: list[str]


def calibrate(
    model: str,
    data: str,
    *,
    column_names: Mapping[str, str] | None = None,
    text_format: TextFormat | None = None,
    language: str | None = None,
    device: str | None = None,
    progress: Progress = lambda predictions, _: predictions,
) -> Calibrated:
    """Fits the temperatures of a model to the questions of a file, and keeps them with the model's settings.

    The settings are replaced at the end, in one step; nothing else of the model changes, and no answer does.

    Args:
        model: The folder of a run, whose best model is taken; that of a model, of one that was exported, or of an
            ensemble.
        data: A file of questions with golds that the model was not trained on.
        column_names: What the file calls ``id``, ``question``, ``context``, ``answers`` and ``answer_start``.
        text_format: How it is written, where it is a text file; default: it is detected.
        language: The language of MLQA's rule by which answers are right or wrong; default: SQuAD's rule.
        device: Where to run the model; default: a GPU where there is one.
        progress: Shows how far the questions are.

    Raises:
        UserError: Where the model is no folder, cannot be loaded or is being trained, or the questions are none that it
            can be calibrated to.
    """
    check_language(language)
    folder = check_folder(model)
    run = RunFolder(folder).run_of_best_model()
    # A training may replace the model at any moment.
    with nullcontext() if run is None else sole_run(run.path):
        null_allowed = _may_say_nothing(folder)
        questions = read_examples(
            split="validation",
            files=data,
            columns=column_names,
            text_format=text_format,
            training=False,
            version_2_with_negative=null_allowed,
        ).table
        check_kinds(questions, data, null_allowed=null_allowed)
        return _calibrate(folder, data, questions, rule_name(language, null_allowed=null_allowed), device, progress)


def _calibrate(
    folder: Path, data: str, questions: pa.Table, rule: str, device: str | None, progress: Progress
) -> Calibrated:
    pairs = list(zip(questions["question"].to_pylist(), questions["context"].to_pylist(), strict=True))
    unchecked = check_not_trained_on(str(folder), pairs, data)
    reader = Reader.from_pretrained(folder, device=device, **vars(PLAIN_SOFTMAX))
    predictions = chain.from_iterable(progress(_ask(reader, pairs), len(pairs)))
    table = tabulate(_with_golds(predictions, questions), rule)
    answered = AnsweredQuestions.of_table(table)
    fitted = fit_temperatures(answered)
    before, after = answered.confidence(), cross_fitted_confidence(answered, data)
    result = Calibrated(fitted, table, answered, before, after, changes(answered, before, after), unchecked)
    found = vars(fitted) if answered.null_allowed else {"temperature": fitted.temperature}
    _write(folder, found, {"data": Path(data).name, "questions": len(table), "fingerprint": fingerprint(table)})
    return result


def check_folder(model: str) -> Path:
    """Finds the folder whose settings a calibration is kept with.

    Args:
        model: As in `calibrate`.

    Raises:
        UserError: Where it is none.
    """
    name = resolve_model(model)
    if is_checkpoint(name):
        raise UserError(
            f"{name} is a checkpoint, whose settings are part of it; name its run, whose best_model is calibrated, or "
            "a folder that export wrote of it"
        )
    folder = Path(name)
    if not folder.is_dir():
        raise UserError(
            f"{name}: no such folder; temperatures are kept in a model's folder: of a model on the Hub, write one with "
            "export --format safetensors"
        )
    if not is_ensemble(name) and not any((folder / file).is_file() for file in _OF_A_MODEL):
        raise UserError(f"{name}: there is no model in this folder")
    return folder


def check_kinds(questions: pa.Table, data: str, *, null_allowed: bool) -> None:
    """Checks that there are questions, and of a model that may leave questions unanswered, of both kinds.

    Args:
        questions: With a column ``gold_texts``.
        data: Where they are from, for messages.
        null_allowed: Whether the model may leave questions unanswered.

    Raises:
        UserError: Where there are not.
    """
    kinds = {bool(golds) for golds in questions["gold_texts"].to_pylist()}
    if not kinds:
        raise UserError(f"{data}: there is no question in it")
    if null_allowed and len(kinds) < 2:
        missing = "unanswerable" if kinds == {True} else "answerable"
        raise UserError(
            f"{data}: there is no {missing} question in it; the model may leave questions unanswered, and how likely "
            "that is must be fitted to questions of both kinds"
        )


def _may_say_nothing(folder: Path) -> bool:
    """Whether a model may leave questions unanswered, read before it is loaded."""
    if not is_ensemble(folder):
        return bool(load_settings(str(folder)).get("version_2_with_negative", False))
    ensemble = read_ensemble(folder)
    member = load_settings(resolve_model(ensemble.members[0])).get("version_2_with_negative", False)
    return bool(ensemble.settings.get("handle_impossible_answer", member))


def _ask(reader: Reader, pairs: Sequence[tuple[str, str]]) -> Iterator[list[Prediction]]:
    """Asks a model all questions, some at a time."""
    for first in range(0, len(pairs), _TOGETHER):
        questions, contexts = zip(*pairs[first : first + _TOGETHER], strict=True)
        yield list(reader.predictions(question=list(questions), context=list(contexts)))


def _with_golds(predictions: Iterable[Prediction], questions: pa.Table) -> Iterator[Prediction]:
    """Predictions as scoring needs them, with the id and the golds of each question."""
    known = zip(questions["id"].to_pylist(), questions["gold_texts"].to_pylist(), strict=True)
    for row, (prediction, (name, golds)) in enumerate(zip(predictions, known, strict=True)):
        question = replace(
            prediction.question, row=row, id=name, golds=tuple(golds), gold_spans=tuple(None for _ in golds)
        )
        yield replace(prediction, question=question)


def _write(folder: Path, temperatures: Mapping[str, float], notes: Mapping[str, Any]) -> None:
    """Keeps temperatures with a model's settings, in place of former ones; whole or not at all."""
    remove_unfinished(folder)
    if is_ensemble(folder):
        settings = {**read_ensemble(folder).settings, **temperatures}
        write_settings(folder / ENSEMBLE_FILE, settings, {CALIBRATION: dict(notes)})
    else:
        calibration = {**temperatures, **notes}
        write_json(folder / SETTINGS_FILE, {**load_settings(str(folder)), CALIBRATION: calibration})


def remove_calibration(model: str) -> Path:
    """Takes the temperatures from a model's settings, so that its scores are its own softmax again.

    Args:
        model: As in `calibrate`.

    Returns:
        The model's folder.

    Raises:
        UserError: Where the model is no folder, or was not calibrated.
    """
    folder = check_folder(model)
    if is_ensemble(folder):
        settings = read_ensemble(folder).settings
        kept = {name: value for name, value in settings.items() if name not in vars(PLAIN_SOFTMAX)}
        if kept == settings:
            raise UserError(f"{model}: it was not calibrated")
        write_settings(folder / ENSEMBLE_FILE, kept, {CALIBRATION: None})
        return folder
    settings = load_settings(str(folder))
    if CALIBRATION not in settings:
        raise UserError(f"{model}: it was not calibrated")
    del settings[CALIBRATION]
    if settings:
        write_json(folder / SETTINGS_FILE, settings)
    else:
        (folder / SETTINGS_FILE).unlink()
    return folder
