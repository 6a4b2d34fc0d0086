"""The model, the questions and the run's folder of most tests here."""

from pathlib import Path

import pytest

from tests.tiny import tiny_folder
from tests.training import write_long


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def squad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_long(tmp_path_factory.mktemp("data") / "squad.json")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"
