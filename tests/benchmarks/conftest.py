"""What tests of benchmarks leave as they found it."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the environment back: a data set's `map` in several processes leaves a copy in its place.

    What was imported before keeps the old one, so that variables that later tests set would be lost on it.
    """
    monkeypatch.setattr(os, "environ", os.environ)
