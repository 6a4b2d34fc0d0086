"""Mixes the training sets that were read, and says how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lightning.pytorch.utilities import rank_zero_info

from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.mixing import Mixing, windows_per_epoch
from qa_lightning.data.mixture import AllWindows, Mixture, SetSample
from qa_lightning.data.null_windows import sample_null_windows
from qa_lightning.data.splits import Split


def mix_sets(
    sets: Sequence[WindowDataset], null_windows: float | None, mixing: Mixing, weights: Mapping[str, float | None]
) -> Mixture:
    """Makes what draws the windows of each epoch.

    Args:
        sets: The training sets.
        null_windows: Share of a set's windows in an epoch that hold no answer; None: all windows are.
        mixing: How sets are mixed.
        weights: The weight of each named set; empty where there is one set without a name.

    Raises:
        UserError: Where a set has none of the windows that an epoch is to have.
    """
    samples, windows = _samples(sets, null_windows), [len(dataset) for dataset in sets]
    if not weights:
        return Mixture(samples, windows)
    return Mixture(samples, windows, windows_per_epoch(mixing, weights, [len(sample.lengths) for sample in samples]))


def report_mixture(
    sets: Sequence[Split], null_windows: float | None, mixing: Mixing, weights: Mapping[str, float | None]
) -> None:
    """Says how many windows of each set an epoch has, and adds it to the reports, where sets are named.

    Args:
        sets: The training sets, as they were read.
        null_windows: As in `mix_sets`, as are the others.
        mixing: See there.
        weights: See there.

    Raises:
        UserError: Where a set has none of the windows that an epoch is to have.
    """
    sizes = [len(sample.lengths) for sample in _samples([part.dataset for part in sets], null_windows)]
    if not weights:
        return
    counts = windows_per_epoch(mixing, weights, sizes)
    for number, part in enumerate(sets):
        part.report["windows_per_epoch"] = {str(epoch): of_sets[number] for epoch, of_sets in counts.items()}
    for line in _summary(list(weights), sizes, counts):
        rank_zero_info(line)


def _samples(sets: Sequence[WindowDataset], null_windows: float | None) -> list[SetSample]:
    return [
        AllWindows(dataset.lengths) if null_windows is None else sample_null_windows(dataset, null_windows)
        for dataset in sets
    ]


def _summary(names: Sequence[str], sizes: Sequence[int], counts: Mapping[int, Sequence[int]]) -> Iterator[str]:
    """Lines such as ``train: an epoch has 3,000 windows: squad 2,000 of 8,000 (67 %), de 1,000 of 500 (33 %)``."""
    for epoch, of_sets in counts.items():
        total = sum(of_sets)
        parts = ", ".join(
            f"{name} {count:,} of {size:,} ({count / max(1, total):.0%})".replace("%", " %")
            for name, size, count in zip(names, sizes, of_sets, strict=True)
        )
        when = "an epoch" if len(counts) == 1 else f"an epoch from {epoch} on"
        yield f"train: {when} has {total:,} windows: {parts}"
