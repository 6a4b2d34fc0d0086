"""The verb that scores files: the official figures, and the error for whoever gives it the wrong ones."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qa_lightning.cli.main import main
from qa_lightning.scoring.mlqa import LANGUAGES
from tests.conftest import ROOT
from tests.scoring.reference import SQUAD_PREDICTIONS

MADE = {"q1": ["red car"], "q2": ["blue", "navy"], "q3": [], "q4": []}
PREDICTIONS = {"q1": "car", "q2": "the blue", "q3": "", "q4": "green"}
PROBABILITIES = {"q1": 0.25, "q2": 0.5, "q3": 1, "q4": 0.75}


def write(path: Path, value: Any) -> str:
    text = value if isinstance(value, str | bytes) else json.dumps(value)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Four questions as flat rows, two of them unanswerable."""
    rows = [{"id": key, "question": "?", "context": "c", "answers": golds} for key, golds in MADE.items()]
    return write(tmp_path / "data.json", rows)


def score(
    capsys: pytest.CaptureFixture[str], data: str, predictions: str, *flags: str
) -> tuple[dict[str, float], dict[str, str], str]:
    """What the verb writes, what it prints as a table, and what it says beside it."""
    output = Path(predictions).name + ".scores.json"
    arguments = ["score", "--data", data, "--predictions", predictions, "--output", output, *flags]
    assert main(arguments) == 0
    printed, stderr = capsys.readouterr()
    return json.loads(Path(output).read_text()), dict(re.findall(r"^│ (\w+) +│ (\S+) +│$", printed, re.M)), stderr


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("name", "data"), SQUAD_PREDICTIONS)
def test_squad_figures(shared: Path, capsys: pytest.CaptureFixture[str], name: str, data: str) -> None:
    golden = shared / "golden"
    official = json.loads((golden / f"{name}.official.json").read_text())
    na_prob = golden / f"{name}.na_prob.json"
    flags = ["--na_prob", str(na_prob)] if na_prob.exists() else []
    written, printed, stderr = score(
        capsys, str(shared / f"data/{data}.json"), str(golden / f"{name}.predictions.json"), *flags
    )
    assert {key: written[key] for key in official} == pytest.approx(official, rel=0, abs=1e-9)
    assert set(written) - set(official) <= {"pr_exact_ap", "pr_f1_ap", "pr_oracle_ap"}
    assert list(printed) == list(written)
    for key, value in written.items():
        shown = float(printed[key].replace(",", ""))
        assert shown == (value if key.endswith(("total", "thresh")) else pytest.approx(value, rel=0, abs=0.005001))
    assert stderr == ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_mlqa_figures(shared: Path, capsys: pytest.CaptureFixture[str], language: str) -> None:
    official = json.loads((shared / f"golden/xquad.{language}.mlqa-official.json").read_text())
    files = (shared / f"data/xquad.{language}.json", shared / f"golden/xquad.{language}.predictions.json")
    written, printed, stderr = score(capsys, *map(str, files), "--language", language)
    expected = (official["exact_match"], official["f1"])
    assert (written["exact"], written["f1"]) == pytest.approx(expected, rel=0, abs=1e-9)
    assert (printed["exact"], printed["f1"]) == tuple(f"{value:.2f}" for value in expected)
    assert stderr == ""


