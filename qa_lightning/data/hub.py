"""Reads a split of a data set from the Hub, or from its cache where the Hub cannot be reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qa_lightning.data.readers import ColumnNames, SourceRows, first_line, rows_of_dataset
from qa_lightning.utils.errors import UserError

PROBE_SECONDS = 5.0

PARQUET_BRANCH = "refs/convert/parquet"
"""The branch of the Hub's own Parquet copy of a data set, where configurations are folders."""


def read_hub(
    name: str,
    *,
    config: str | None,
    revision: str | None,
    split: str,
    cache_dir: str | Path | None,
    columns: ColumnNames,
) -> SourceRows:
    """Reads one split as ``datasets.load_dataset`` gives it; no code of the data set is ever run.

    Args:
        name: The data set's name on the Hub.
        config: The configuration of the data set.
        revision: Branch, tag or commit, such as ``refs/convert/parquet``.
        split: The split's plain name.
        cache_dir: Where downloads are kept; None for the usual place.
        columns: Our names of the wanted columns and what the data set calls them.

    Raises:
        UserError: Where the data set, its configuration or its split is not there or cannot be reached.
    """
    import datasets

    which = {"data_dir" if revision == PARQUET_BRANCH else "name": config}
    cache = None if cache_dir is None else str(cache_dir)
    with _offline_if_unreachable() as trouble:
        try:
            dataset = datasets.load_dataset(name, **which, split=split, revision=revision, cache_dir=cache)
        # What is raised depends on the versions of three packages; all of it means the same to the user.
        except Exception as error:
            unreachable = trouble and isinstance(error, ConnectionError)
            reason = f"the Hub cannot be reached ({trouble})" if unreachable else first_line(error)
            raise UserError(
                f"{name}: the split {split!r} could not be loaded: {reason}; local files work offline: "
                "train_file, validation_file, test_file, predict_file, and --data_dir of evaluate"
            ) from error
    return rows_of_dataset(f"{name} ({split})", dataset, columns)


@contextmanager
def _offline_if_unreachable() -> Iterator[str | None]:
    """Probes the Hub once; where it cannot be reached, `datasets` uses its cache without retrying for long.

    Yields:
        Why the Hub cannot be reached, or None.
    """
    import datasets
    from huggingface_hub.utils import get_session

    trouble = None
    try:
        get_session().head(datasets.config.HF_ENDPOINT, timeout=PROBE_SECONDS)
    except Exception as error:  # the HTTP library, and so its exceptions, differ between versions
        trouble = first_line(error)
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or trouble is not None
    try:
        yield trouble
    finally:
        datasets.config.HF_HUB_OFFLINE = before
