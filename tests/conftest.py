"""What several test modules share."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Before anything imports huggingface_hub and torch, which read them once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests share the cores, and models are tiny

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    # Its log handler keeps the stream that it finds, which has to live longer than a single test's.
    import lightning.pytorch  # noqa: F401
    import torch

    for device in (torch.cuda, torch.mtia, torch.xpu):
        if not device.is_available():
            # A seed is put down for when it is first used, with the traceback of who set it, which takes long.
            device.manual_seed_all = lambda _: None


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the token cache of the tests apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data, golden figures and tokenizer files that stands beside the project."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the shared folder beside the project: real data and golden figures")
    return folder


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Callable[[str, str], None]:
    """Prints a title and a text after all tests, on whichever core the test ran."""
    return lambda title, text: record_property(f"show {title}", text)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, text in report.user_properties:
            if name.startswith("show "):
                terminalreporter.section(name.removeprefix("show "))
                terminalreporter.write_line(text)
