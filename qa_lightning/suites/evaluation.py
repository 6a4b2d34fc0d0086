"""Puts a suite to models: asks each the questions of every set that it has not answered yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qa_lightning.pretrained.ensemble_file import is_ensemble, read_ensemble
from qa_lightning.pretrained.loading import load_config
from qa_lightning.runs.folder import resolve_model
from qa_lightning.suites.models import Model
from qa_lightning.suites.questions import SetQuestions
from qa_lightning.suites.scores import SetScores, keep_scores, kept_scores

if TYPE_CHECKING:
    from qa_lightning.reader.reader import Reader
    from qa_lightning.records import Prediction

Watch = Callable[["Iterable[Prediction]", str, int], "Iterable[Prediction]"]
"""Hands predictions on as they come; it is given a title, and how many there will be."""


def set_folder(output: Path, model: Model, name: str) -> Path:
    """The folder that holds what a model answers to a set."""
    return output / model.folder / name


def evaluate_models(
    models: Sequence[Model],
    questions: Sequence[SetQuestions],
    output: Path,
    *,
    device: str | None = None,
    watch: Watch | None = None,
) -> Iterator[SetScores]:
    """Scores models on sets, each as ``score --model`` does, and yields the scores one by one.

    What a model has answered is kept in a folder for each set, ``OUTPUT/MODEL/SET``, and is not asked again while
    model, questions and rule are the same: after an interruption, the same call goes on.

    Args:
        models: The models; one is in memory at a time.
        questions: The questions of the sets.
        output: The folder.
        device: Where the models run; default: a GPU where there is one.
        watch: Is put around the predictions of each set, such as a progress bar.

    Raises:
        UserError: Where a model cannot be loaded, or a file cannot be written. Models that are not there are found
            before any is asked.
    """
    kept = {
        (model.label, asked.evaluation_set.name): kept_scores(
            set_folder(output, model, asked.evaluation_set.name), model, asked
        )
        for model in models
        for asked in questions
    }
    to_ask = {label for (label, _), found in kept.items() if found is None}
    for model in models:
        if model.label in to_ask and len(to_ask) > 1:
            _check_there(model.path)
    for model in models:
        reader = None  # and so the last model's memory is free
        for place, asked in enumerate(questions, 1):
            name = asked.evaluation_set.name
            found = kept[model.label, name]
            if found is None:
                reader = reader or _load(model.path, device)
                title = f"{model.label}, {name} ({place} of {len(questions)})"
                found = _ask(reader, set_folder(output, model, name), model, asked, title, watch)
            yield found


def _load(path: str, device: str | None) -> Reader:
    # Imported here, since torch takes seconds that a suite that is done need not wait for.
    from qa_lightning.reader.reader import Reader

    return Reader.from_pretrained(path, device=device)


def _ask(reader: Reader, folder: Path, model: Model, asked: SetQuestions, title: str, watch: Watch | None) -> SetScores:
    """Asks the questions of a set, and keeps the answers with their scores."""
    from qa_lightning.reader.examples import null_probabilities, predict_examples

    found: Iterable[Prediction] = predict_examples(reader, asked.table)
    predictions = list(found if watch is None else watch(found, title, len(asked.table)))
    return keep_scores(folder, model, asked, predictions, null_probabilities(reader, predictions))


def _check_there(path: str) -> None:
    """Finds out whether a model is there, while nothing has been asked yet."""
    for name in read_ensemble(path).members if is_ensemble(path) else [path]:
        load_config(resolve_model(name))
