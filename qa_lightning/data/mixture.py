"""Draws the windows of each epoch from one or several training sets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class SetSample(Protocol):
    """The windows of one training set that an epoch may have.

    Attributes:
        lengths: Most tokens of the window in each place; int64 ``[places]``.
    """

    @property
    def lengths(self) -> NDArray[np.int64]: ...  # noqa: D102 - see above

    def draw(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Draws the window in each place; int64 ``[places]``."""
        ...


class AllWindows:
    """Every window of a set, each in its own place.

    Args:
        lengths: Tokens in each window; ``[windows]``.
    """

    def __init__(self, lengths: NDArray[np.int64]) -> None:
        self.lengths = lengths

    def draw(self, random: np.random.Generator) -> NDArray[np.int64]:
        """The windows in their order; nothing is left to chance."""
        return np.arange(len(self.lengths))


class Rotation:
    """Draws some of many places for each epoch, so that all have their turn before any has its second.

    Places are sorted by length and cut into as many groups of neighbours as are drawn, of each of which an epoch has
    one; the groups' lengths are thus much the same in every epoch. A round is as many epochs as the largest group has
    places: it has every place once, and in its last epoch those again whose groups are one smaller. Where groups begin,
    and the order within them, is drawn anew for each round.

    Args:
        lengths: Most tokens in each place; ``[places]``.
        count: How many to draw, at least 1 and at most as many as there are.

    Attributes:
        lengths: Most tokens of what is drawn from each group; int64 ``[count]``.
        epochs: Epochs of a round.
    """

    def __init__(self, lengths: NDArray[np.int64], count: int) -> None:
        self._places = np.argsort(lengths, kind="stable")
        self._count = count
        self.epochs = -(-len(lengths) // count)
        # Wherever a group begins, its longest place is at most here.
        self.lengths = lengths[self._places[-(-np.arange(1, count + 1) * len(lengths) // count) - 1]]

    def draw(self, seed: Sequence[int], epoch: int) -> NDArray[np.int64]:
        """Draws the places of an epoch; int64 ``[count]``.

        Args:
            seed: What the order depends on; three numbers, the last of them not 0, which what is drawn by seed and
                epoch alone has there.
            epoch: The number of the epoch, from 0.
        """
        number, turn = divmod(epoch, self.epochs)
        random = np.random.default_rng((number, *seed))
        places, count = len(self._places), self._count
        bounds = (np.arange(1, count) * places + random.integers(count)) // count
        group = np.repeat(np.arange(count), np.diff(bounds, prepend=0, append=places))
        order = self._places[np.lexsort((random.random(places), group))]
        first, sizes = np.searchsorted(group, np.arange(count)), np.bincount(group, minlength=count)
        return order[first + turn % sizes]


class Mixture:
    """The windows of each epoch: so many of each set, as the number of the epoch says.

    All epochs have equally many windows. Those of which an epoch has more of a set than there are have each of its
    windows as often as that goes, and some once more.

    Args:
        samples: What each set has for an epoch.
        windows: Windows of each set, which are numbered through.
        counts: How many of each set's places an epoch has: by the number of the first epoch that has so many, from 0
            on. Default: all of them.

    Attributes:
        lengths: Most tokens of the windows of an epoch, ``[places]`` each, for each entry of ``counts``.
    """

    def __init__(
        self,
        samples: Sequence[SetSample],
        windows: Sequence[int] | None = None,
        counts: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        self._samples = samples
        windows = [len(sample.lengths) for sample in samples] if windows is None else windows
        self._first = np.cumsum([0, *windows])[:-1].tolist()
        counts = {0: [len(sample.lengths) for sample in samples]} if counts is None else counts
        self._begins = sorted(counts)
        self._plans = [
            [_Plan(sample, count) for sample, count in zip(samples, counts[begin], strict=True)]
            for begin in self._begins
        ]
        self.lengths = [np.concatenate([plan.lengths for plan in plans]) for plans in self._plans]

    def draw(self, random: np.random.Generator, seed: int, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draws the windows of an epoch.

        Args:
            random: What chance comes from in this epoch.
            seed: What the turns depend on that windows take over several epochs.
            epoch: The number of the epoch, from 0.

        Returns:
            The windows, and the most tokens that each may have; int64 ``[places]`` each.
        """
        phase = bisect_right(self._begins, epoch) - 1
        begin = self._begins[phase]
        drawn = [
            first + plan.draw(random, (seed, begin, number), epoch - begin)
            for number, (first, plan) in enumerate(zip(self._first, self._plans[phase], strict=True), 1)
        ]
        return np.concatenate(drawn), self.lengths[phase]


class _Plan:
    """So many windows of one set: all of them as often as that goes, and some by turns."""

    def __init__(self, sample: SetSample, count: int) -> None:
        self._sample = sample
        self._whole, more = divmod(count, len(sample.lengths)) if count else (0, 0)
        self._rotation = Rotation(sample.lengths, more) if more else None
        turns = [] if self._rotation is None else [self._rotation.lengths]
        self.lengths = np.concatenate([sample.lengths[:0], *[sample.lengths] * self._whole, *turns])

    def draw(self, random: np.random.Generator, seed: Sequence[int], epoch: int) -> NDArray[np.int64]:
        drawn = [self._sample.draw(random) for _ in range(self._whole)]
        if self._rotation is not None:
            drawn.append(self._sample.draw(random)[self._rotation.draw(seed, epoch)])
        return np.concatenate([np.zeros(0, dtype=np.int64), *drawn])
