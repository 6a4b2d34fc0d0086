"""How several training sets are mixed: the settings, and how many windows of each set an epoch has by them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.errors import UserError


@dataclass(frozen=True)
class Mixing:
    """How the windows of ``train_sets`` are mixed; by default, an epoch is every window of every set.

    Args:
        temperature: Mixes the sets by ``size ** (1 / temperature)`` (Raffel et al., 2020): 1 is by size, and the higher
            it is, the more alike are their shares. A set that gets more than its windows has them several times.
        epoch_windows: Windows in an epoch; default: as many as all sets have together. A set of which an epoch takes
            but some has others in the next, until all had their turn.
        curriculum: Weights of the sets from an epoch on, such as ``{0: {squad: 1}, 2: {squad: 1, mlqa_de: 3}}``; epochs
            count from 0, and a set that is not named has none. Before the first, sets are mixed as without it.
    """

    temperature: float | None = None
    epoch_windows: int | None = None
    curriculum: dict[int, dict[str, float]] | None = None

    def __post_init__(self) -> None:
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise UserError(f"data.mixing.temperature must be above 0 and finite, not {self.temperature}")
        if self.epoch_windows is not None:
            check_between("data.mixing.epoch_windows", self.epoch_windows, 1)
        if self.curriculum is not None and not self.curriculum:
            raise UserError("data.mixing.curriculum names no epoch; name one, or leave it out")
        for epoch in self.curriculum or {}:
            check_between("an epoch of data.mixing.curriculum", epoch, 0)


PLAIN_MIXING = Mixing()


def check_mixing(mixing: Mixing, weights: Mapping[str, float | None]) -> None:
    """Checks settings against the sets that they mix.

    Args:
        mixing: The settings.
        weights: The weight of each set, by its name; None where it was not given.

    Raises:
        UserError: For weights that cannot be any, sets that are not there, and settings that say different things.
    """
    if not weights:
        if mixing != PLAIN_MIXING:
            raise UserError("data.mixing mixes the sets of data.train_sets, and there are none; name them there")
        return
    given = {name: weight for name, weight in weights.items() if weight is not None}
    if given and mixing.temperature is not None:
        raise UserError(
            f"data.mixing.temperature mixes sets by their sizes, and data.train_sets.{next(iter(given))}.weight says "
            "otherwise; set one of the two only"
        )
    if given:
        _check_weights("data.train_sets", fixed_weights(weights))
    for epoch, of_epoch in (mixing.curriculum or {}).items():
        where = f"data.mixing.curriculum, epoch {epoch}"
        unknown = [name for name in of_epoch if name not in weights]
        if unknown:
            raise UserError(f"{where}: no training set is called {unknown[0]!r}; there are {', '.join(weights)}")
        _check_weights(where, of_epoch)


def _check_weights(where: str, weights: Mapping[str, float]) -> None:
    for name, weight in weights.items():
        check_between(f"{where}: the weight of {name}", weight, 0)
    if not sum(weights.values()):
        raise UserError(f"{where}: the weights sum to zero; give some set a weight above 0")


def fixed_weights(weights: Mapping[str, float | None]) -> dict[str, float]:
    """The weights of sets, some of which were given: 1 for each of the others."""
    return {name: 1.0 if weight is None else weight for name, weight in weights.items()}


def windows_per_epoch(
    mixing: Mixing, weights: Mapping[str, float | None], sizes: Sequence[int]
) -> dict[int, list[int]]:
    """Counts the windows of each set in an epoch.

    Args:
        mixing: The settings.
        weights: The weight of each set, by its name; None where it was not given.
        sizes: Windows of each set.

    Returns:
        By the number of the first epoch that has so many: from 0 on, and from each step of the curriculum on.

    Raises:
        UserError: Where a set that has no windows has a weight.
    """
    total = mixing.epoch_windows or sum(sizes)
    if any(weight is not None for weight in weights.values()):
        first = list(fixed_weights(weights).values())
    else:
        shares = np.array(sizes, dtype=float) / max(1, *sizes)  # at most 1, whose powers are finite
        first = (shares ** (1 / (mixing.temperature or 1.0))).tolist()
    phases = {0: first}
    for epoch, of_epoch in (mixing.curriculum or {}).items():
        phases[epoch] = [of_epoch.get(name, 0.0) for name in weights]
    counts = {epoch: apportion(total, phases[epoch]) for epoch in sorted(phases)}
    for of_sets in counts.values():
        for name, size, count in zip(weights, sizes, of_sets, strict=True):
            if count and not size:
                raise UserError(f"the training set {name} has no windows, and a weight; leave it out")
    return counts


def apportion(total: int, weights: Collection[float]) -> list[int]:
    """Divides a number of windows by weights, up to one each, so that they sum to it: by the largest remainders."""
    shares = np.array(list(weights), dtype=float)
    if not shares.any():
        return [0] * len(shares)
    shares /= shares.max()  # so that their sum is finite
    quotas = total * shares / shares.sum()
    counts = np.floor(quotas).astype(int)
    most = np.argsort(counts - quotas, kind="stable")[: total - counts.sum()]
    counts[most] += 1
    return [int(count) for count in counts]
