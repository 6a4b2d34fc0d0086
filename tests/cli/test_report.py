"""``report`` as it is called."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lightning.cli.main import main
from qa_lightning.runs.folder import QUESTIONS
from qa_lightning.runs.questions import write_table
from tests.cli import mistakes
from tests.report.runs import make_run, write_log


def test_the_report_stands_in_the_runs_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "my run", val__f1=80.5, val__exact_match=70.25)
    write_log(run, 0, "epoch,step,train/loss,val/f1\n0,1,2.0,\n0,2,1.0,\n0,2,,80.5\n")
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"The report is in {run / 'report.html'}\n"
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<title>my run</title>" in page
    assert "80.50" in page
    assert 'id="chart-loss"' in page


def test_another_file_may_be_named(tmp_path: Path) -> None:
    run, output = make_run(tmp_path / "run"), tmp_path / "new/page.html"
    assert main(["report", str(run), "--output", str(output), "--questions", "2", "--n_best", "1"]) == 0
    assert "the first 2 of 6 questions" in output.read_text(encoding="utf-8")
    assert not (run / "report.html").exists()


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    return mistakes.error_of(["report", *arguments], capsys)


def test_a_run_without_questions_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "none: no such folder" in error_of([str(tmp_path / "none")], capsys)
    make_run(tmp_path / "vi")
    assert "vi" in error_of([str(tmp_path)], capsys)


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run")
    (tmp_path / "file").touch()
    assert "cannot be written" in error_of([str(run), "--output", str(tmp_path / "file/page.html")], capsys)
    assert "cannot be written" in error_of([str(run), "--output", str(tmp_path)], capsys)


@pytest.mark.parametrize("flag", ["--questions", "--n_best"])
def test_numbers_below_one_are_refused(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{flag} must be at least 1, not 0" in error_of([str(make_run(tmp_path)), flag, "0"], capsys)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"val/f1": ' * 50_000, '{"val/f1": 1' + "0" * 10_000 + "}"])
def test_figures_that_cannot_be_read_are_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run")
    (run / "metrics.json").write_text(text, encoding="utf-8")
    assert error_of([str(run)], capsys).startswith(f"error: {run / 'metrics.json'}: ")
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("number", ["1e400", "1" + "0" * 4_000, "1e308", "-1e308", "NaN"])
def test_numbers_that_are_no_figures_are_left_out(number: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    text = f'{{"val/f1": {number}, "val/f1_ci95": [{number}, 3], "val/exact_match": 12.5, "epoch": {number}}}'
    (run / "metrics.json").write_text(text, encoding="utf-8")
    write_log(run, 0, "epoch,step,train/loss,val/f1\n0,1,1e308,\n0,2,-1e308,1e308\n0,3,1,2\n")
    assert main(["report", str(run)]) == 0
    assert "12.50" in (run / "report.html").read_text(encoding="utf-8")


def test_a_step_without_end_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", val__f1=50.0)
    write_log(run, 0, f"epoch,step,train/loss\n0,{'1' * 400},2\n")
    assert "metrics.csv: not a log of steps and numbers" in error_of([str(run)], capsys)


@pytest.mark.parametrize("name", ["question_type", "answers", "golds", "prediction"])
def test_a_row_with_holes_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run")
    table = pq.read_table(run / QUESTIONS)
    values = [None, *table[name].to_pylist()[1:]]
    write_table(
        run / QUESTIONS, table.set_column(table.column_names.index(name), name, pa.array(values, table[name].type))
    )
    assert f"{QUESTIONS}: row 1 (id q0): " in error_of([str(run)], capsys)
