"""Scores and learning curves as a run's folder holds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from qa_lightning.runs.history import read_curves, read_scores, run_name
from qa_lightning.utils.errors import UserError
from tests.report.runs import make_run, write_log

HEADER = "epoch,step,train/loss,val/f1\n"


def listed(run: Path) -> dict[str, list[tuple[float, float]]]:
    return {name: list(zip(*map(list, curve), strict=True)) for name, curve in read_curves(run).items()}


def test_scores_lose_their_stage_and_keep_epoch_and_step(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", epoch=1, step=20, val__f1=80.5, val__f1_ci95=[70.0, 90.0], val__vi__f1=1.0)
    assert read_scores(run) == {"epoch": 1, "step": 20, "f1": 80.5, "f1_ci95": [70.0, 90.0]}
    assert run_name(run) == "run"


def test_a_named_sets_scores_and_curves_stand_in_the_folder_above(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", epoch=1, val__f1=80.0, val__en__f1=80.0, val__vi__f1=60.0)
    write_log(run, 0, "epoch,step,train/loss,val/f1,val/en/f1,val/vi/f1\n0,1,2.0,80,80,60\n")
    part = make_run(run / "vi")
    assert read_scores(part) == {"epoch": 1, "f1": 60.0}
    assert run_name(part) == "run/vi"
    assert listed(part) == {"train/loss": [(1.0, 2.0)], "val/f1": [(1.0, 60.0)]}


def test_means_over_sets_are_the_scores_of_no_set(tmp_path: Path) -> None:
    # Sets may be called like the means.
    run = make_run(tmp_path / "run", val__mean_f1=70.0, val__mean__f1=80.0, val__mean_f1__f1=60.0)
    assert read_scores(run) == {}
    assert read_scores(make_run(run / "mean")) == {"f1": 80.0}
    assert read_scores(make_run(run / "mean_f1")) == {"f1": 60.0}


def test_a_folder_of_its_own_metrics_has_those(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", val__f1=80.0)
    test = make_run(run / "test", test__f1=70.0)
    assert read_scores(test) == {"f1": 70.0}
    assert run_name(test) == "run/test"


def test_what_is_no_figure_is_left_out(tmp_path: Path) -> None:
    run = make_run(
        tmp_path, val__f1=float("nan"), val__note="<b>", val__f1_ci95=[1.0], val__exact_match_ci95=[1, "x"], val__loss=1
    )
    assert read_scores(run) == {"loss": 1}


def test_without_files_there_are_neither_scores_nor_curves(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert read_scores(run) == {}
    assert read_curves(run) == {}


def test_curves_of_training_that_went_on_are_joined_where_it_did(tmp_path: Path) -> None:
    write_log(tmp_path, 0, HEADER + "0,10,3.0,\n0,19,,40.0\n1,20,2.0,\n1,30,9.0,\n")
    write_log(tmp_path, 2, HEADER + "1,25,1.5,\n1,39,,50.0\n")
    write_log(tmp_path, 10, HEADER + "2,49,nan,60.0\n")
    assert listed(tmp_path) == {
        "train/loss": [(10.0, 3.0), (20.0, 2.0), (25.0, 1.5)],
        "val/f1": [(19.0, 40.0), (39.0, 50.0), (49.0, 60.0)],
    }


@pytest.mark.parametrize("text", ["epoch,step,val/f1\n0,1,high\n", "epoch,val/f1\n0,1\n", "step,val/f1\nx,1\n"])
def test_a_log_of_another_form_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    write_log(tmp_path, 0, text)
    with pytest.raises(UserError, match=r"metrics\.csv: not a log of steps and numbers") as error:
        read_curves(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_metrics_of_another_form_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(UserError, match=r"metrics\.json: ") as error:
        read_scores(tmp_path)
    assert "\n" not in str(error.value)
