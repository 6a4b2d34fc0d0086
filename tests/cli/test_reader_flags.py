"""What verbs that ask a model have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from qa_lightning.cli.reader_flags import shown_name


def test_the_name_of_a_folder_tells_nothing_of_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run/best_model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run")
    assert [shown_name(name) for name in (".", "best_model", str(tmp_path / "run"))] == ["run", "run", "run"]
    assert shown_name("owner/model") == "owner/model"
