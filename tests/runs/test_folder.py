"""Names in a run's folder, which folders are runs, and what models are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from qa_lightning.runs.folder import RunFolder, display_name, resolve_model
from qa_lightning.utils.errors import UserError


def made(folder: Path, *files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("files", "is_run"),
    [
        (["config.yaml"], True),  # before anything was evaluated
        (["metrics.json"], True),
        (["config.yaml", "config.json"], False),  # a model that brings its run's settings
        (["per_question.parquet"], False),  # a named evaluation set
        ([], False),
    ],
)
def test_which_folders_are_runs(tmp_path: Path, files: list[str], is_run: bool) -> None:
    assert RunFolder(made(tmp_path / "x", *files)).is_run == is_run


def test_a_named_evaluation_set_belongs_to_the_run_above(tmp_path: Path) -> None:
    run = made(tmp_path / "run", "config.yaml")
    assert RunFolder(made(run / "en", "per_question.parquet")).owner() == (RunFolder(run), "en/")
    assert RunFolder(made(run / "test", "config.yaml")).owner() == (RunFolder(run / "test"), "")
    assert RunFolder(run).owner() == (RunFolder(run), "")


def test_step_checkpoints(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    made(run.checkpoints, "best.ckpt", "last.ckpt", "step-5.ckpt", "step-10.ckpt", "step-x.ckpt", ".step-7.ckpt-abc")
    assert sorted(run.step_checkpoints()) == [(5, run.step_checkpoint(5)), (10, run.step_checkpoint(10))]
    assert run.holds_a_model


def test_a_run_stands_for_its_best_model(tmp_path: Path) -> None:
    run = made(tmp_path / "run", "config.yaml")
    with pytest.raises(UserError, match="a run without a best_model"):
        resolve_model(str(run))
    best = made(run / "best_model", "config.json")
    assert resolve_model(str(run)) == str(best)
    for name in (str(best), "owner/model", "x.ckpt", str(tmp_path)):
        assert resolve_model(name) == name
    assert RunFolder(best).run_of_best_model() == RunFolder(run).run_of_best_model() == RunFolder(run)
    assert RunFolder(tmp_path).run_of_best_model() is None


def test_the_name_of_a_folder_says_nothing_of_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run/best_model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run")
    assert [display_name(name) for name in (".", "best_model", str(tmp_path / "run"))] == ["run", "run", "run"]
    assert display_name("owner/model") == "owner/model"
