"""Writes ensembles: folders that name several models which answer together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qa_lightning.ensembling.fitting import FittedWeights, fit_weights
from qa_lightning.ensembling.scores import read_questions
from qa_lightning.pretrained.ensemble_file import (
    EnsembleFile,
    is_ensemble,
    normalized_weights,
    write_ensemble,
)
from qa_lightning.pretrained.loading import load_settings
from qa_lightning.reader.ensemble import Ensemble
from qa_lightning.reader.reader import Reader
from qa_lightning.runs.folder import resolve_model
from qa_lightning.utils.errors import UserError


@dataclass(frozen=True)
class MadeEnsemble:
    """An ensemble that was written.

    Attributes:
        weights: How much each member counts; of sum 1.
        fitted: What was found on the questions that weights were fitted to; None where they were given, or are equal.
    """

    weights: list[float]
    fitted: FittedWeights | None = None


def make_ensemble(
    runs: Sequence[str],
    output: Path,
    *,
    weights: Sequence[float] | None = None,
    data: str | None = None,
    language: str | None = None,
) -> MadeEnsemble:
    """Writes a folder that a Reader takes as one model; it names the members, which are loaded from where they are.

    Args:
        runs: At least two: folders of runs, whose best models are taken, model folders, checkpoints, or names on the
            Hub; with any architectures and tokenizers.
        output: The folder, which is new or empty.
        weights: How much each counts; default: all the same, or as fits the data.
        data: A file of questions with golds, to which weights are fitted by F1.
        language: The language of MLQA's rule to score by; default: SQuAD's rule.

    Raises:
        UserError: Where a member cannot be loaded, members do not go together, or a file cannot be read or written.
    """
    if len(runs) < 2:
        raise UserError("an ensemble is made of two runs or more; name another one")
    if weights is not None and data is not None:
        raise UserError("weights are given, or fitted to the data; leave one of --weights and --data out")
    if weights is not None and len(weights) != len(runs):
        raise UserError(f"{len(runs)} runs have {len(weights)} weights; give each run one")
    if weights is not None:
        normalized_weights(weights, "--weights")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} is there already; name another folder, or delete it first")
    names = [resolve_model(run) for run in runs]
    _check_members(names)
    asked = None if data is None else read_questions(data, language)
    ensemble = Ensemble([Reader.from_pretrained(name) for name in names], weights)
    fitted = None if asked is None else fit_weights(ensemble, asked)
    found = ensemble.weights if fitted is None else fitted.weights
    notes = (
        None if fitted is None else {"fitted": {key: value for key, value in vars(fitted).items() if key != "weights"}}
    )
    write_ensemble(output, EnsembleFile(names, found), notes)
    return MadeEnsemble(found, fitted)


def _check_members(names: Sequence[str]) -> None:
    """Checks what can be checked before networks are loaded."""
    for name in names:
        if is_ensemble(name):
            raise UserError(f"{name} is an ensemble itself; name its members")
    null = [bool(load_settings(name).get("version_2_with_negative", False)) for name in names]
    for name, allowed in zip(names, null, strict=True):
        if allowed != null[0]:
            with_null, without = (name, names[0]) if allowed else (names[0], name)
            raise UserError(
                f"{with_null} may leave questions unanswered (version_2_with_negative) and {without} may not; an "
                "ensemble is of models that agree in it"
            )
