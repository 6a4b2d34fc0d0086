"""Checks that a model, its data and the trainer, where they were made apart from each other, go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from qa_lightning.pretrained.loading import load_tokenizer
from qa_lightning.pretrained.settings import SHARED_SETTINGS
from qa_lightning.records import WindowConfig
from qa_lightning.utils.errors import UserError


class HasSettings(Protocol):
    """A model that knows what it is asked with; ours does.

    Attributes:
        settings: Its settings by name, `SHARED_SETTINGS` among them.
        tokenizer: Its tokenizer; None where it has none.
        tokenizer_name: The name that this was loaded by.
    """

    settings: Mapping[str, Any]
    tokenizer: Any
    tokenizer_name: str | None


def check_agreement(model: Any, config: WindowConfig, tokenizer_name: str | None) -> None:
    """Checks that a model and its data have the same settings and the same tokenizer.

    Args:
        model: The model; one that is not a `HasSettings` agrees with any data.
        config: The data's settings, which have attributes of the names in `SHARED_SETTINGS`.
        tokenizer_name: The name of the data's tokenizer; None where it has none.

    Raises:
        UserError: Names every setting that differs, with both values.
    """
    if not all(hasattr(model, name) for name in HasSettings.__annotations__):
        return
    differences = [
        f"{name} is {ours!r} in {type(model).__name__} and {theirs!r} in QADataModule"
        for name, ours, theirs in _differences(model, config, tokenizer_name)
    ]
    if differences:
        raise UserError(f"model and data disagree: {'; '.join(differences)}; give both the same")


def check_teachers(model: Any, *, augments: bool) -> None:
    """Checks that what teachers predict for the windows of the data holds in every epoch.

    Args:
        model: The model, which may have ``teachers``.
        augments: Whether the texts of windows are changed in each epoch.

    Raises:
        UserError: Where it does not.
    """
    if augments and getattr(model, "teachers", None):
        raise UserError(
            "model.teacher and data.augmentation do not go together: a teacher predicts once, for texts as they are; "
            "leave out one of the two"
        )


def check_trainer(trainer: Any) -> None:
    """Checks that a trainer leaves the order of batches to the data.

    Raises:
        UserError: Where it would put an order of its own in the place of the loaders'.
    """
    if trainer.overfit_batches:
        raise UserError(
            "overfit_batches: batches here have an order of their own; to overfit some questions, set train_split and "
            "validation_split of QADataModule to a slice such as train[:20]"
        )


def _differences(
    model: HasSettings, config: WindowConfig, tokenizer_name: str | None
) -> Iterator[tuple[str, object, object]]:
    """The settings that differ: name, the model's value, the data's."""
    for name in SHARED_SETTINGS:
        ours, theirs = model.settings.get(name), getattr(config, name)
        if ours is not None and ours != theirs:
            yield name, ours, theirs
    if tokenizer_name is None or model.tokenizer is None or _same_place(tokenizer_name, model.tokenizer_name):
        return
    if not _alike(model.tokenizer, load_tokenizer(tokenizer_name)):
        yield "the tokenizer", model.tokenizer_name, tokenizer_name


def _same_place(name: str, other: str | None) -> bool:
    """Whether two names are of one model: on the Hub, or a folder or file here, however it is written."""
    return other is not None and (name == other or Path(name).resolve() == Path(other).resolve())


def _alike(tokenizer: Any, other: Any) -> bool:
    """Whether two tokenizers make the same ids of the same texts, as far as their vocabulary and kind show."""
    kinds = [type(each.backend_tokenizer.model).__name__ for each in (tokenizer, other)]
    return kinds[0] == kinds[1] and bool(tokenizer.get_vocab() == other.get_vocab())
