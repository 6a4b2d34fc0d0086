from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from qa_lightning.cli.main import main
from qa_lightning.data.sources import read_examples
from qa_lightning.experiments.crossval_page import folds_table
from qa_lightning.experiments.source_data import group_numbers, read_train, write_examples
from qa_lightning.runs.questions import read_questions
from qa_lightning.scoring.thresholds import best_threshold
from qa_lightning.utils.errors import UserError
from tests.cli.mistakes import error_of
from tests.commands import last_checkpoint
from tests.experiments.interrupting import ctrl_c_when
from tests.experiments.processes import Begun, short_training
from tests.runs.test_comparison import table_of
from tests.tiny import PASSAGES, tiny_folder


def write_articles(path: Path) -> Path:
    """Six articles of two paragraphs, which differ in a word; each paragraph has an unanswerable question, too."""
    articles = []
    for article in range(6):
        paragraphs = []
        for number in range(2):
            passage, questions = PASSAGES[(article + number) % 3]
            context = f"{passage} river {'garden ' * article}{'house ' * number}."
            qas = [
                {"question": question, "answers": [{"text": answer, "answer_start": context.index(answer)}]}
                for question, answer in questions
            ]
            qas.append({"question": "When?", "answers": [], "is_impossible": True})
            paragraphs.append(
                {"context": context, "qas": [{"id": f"{article}-{number}-{i}"} | qa for i, qa in enumerate(qas)]}
            )
        articles.append({"title": f"Title {article}", "paragraphs": paragraphs})
    path.write_text(json.dumps({"version": "v2.0", "data": articles}))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and questions."""
    folder = tmp_path_factory.mktemp("crossval")
    tiny_folder(folder / "model")
    write_articles(folder / "articles.json")
    return folder


@pytest.fixture(scope="module")
def command(place: Path) -> list[str]:
    """A cross-validation of two folds by title, but for its folder; what fit would validate on is not looked at."""
    flags = short_training(place / "model", place / "articles.json", place / "nowhere.json", epochs=2)
    return ["crossval", "--folds", "2", "--group_by", "title", *flags, "--output"]


@pytest.fixture(scope="module")
def trained(place: Path, command: list[str], begun: Begun) -> Path:
    """Both folds, trained side by side."""
    assert main([*command, str(place / "folds"), "--workers", "2"]) == 0
    assert begun.fits() == ["fold-1", "fold-2"]
    assert begun.most == 2
    return place / "folds"


@pytest.mark.slow
def test_each_question_is_validated_in_one_fold_and_trained_on_in_all_others(trained: Path, place: Path) -> None:
    ids = read_examples(split="train", files=str(place / "articles.json"), training=False, version_2_with_negative=True)
    every = ids.table["id"].to_pylist()
    validated = []
    for fold in (1, 2):
        train, validation = (
            pq.read_table(trained / f"data/fold-{fold}-{part}.parquet") for part in ("train", "validation")
        )
        assert sorted([*train["id"].to_pylist(), *validation["id"].to_pylist()]) == sorted(every)
        assert len({name.split("-")[0] for name in validation["id"].to_pylist()}) == 3  # articles
        assert len(validation) == 18
        predicted = read_questions(trained / f"fold-{fold}/validate")["id"].to_pylist()
        assert predicted == validation["id"].to_pylist()
        validated += predicted
    assert sorted(validated) == sorted(every)
    assert read_questions(trained)["id"].to_pylist() == every


@pytest.mark.slow
def test_the_folder_is_that_of_a_run_with_nested_thresholds(trained: Path) -> None:
    folds = pq.read_table(trained / "crossval.parquet").to_pylist()
    assert [row["questions"] for row in folds] == [18, 18]
    tables = [read_questions(trained / row["run"]) for row in folds]
    pooled = read_questions(trained)
    by_id = {row["id"]: row for row in pooled.to_pylist()}
    for fold, row in enumerate(folds):
        others = [table for number, table in enumerate(tables) if number != fold]
        span, null, odds = (
            np.concatenate([table[name].to_numpy() for table in others]) for name in ("span_f1", "null_f1", "null_odds")
        )
        assert row["threshold"] == best_threshold(span / 100, null / 100, odds)[1]
        for question in tables[fold].to_pylist():
            left = question["null_odds"] > row["threshold"]
            assert by_id[question["id"]]["f1"] == question["null_f1" if left else "span_f1"]
            assert (by_id[question["id"]]["prediction"] == "") == left
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["val/f1"] == pytest.approx(np.mean(pooled["f1"].to_numpy()))
    assert metrics["val/f1"] == pytest.approx(np.mean([row["f1"] for row in folds]))
    assert not [name for name in metrics if "best" in name]
    assert json.loads((trained / "predictions.json").read_text()).keys() == by_id.keys()


@pytest.mark.slow
def test_report_and_compare_take_the_folder(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(trained)]) == 0
    assert "36 questions" in (trained / "report.html").read_text(encoding="utf-8")
    assert main(["compare", str(trained), str(trained / "fold-1/validate")]) == 2
    assert "is not on the data of" in capsys.readouterr().err
    assert "36 questions on 12 paragraphs in 2 folds" in (trained / "crossval.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_interrupted_experiment_goes_on_to_the_same_weights(
    trained: Path, command: list[str], begun: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(begun.fits())
    with ctrl_c_when(tmp_path / "folds/fold-2/logs"):
        assert main([*command, str(tmp_path / "folds")]) == 130
    assert "Go on with the same command:" in capsys.readouterr().err
    assert not (tmp_path / "folds/metrics.json").exists()
    assert main([*command, str(tmp_path / "folds")]) == 0
    assert begun.fits()[before:] == ["fold-1", "fold-2", "fold-2"]
    for fold in (1, 2):
        found, expected = (
            last_checkpoint(folder / f"fold-{fold}")["state_dict"] for folder in (tmp_path / "folds", trained)
        )
        assert all(torch.equal(found[name], expected[name]) for name in found)
    assert (tmp_path / "folds/metrics.json").read_text() == (trained / "metrics.json").read_text()


@pytest.mark.slow
def test_mistakes_are_refused_before_anything_is_trained(
    place: Path, command: list[str], begun: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = str(tmp_path / "new")
    before = begun.fits()
    error = error_of([*command, new, "--group_by", "author"], capsys)
    assert "no column 'author'; the columns are" in error
    assert "group by one of these" in error
    assert "cannot make 13 folds" in error_of([*command, new, "--folds", "13"], capsys)
    assert "early stopping would watch the fold" in error_of([*command, new, "--early_stopping_patience", "1"], capsys)
    assert begun.fits() == before
    assert not (tmp_path / "new").exists()


def test_one_fold_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--folds must be at least 2, not 1" in error_of(
        ["crossval", "--folds", "1", "--output", str(tmp_path / "n")], capsys
    )


# --- files of questions


@pytest.mark.parametrize("mapped", [False, True])
def test_questions_are_the_same_read_from_the_file_that_was_written(mapped: bool, tmp_path: Path) -> None:
    rows = [
        {"name": "1", "query": "Who?", "text": "Ada lived.", "answer": "Ada", "offset": 0},
        {"name": "2", "query": "Where?", "text": "Ada lived.", "answer": None, "offset": None},
        {"name": "3", "query": "How?", "text": "Grace lived.", "answer": "lived", "offset": 6},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = {"id": "name", "question": "query", "context": "text", "answers": "answer", "answer_start": "offset"}
    options = {"split": "train", "training": False, "version_2_with_negative": True}
    table = read_examples(files=str(tmp_path / "rows.jsonl"), columns=columns, **options).table
    written = columns if mapped else None
    write_examples(tmp_path / "again.parquet", table, written)
    again = read_examples(files=str(tmp_path / "again.parquet"), columns=written, **options).table
    assert again.to_pylist() == table.to_pylist()
    # An experiment that goes on finds the same questions in it, or says that they are others.
    write_examples(tmp_path / "again.parquet", table, written)
    for other in (table.take([1, 0, 2]), table.filter([True, False, True])):
        with pytest.raises(UserError, match=r"again\.parquet: the data have changed since the experiment was begun"):
            write_examples(tmp_path / "again.parquet", other, written)


def test_questions_have_the_titles_of_their_articles(tmp_path: Path) -> None:
    path = str(write_articles(tmp_path / "articles.json"))
    options = {"split": "train", "files": path, "training": False, "version_2_with_negative": True}
    table = read_examples(**options, group_by="title").table
    assert table["group"].to_pylist() == [f"Title {name.split('-')[0]}" for name in table["id"].to_pylist()]
    assert table.drop_columns("group").to_pylist() == read_examples(**options).table.to_pylist()


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.train_sets names several sets"):
        read_train({"train_file": None, "train_sets": {"a": {}}}, scored=False)
    with pytest.raises(UserError, match="a class of your own"):
        read_train({"path": "x"}, scored=False)
    nothing = {"train_file": None, "dataset_name": None, "synthetic": None}
    with pytest.raises(UserError, match=r"set data\.train_file to a file"):
        read_train(nothing, scored=False)
    with pytest.raises(UserError, match="the synthetic corpus has no title"):
        read_train(nothing | {"synthetic": {}}, scored=False, group_by="title")


def test_questions_on_one_paragraph_are_one_group() -> None:
    assert group_numbers(table_of([1, 2, 3], [5, 4, 5])).tolist() == [0, 1, 0]


def test_scores_that_the_first_fold_has_none_of_are_shown_of_the_others() -> None:
    rows: list[dict[str, Any]] = [
        {"fold": 1, "run": "fold-1", "threshold": None, "f1": 50.0, "NoAns_f1": None},
        {"fold": 2, "run": "fold-2", "threshold": None, "f1": 60.0, "NoAns_f1": 70.0},
    ]
    table = folds_table(rows)
    assert table.head == ("", "f1", "NoAns_f1")
    assert list(table.rows) == [("fold 1", "50.00", "–"), ("fold 2", "60.00", "70.00")]
