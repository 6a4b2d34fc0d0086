"""How much each parameter of a sweep matters, by Optuna's fANOVA, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qa_lightning.experiments.sweep_study import SweepStudy
from qa_lightning.utils.extras import require

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FEWEST = 4
"""Trials that ended, below which no forest says anything."""

REFITS = 40
_TREES = 16


@dataclass(frozen=True)
class Importance:
    """How much of the objective's variation is due to a parameter alone.

    Attributes:
        name: The parameter.
        share: Its share of what all parameters make, 0 to 1.
        low: The lower end of the share's 95 % interval.
        high: The upper end.
    """

    name: str
    share: float
    low: float
    high: float


def importances(study: SweepStudy, refits: int = REFITS) -> list[Importance]:
    """Fits fANOVA to the trials that came to their end, and again to draws from them.

    A draw takes as many trials as there are, each as often as it comes up, and fits its forest with a seed of its own;
    so the interval holds both that other trials could have been made, and that a forest is random.

    Args:
        study: The trials.
        refits: How many such draws.

    Returns:
        The parameters that differ between trials, the most important first; none where there are too few trials, or
        their values are all the same.
    """
    from optuna.trial import TrialState

    trials = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    names = [
        parameter.name
        for parameter in study.sweep.searched
        if len({str(trial.params.get(parameter.name)) for trial in trials}) > 1
    ]
    if len(trials) < FEWEST or len(names) < 2:
        return []
    shares = _shares(trials, names, seed=0, trees=64)
    if shares is None:
        return []
    generator = np.random.default_rng(0)
    drawn = []
    for seed in range(1, refits + 1):
        places = generator.integers(len(trials), size=len(trials))
        again = _shares([trials[place] for place in places], names, seed=seed, trees=_TREES)
        if again is not None:
            drawn.append([again[name] for name in names])
    ends = np.quantile(drawn, (0.025, 0.975), axis=0).T if drawn else np.array([[shares[n], shares[n]] for n in names])
    found = [
        Importance(name, shares[name], min(float(low), shares[name]), max(float(high), shares[name]))
        for name, (low, high) in zip(names, ends, strict=True)
    ]
    return sorted(found, key=lambda importance: -importance.share)


def _shares(trials: Sequence[FrozenTrial], names: Sequence[str], *, seed: int, trees: int) -> dict[str, float] | None:
    """The importance of each parameter; None where the trials' values, or what was tried, are all the same."""
    require("sklearn", "sweep")
    import optuna

    study = optuna.create_study()
    study.add_trials(trials)
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=trees, seed=seed)
    try:
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(names))
    except RuntimeError:  # no variance
        return None
    return found if sum(found.values()) > 0 else None
