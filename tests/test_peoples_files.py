"""Whole commands on files as people have them: what is read, what is said of it, what data.json holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qa_lightning.cli.main import main
from tests.tiny import fit_arguments, tiny_folder, write_squad
from tests.training import trains

pytestmark = trains


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("model")))


def fit(
    model: str,
    train: Path | str,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    *flags: str,
    validation: Path | None = None,
) -> tuple[str, Any]:
    """What a training says of its data, and what ``data.json`` says."""
    validation = validation or write_squad(folder / "validation.json")
    arguments = fit_arguments(model, str(train), str(validation))
    assert not main([*arguments, "--run_dir", str(folder / "run"), *flags])
    (line,) = [message for message in caplog.messages if message.startswith("train: ")]
    return line, json.loads((folder / "run/data.json").read_text(encoding="utf-8"))["train"]


def test_a_table_in_an_encoding_and_with_a_delimiter_that_are_named(
    model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = tmp_path / "train.csv"
    train.write_bytes("question^context^gold^begin\nWho ?^Adá, Adá and Grace .^Adá^5\n".encode("cp1252"))
    columns = ("--data.column_names", '{"answers": "gold", "answer_start": "begin"}')
    flags = ("--data.csv.delimiter", "^", "--data.encoding", "cp1252", *columns)
    line, report = fit(model, train, tmp_path, caplog, *flags, validation=train)
    assert "train: 1 questions, 1 windows; answers: 1 golds, 1 exact" in line
    assert report["alignment"]["golds"]["exact"] == 1
    # The run's own settings can be read again.
    assert not main(["validate", "--run_dir", str(tmp_path / "run")])


def test_what_is_said_of_a_file_with_every_fault(model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context = "Ada wrote the first program in London and Grace built a compiler in Paris . Żółw żółw żółw Ada Ada ."
    places = [at for at in range(len(context)) if context.startswith("Ada", at)]

    def question(name: str, text: str, start: int, **more: Any) -> dict[str, Any]:
        at = len(context[:start].encode())
        return {"id": name, "question": "Who ?", "answers": [{"text": text, "answer_start": at}]} | more

    sentence = context[: context.index("Żółw")]
    qas = [
        *(question("same", "Ada", place) for place in places),
        question("across", "compiler in Paris .", context.index("compiler")),
        question("long", sentence, 0),
        question("overruled", "Ada", 0, is_impossible=True),
        question("null", "Ada", 0, answers=None),
    ]
    train = tmp_path / "train.json"
    train.write_text(json.dumps({"data": [{"context": context, "qas": qas}]}), encoding="utf-8")
    flags = ("--data.version_2_with_negative", "true", "--data.max_length", "19", "--data.doc_stride", "1")
    line, report = fit(model, train, tmp_path, caplog, *flags, "--data.max_question_length", "3")
    assert line == (
        f"train: 6 questions, {report['windows']} windows; "
        "1 windows added for answers that lie across the border of two; "
        "1 questions dropped (answer longer than a window); 2 repeated ids numbered; "
        "1 questions have answers and is_impossible: trained as unanswerable; "
        "offsets of train.json read as UTF-8 bytes; answers: 5 golds, 5 exact"
    )
    assert {name: report[name] for name in ("questions", "windows_added", "renamed_ids", "overruled_answers")} == {
        "questions": 6,
        "windows_added": 1,
        "renamed_ids": 2,
        "overruled_answers": 1,
    }
    assert report["dropped"] == {"answer longer than a window": 1}
    assert report["offsets"] == {str(train): "read as UTF-8 bytes"}
    assert report["ids"] == {
        "windows_added": ["across"],
        "renamed_ids": ["same-2", "same-3"],
        "overruled_answers": ["overruled"],
        "answer longer than a window": ["long"],
    }


def test_the_cases_are_trained_on(model: str, shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = [
        "answer-longer-than-window.json",
        "no-answer-as-empty-text.jsonl",
        "null-golds.json",
        "offsets-in-bytes.json",
        "bare-paragraph-list.json",
        "data-without-paragraphs.json",
        "float-start.json",
        "squad.json.gz",
        "semicolon.csv",
        "repeated-ids.json",
    ]
    files = json.dumps([str(shared / "cases" / name) for name in cases])
    line, report = fit(model, files, tmp_path, caplog, "--data.version_2_with_negative", "true")
    assert report["questions"] == 2 + 5 + 2 + 4 + 2 + 2 + 1 + 2 + 1 + 2
    assert report["dropped"] == {"answer longer than a window": 1}
    assert report["alignment"]["golds"]["exact"] == sum(report["alignment"]["golds"].values()) - 1
    assert report["alignment"]["golds"]["no_offset"] == 1
    assert report["renamed_ids"] == 1
    assert "offsets of offsets-in-bytes.json read as UTF-8 bytes" in line
