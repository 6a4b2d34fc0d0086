"""What the tests of experiments share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.experiments.processes import Begun, forked_trainings


@pytest.fixture(scope="module")
def begun() -> Iterator[Begun]:
    """The trainings that experiments began; they are forked."""
    with forked_trainings() as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "120")
        yield found
