"""The tiny model and the questions that several of these tests train."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import tiny_folder
from tests.training import write_long


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def squad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen questions, two of them unanswerable, on two passages."""
    return write_long(tmp_path_factory.mktemp("data") / "squad.json", copies=2)