def test_made_figures(capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.json", "\ufeff" + json.dumps(PREDICTIONS))  # as some editors save it
    written, printed, _ = score(capsys, data, predictions)
    assert printed == {
        "exact": "50.00",
        "f1": "66.67",
        "total": "4",
        "HasAns_exact": "50.00",
        "HasAns_f1": "83.33",
        "HasAns_total": "2",
        "NoAns_exact": "50.00",
        "NoAns_f1": "50.00",
        "NoAns_total": "2",
    }
    assert written["f1"] == pytest.approx(200 / 3, abs=1e-13)


def test_probabilities_and_their_threshold(capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path) -> None:
    files = (data, write(tmp_path / "p.json", PREDICTIONS), "--na_prob", write(tmp_path / "n.json", PROBABILITIES))
    written, _, _ = score(capsys, *files)
    assert (written["exact"], written["best_exact"], written["best_exact_thresh"]) == (50, 75, 0.5)
    assert "pr_f1_ap" in written
    written, printed, _ = score(capsys, *files, "--na_prob_thresh", "0.5")
    assert (written["exact"], written["NoAns_exact"], written["HasAns_exact"]) == (75, 100, 50)
    assert printed["best_f1_thresh"] == "0.5"


def test_every_digit_of_a_threshold_is_shown(capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path) -> None:
    probabilities = write(tmp_path / "n.json", PROBABILITIES | {"q2": 0.1234567890123456})
    predictions = write(tmp_path / "p.json", PREDICTIONS)
    written, printed, _ = score(capsys, data, predictions, "--na_prob", probabilities)
    assert printed["best_exact_thresh"] == "0.1234567890123456"
    assert written["best_exact_thresh"] == 0.1234567890123456


def test_a_language_without_a_rule_is_said_once(capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.json", {**PREDICTIONS, "q2": "«Blue»"})
    written, _, stderr = score(capsys, data, predictions, "--language", "fr")
    assert written["HasAns_exact"] == 50
    assert stderr.startswith("note: the language 'fr' has no scorer of its own (en, es, de, ar, hi, vi, zh have): ")
    assert stderr.count("\n") == 1
    assert score(capsys, data, predictions, "--language", "EN")[2] == ""


@pytest.mark.parametrize("language", ["xx", "", "vi-VN", "german", "*"])
def test_what_is_no_language_is_refused(
    capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path, language: str
) -> None:
    predictions = write(tmp_path / "p.json", PREDICTIONS)
    refused(capsys, data, predictions, "--language", language, message=f"language {language!r} is not known: ")


def test_a_table_as_training_reads_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = "key;question;context;gold;answer_start\nq1;?;a red Käfer;red Käfer;2\nq2;?;a blue one;blue;2\n"
    data = write(tmp_path / "data.csv", table.encode("cp1252"))
    predictions = write(tmp_path / "p.json", {"q1": "red Käfer", "q2": "one"})
    flags = ("--column_names", "{id: key, answers: gold}", "--encoding", "cp1252", "--delimiter", ";")
    assert score(capsys, data, predictions, *flags)[0]["exact"] == 50.0
    for wrong in ("id", "[id, key]", "{id: 3}", "{"):
        with pytest.raises(SystemExit):
            main(["score", "--data", data, "--predictions", predictions, "--column_names", wrong])
        assert capsys.readouterr().err.startswith("error: argument --column_names: invalid mapping value: ")


def records(probable: bool) -> list[dict[str, Any]]:
    """`PREDICTIONS` as the metrics of ``evaluate`` take them."""
    found: list[dict[str, Any]] = [{"id": key, "prediction_text": text} for key, text in PREDICTIONS.items()]
    return [record | {"no_answer_probability": PROBABILITIES[record["id"]]} for record in found] if probable else found


@pytest.mark.parametrize("probable", [True, False])
@pytest.mark.parametrize("form", ["list", "lines", "gzip", "lines in gzip"])
def test_records_are_predictions_too(
    capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path, form: str, probable: bool
) -> None:
    text = json.dumps(records(probable))
    if form.startswith("lines"):
        text = "".join(json.dumps(record) + "\n" for record in records(probable))
    path = write(tmp_path / "r.any", gzip.compress(text.encode()) if form.endswith("gzip") else text)
    flags = ["--na_prob", write(tmp_path / "n.json", PROBABILITIES)] if probable else []
    expected = score(capsys, data, write(tmp_path / "p.json", PREDICTIONS), *flags)
    assert ("best_f1" in expected[0]) == probable
    assert score(capsys, data, path) == expected
    # Those that are given by themselves come first.
    others = ["--na_prob", write(tmp_path / "o.json", dict.fromkeys(PREDICTIONS, 0.5)), "--na_prob_thresh", "0.4"]
    assert score(capsys, data, path, *others)[0]["NoAns_exact"] == 100


def test_the_threshold_is_one_on_the_probabilities_of_records(
    capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "r.json", records(probable=True))
    assert score(capsys, data, path, "--na_prob_thresh", "0.5")[0]["exact"] == 75
    refused(
        capsys,
        data,
        write(tmp_path / "p.json", PREDICTIONS),
        *("--na_prob_thresh", "0.5"),
        message="--na_prob_thresh is a threshold on the probabilities of --na_prob, which is not given",
    )


def test_one_line_is_json_lines_too(capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", records(probable=False)[0])
    assert score(capsys, data, path)[0]["missing"] == 3


def test_a_list_of_predictions_of_the_cases(shared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    case = shared / "cases/predictions-as-list.json"
    golds = {"14292": ["07:15"], "14293": ["12.50"], "14294": []}
    rows = [{"id": key, "question": "?", "context": "c", "answers": answers} for key, answers in golds.items()]
    written, _, said = score(capsys, write(tmp_path / "d.json", rows), str(case))
    assert written["NoAns_exact"] == 100
    assert written["HasAns_exact"] == 50  # "€12.50"
    assert written["best_exact_thresh"] == 0.1
    assert said == ""


def official_golds(document: Any) -> dict[str, list[str]]:
    """What the script's ``make_qid_to_has_ans`` finds answerable, and the golds of these."""
    questions = [qa for article in document["data"] for part in article["paragraphs"] for qa in part["qas"]]
    return {qa["id"]: [answer["text"] for answer in qa["answers"]] for qa in questions}


def test_whoever_has_answers_is_answerable(shared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    case = shared / "cases/impossible-with-golds.json"
    golds = official_golds(json.loads(case.read_text(encoding="utf-8")))
    best = {key: max(texts, default="") for key, texts in golds.items()}
    written, _, said = score(capsys, str(case), write(tmp_path / "p.json", best))
    assert (written["exact"], written["f1"], written["HasAns_total"], written["total"]) == (100, 100, 6, 6)
    assert said == ""
    nothing = score(capsys, str(case), write(tmp_path / "p.json", dict.fromkeys(golds, "")))[0]
    assert nothing["exact"] == pytest.approx(100 / 3)
    assert "NoAns_total" not in nothing


@pytest.mark.parametrize(
    ("answers", "has_answer"),
    [
        ([{"text": "c", "answer_start": 0}], True),
        ([{"text": "", "answer_start": -1}], True),
        ({"text": ["c"], "answer_start": [0]}, True),
        ({"text": [""], "answer_start": [-1]}, True),
        ({"text": [], "answer_start": []}, False),
        (["c"], True),
        ("c", True),
        ([], False),
        ("", False),
        (None, False),
    ],
)
def test_answers_decide_in_every_form(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, answers: Any, has_answer: bool
) -> None:
    row = {"id": "q1", "question": "?", "context": "c", "answers": answers, "is_impossible": True}
    written = score(capsys, write(tmp_path / "d.json", [row]), write(tmp_path / "p.json", {"q1": ""}))[0]
    assert ("HasAns_total" in written) == has_answer


def test_missing_and_unknown_predictions_are_counted(
    capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path
) -> None:
    some = {"q2": "blue", "x1": "", "x2": "", "x3": "", "x4": "\x1b[31m"}
    written, printed, stderr = score(capsys, data, write(tmp_path / "p.json", some))
    assert stderr == (
        "note: 3 of 4 questions have no prediction, which scores 0 ('q1', 'q3', 'q4'); "
        "4 of 5 predictions are for unknown ids ('x1', 'x2', 'x3', …)\n"
    )
    assert (written["exact"], written["missing"], printed["missing"]) == (25, 3, "3")


def test_other_probabilities_do_not_matter(capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.json", {key: PREDICTIONS[key] for key in ("q1", "q2", "q3")})
    probabilities = write(tmp_path / "n.json", {"q1": 0.25, "q2": 0.5, "q3": 1, "other": 0.1})
    assert score(capsys, data, predictions, "--na_prob", probabilities)[0]["best_exact"] == 50


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (None, "{p}: no such file"),
        ("", "{p}: not JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"q1": "x",}', "{p}: not JSON: "),
        ("[" * 100_000, "{p}: not JSON: "),
        ("3", "{p}: expected id → text, or a list of {{id, prediction_text}}, with or without no_answer_probability, "),
        ('{"q1": "x", "q2": "y", "q1": "z"}', "{p}: 'q1' occurs twice; each question has one prediction"),
        ([{"id": "q1", "prediction_text": "x"}] * 2, "{p}: 'q1' occurs twice; each question has one prediction"),
        ([["q1", "x"]], "{p}, entry 1: expected {{id, prediction_text}}, found a list"),
        ([{"prediction_text": "x"}], "{p}, entry 1: id is null or missing, not a text"),
        ([{"id": "q1", "text": "x"}], "{p}: 'q1' has null or missing, not a text; expected id → text, or a list of "),
        (
            [{"id": "q1", "prediction_text": "x", "no_answer_probability": -3}],
            "{p}: 'q1' has -3, not a probability from 0 to 1; ",
        ),
        (
            [{"id": key, "prediction_text": "", "no_answer_probability": 1} for key in ("q1", "q3", "q4")]
            + [{"id": "q2", "prediction_text": "y"}],
            "1 of 4 predictions have no no-answer score ('q2'); give each one",
        ),
        ('{"id": "q1", "prediction_text": "x"}\n{"id": ', "{p}, line 2: not JSON: "),
        (b"\x1f\x8bnothing", "{p}: not a whole gzip file: "),
        (gzip.compress(json.dumps({"q1": "x" * 99}).encode(), mtime=0)[:-20], "{p}: not a whole gzip file: "),
        (b'{"q1": "\xff"}', "{p}: not JSON: "),
        ({"q1": "x", "q2": 3}, "{p}: 'q2' has 3, not a text; expected id → text"),
        ({"q1": "x", "q2": None}, "{p}: 'q2' has null or missing, not a text; expected id → text"),
        (
            {"q1": [{"text": "x", "probability": 1}]},
            "{p}: 'q1' has a list, not one text; n-best files cannot be scored: give the predictions.json beside it",
        ),
        (
            {"x1": "a", "x2": "b"},
            "{p}: no prediction for any question of {d}: 4 of 4 questions have no prediction, which scores 0 "
            "('q1', 'q2', 'q3', …); 2 of 2 predictions are for unknown ids ('x1', 'x2')",
        ),
        ({}, "{p}: no prediction for any question of {d}: 4 of 4 questions have no prediction"),
    ],
)
def test_predictions_of_the_wrong_form(
    capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path, predictions: Any, message: str
) -> None:
    path = tmp_path / "p.json"
    if predictions is not None:
        write(path, predictions)
    refused(capsys, data, str(path), message=message.format(p=path, d=data))


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ("nonsense", "{n}: not JSON: "),
        ([0.5], "{n}: expected an object of id → probability, found a list"),
        ({"q1": 0.5, "q2": "0.5"}, "{n}: 'q2' has a text, not a probability from 0 to 1; "),
        ({"q1": True}, "{n}: 'q1' has a truth value, not a probability from 0 to 1; "),
        ({"q1": None}, "{n}: 'q1' has null or missing, not a probability from 0 to 1; "),
        ('{"q1": NaN}', "{n}: 'q1' has nan, not a probability from 0 to 1; "),
        ('{"q1": Infinity}', "{n}: 'q1' has inf, not a probability from 0 to 1; "),
        ('{"q1": 1e999}', "{n}: 'q1' has inf, not a probability from 0 to 1; "),
        ('{"q1": 1' + "0" * 400 + "}", "{n}: 'q1' has 1000"),
        ({"q1": 1.0000001}, "{n}: 'q1' has 1.0000001, not a probability from 0 to 1; "),
        (
            {"q1": 0.5, "q2": -3.25},
            "{n}: 'q2' has -3.25, not a probability from 0 to 1; null_odds.json is on another scale: "
            "give the na_prob.json beside it",
        ),
        ({"q2": 0.5}, "3 of 4 predictions have no no-answer score ('q1', 'q3', 'q4'); give each one"),
    ],
)
def test_probabilities_of_the_wrong_form(
    capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path, probabilities: Any, message: str
) -> None:
    predictions, path = write(tmp_path / "p.json", PREDICTIONS), write(tmp_path / "n.json", probabilities)
    refused(capsys, data, predictions, "--na_prob", path, message=message.format(n=path))


def test_data_that_cannot_be_read(capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.json", PREDICTIONS)
    refused(capsys, "nowhere.json", predictions, message="nowhere.json: no such file")
    unlabelled = write(tmp_path / "u.json", [{"id": "q1", "question": "?", "context": "c"}])
    refused(capsys, unlabelled, predictions, message=f"{unlabelled}: no column 'answers'")
    refused(capsys, data, str(tmp_path), message=f"{tmp_path}: cannot be read: Is a directory")


def test_an_output_that_cannot_be_written(capsys: pytest.CaptureFixture[str], data: str, tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.json", PREDICTIONS)
    refused(capsys, data, predictions, "--output", str(tmp_path), message=f"{tmp_path}: cannot be written: ")
    assert {path.name for path in tmp_path.iterdir()} == {"data.json", "p.json"}


def refused(capsys: pytest.CaptureFixture[str], data: str, predictions: str, *flags: str, message: str) -> None:
    """Checks that files end in one line that starts so, and in nothing else."""
    assert main(["score", "--data", data, "--predictions", predictions, *flags]) == 2
    printed, stderr = capsys.readouterr()
    assert printed == ""
    assert stderr.startswith(f"error: {message}")
    assert stderr.count("\n") == 1
    assert stderr[:-1].isprintable()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "the following arguments are required: --data"),
        (["--data", "d"], "one of the arguments --predictions --model is required"),
        (["--data", "d", "--predictions", "p", "--model", "m"], "not allowed with argument --predictions"),
        (["--data", "d", "--model", "m", "--na_prob", "p"], "--na_prob goes with --predictions"),
        (["--data", "d", "--predictions", "p", "--device", "cpu"], "--device goes with --model"),
        (["--data", "d", "--predictions", "p", "--na_prob_thresh", "-3.25"], "invalid probability value: '-3.25'"),
        (["--data", "d", "--predictions", "p", "--na_prob_thresh", "nan"], "invalid probability value: 'nan'"),
        (["--data", "d", "--predictions", "p", "--na-prob", "n"], "unrecognized arguments: --na-prob n"),
    ],
)
def test_wrong_flags(capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["score", *flags])
    stderr = capsys.readouterr().err
    assert message in stderr
    assert stderr.count("\n") == 1


def test_scoring_waits_for_no_framework(data: str, tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.json", PREDICTIONS)
    code = (
        "import sys\nfrom qa_lightning.cli.main import main\n"
        f"assert main(['score', '--data', {data!r}, '--predictions', {predictions!r}]) == 0\n"
        "assert not {'torch', 'lightning', 'transformers', 'datasets', 'torchmetrics'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
