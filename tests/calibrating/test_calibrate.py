"""The verb: what it keeps with a model, what uses it, what it refuses, and what an interruption leaves."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from qa_lightning.calibrating import calibrate as module
from qa_lightning.cli.main import main
from qa_lightning.ensembling.ensemble import make_ensemble
from qa_lightning.exporting.folders import export
from qa_lightning.pretrained.loading import load_settings
from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.reader import Reader
from qa_lightning.serving.batching import Batcher
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.locks import sole_user
from tests import forked
from tests.cli import mistakes
from tests.conftest import ROOT
from tests.ensembling.test_soup import SETTINGS, changed_folder
from tests.report.chromium import chromium
from tests.teachers import letters_folder
from tests.tiny import PASSAGES, fit_arguments, tiny_folder, write_squad
from tests.training import make_module, trains

pytestmark = trains

NULL = SETTINGS | {"version_2_with_negative": True}
ROW = {"question": "Who wrote the program?", "context": "Ada wrote the first program in London. Alan lived in Rome."}


def write_unseen(path: Path, *, impossible: bool = True) -> Path:
    """Questions on pairs of the passages, a context of which no other file here has."""
    paragraphs = []
    for i, (first, questions) in enumerate(PASSAGES):
        for j, (second, _) in enumerate(PASSAGES):
            context = f"{first} {second} In Rome."
            qas: list[dict[str, Any]] = [
                {
                    "id": f"{i}-{j}-{number}",
                    "question": question,
                    "answers": [{"text": answer, "answer_start": context.index(answer)}],
                }
                for number, (question, answer) in enumerate(questions)
            ]
            if impossible:
                qas.append({"id": f"{i}-{j}-x", "question": "When?", "answers": [], "is_impossible": True})
            paragraphs.append({"context": context, "qas": qas})
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "", "paragraphs": paragraphs}]}))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("data")
    return {
        "null": str(write_unseen(folder / "null.json")),
        "answers": str(write_unseen(folder / "answers.json", impossible=False)),
        "train": str(write_squad(folder / "train.json")),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: dict[str, str]) -> Path:
    """A run that was trained on `write_squad`'s questions and is not calibrated."""
    folder = tmp_path_factory.mktemp("runs")
    model = tiny_folder(folder / "model")
    arguments = fit_arguments(str(model), data["train"], data["answers"])
    assert main([*arguments, "--run_dir", str(folder / "run")]) == 0
    return folder / "run"


def model_of(folder: Path, *, null: bool = False) -> Path:
    return changed_folder(folder, 0, settings=NULL if null else SETTINGS)


def without_scores(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**answer, "score": None} for answer in answers]


def test_a_model_that_may_leave_questions_unanswered(
    data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_of(tmp_path / "model", null=True)
    before = Reader.from_pretrained(model)(**ROW, top_k=9)
    assert main(["calibrate", str(model), "--data", data["null"]]) == 0
    said = capsys.readouterr().out
    assert "27 questions of null.json" in said
    assert "ECE by mass" in said
    assert "of no answer: " in said
    saved = load_settings(str(model))
    assert {**saved, "calibration": None} == {**NULL, "calibration": None}  # nothing else is changed
    found = saved["calibration"]
    assert (found["data"], found["questions"]) == ("null.json", 27)
    assert [found[name] for name in ("temperature", "null_temperature", "null_bias")] != [1, 1, 0]
    reader = Reader.from_pretrained(model)
    after = reader(**ROW, top_k=9)
    assert without_scores(after) == without_scores(before)
    assert after != before
    assert reader(**ROW, top_k=9, temperature=1, null_temperature=1, null_bias=0) == before
    (prediction,) = reader.predictions([ROW])
    assert prediction.answers.rows["probability"].sum() == pytest.approx(1)


def test_what_asks_a_model_uses_its_temperature(
    data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_of(tmp_path / "model")
    raw = Reader.from_pretrained(model)(**ROW)
    assert main(["calibrate", str(model), "--data", data["answers"]]) == 0
    assert "null_bias" not in load_settings(str(model))["calibration"]
    reader = Reader.from_pretrained(model)
    expected = reader(**ROW)
    assert expected != raw
    text = tmp_path / "text.txt"
    text.write_text(ROW["context"])
    asked = ["ask", ROW["question"], "--context", str(text), "--model", str(model), "--json"]
    for flags, answer in (([], expected), (["--temperature", "1"], raw)):
        capsys.readouterr()
        assert main([*asked, *flags]) == 0
        assert json.loads(capsys.readouterr().out) == {"question": ROW["question"]} | answer
    with Batcher(reader) as batcher:
        assert batcher.ask([Pair(**ROW)], reader.settings).result(timeout=60) == [expected]
    # The former pipeline knew no temperatures.
    assert reader(**ROW, legacy=True) == reader(**ROW, legacy=True, temperature=1.0)


def test_a_table_as_training_reads_it(data: dict[str, str], tmp_path: Path) -> None:
    published = json.loads(Path(data["answers"]).read_text())["data"][0]["paragraphs"]
    table = tmp_path / "table.csv"
    with table.open("w", encoding="utf-16", newline="") as file:
        writer = csv.writer(file, delimiter="|")
        writer.writerow(["key", "frage", "context", "gold", "answer_start"])
        writer.writerows(
            [qa["id"], qa["question"], paragraph["context"], *qa["answers"][0].values()]
            for paragraph in published
            for qa in paragraph["qas"]
        )
    names = ["--column_names", "{id: key, question: frage, answers: gold}"]
    flags = [*names, "--encoding", "utf-16", "--delimiter", "|"]
    first, second = model_of(tmp_path / "first"), model_of(tmp_path / "second")
    assert main(["calibrate", str(first), "--data", data["answers"]]) == 0
    assert main(["calibrate", str(second), "--data", str(table), *flags]) == 0
    found = [load_settings(str(model))["calibration"] for model in (first, second)]
    assert found[1] == {**found[0], "data": "table.csv"}


def test_again_and_away_again(data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_of(tmp_path / "model", null=True)
    for _ in range(2):
        assert main(["calibrate", str(model), "--data", data["null"]]) == 0
        once = load_settings(str(model))
        assert once == json.loads((model / "qa_lightning.json").read_text())
    first, second = capsys.readouterr().out.split("The temperatures are kept")[:2]
    assert first.strip() == second.partition("\n")[2].strip()  # what was measured is the model's own again
    assert main(["calibrate", str(model), "--remove"]) == 0
    assert load_settings(str(model)) == NULL
    assert "was not calibrated" in mistakes.error_of(["calibrate", str(model), "--remove"], flushed(capsys))


def flushed(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    capsys.readouterr()
    return capsys


def test_a_plain_model_of_transformers(data: dict[str, str], tmp_path: Path) -> None:
    model = letters_folder(tmp_path / "model")
    before = Reader.from_pretrained(model)
    assert main(["calibrate", str(model), "--data", data["answers"]]) == 0
    reader = Reader.from_pretrained(model)
    assert {**vars(reader.settings), "temperature": 1.0} == vars(before.settings)
    assert reader.settings.temperature != 1
    assert main(["calibrate", str(model), "--remove"]) == 0
    assert not (model / "qa_lightning.json").exists()


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # how peft asks transformers
def test_an_adapter_of_peft(data: dict[str, str], tmp_path: Path) -> None:
    """It has neither a configuration nor settings of ours; a Reader takes it."""
    peft = pytest.importorskip("peft", reason="adapters need the package peft")
    from transformers import AutoModelForQuestionAnswering

    base = letters_folder(tmp_path / "base")
    network = AutoModelForQuestionAnswering.from_pretrained(base)
    network = peft.get_peft_model(network, peft.LoraConfig(r=2, target_modules=["query"], task_type="QUESTION_ANS"))
    network.save_pretrained(tmp_path / "adapter")
    assert main(["calibrate", str(tmp_path / "adapter"), "--data", data["answers"]]) == 0
    reader = Reader.from_pretrained(tmp_path / "adapter")
    assert reader.settings.temperature == load_settings(str(tmp_path / "adapter"))["calibration"]["temperature"] != 1


def test_a_run_gets_a_page_a_table_and_a_report(
    data: dict[str, str], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = tmp_path / "run"
    shutil.copytree(run, ours)
    assert main(["report", str(ours)]) == 0
    page = (ours / "report.html").read_text()
    assert "Risk and coverage" in page
    assert "calibrated on these very questions" not in page
    assert main(["calibrate", str(ours), "--data", data["answers"]]) == 0
    assert "temperature" in load_settings(str(ours / "best_model"))["calibration"]
    page = (ours / "calibration.html").read_text()
    assert "Reliability, before" in page
    assert "Reliability, after" in page
    assert "18 questions of answers.json" in page
    table = pq.read_table(ours / "calibration.parquet")
    asked = Reader.from_pretrained(ours)
    row = table.slice(0, 1).to_pylist()[0]
    raw = asked(question=row["question"], context=row["context"], temperature=1.0)
    assert raw["answer"] == row["prediction"]
    assert row["confidence_before"] == pytest.approx(raw["score"])
    assert main(["report", str(ours)]) == 0
    # The run was validated on the very questions that the temperature was fitted to.
    assert "Reliability, calibrated on these very questions" in (ours / "report.html").read_text()


def test_a_report_of_what_a_calibrated_model_was_evaluated_on(data: dict[str, str], run: Path, tmp_path: Path) -> None:
    ours = tmp_path / "run"
    shutil.copytree(run, ours)
    assert main(["calibrate", str(ours), "--data", data["answers"]]) == 0
    arguments = [
        *("validate", "--run_dir", str(ours), "--ckpt_path", "best", "--data.validation_file", data["train"]),
        *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
    ]
    assert main(arguments) == 0
    assert main(["report", str(ours / "validate")]) == 0
    page = (ours / "validate/report.html").read_text()
    assert "Reliability, calibrated" in page
    assert "on these very questions" not in page
    assert main(["calibrate", str(ours), "--remove"]) == 0
    assert main(["report", str(ours / "validate")]) == 0
    assert "Reliability, calibrated" not in (ours / "validate/report.html").read_text()


def test_where_page_and_table_go(data: dict[str, str], tmp_path: Path) -> None:
    model = model_of(tmp_path / "model")
    assert main(["calibrate", str(model), "--data", data["answers"], "--output", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"calibration.html", "calibration.parquet"}
    assert main(["calibrate", str(model), "--data", data["answers"]]) == 0
    assert not (model / "calibration.html").exists()


def test_questions_that_it_was_trained_on_are_refused(
    data: dict[str, str], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (run, run / "best_model"):
        said = mistakes.error_of(["calibrate", str(name), "--data", data["train"]], flushed(capsys))
        assert f"{data['train']}: the model was trained on 6 of its 6 questions" in said
    assert "calibration" not in load_settings(str(run / "best_model"))


def test_a_run_at_work_is_refused(data: dict[str, str], run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sole_user(run):
        said = mistakes.error_of(["calibrate", str(run), "--data", data["answers"]], flushed(capsys))
    assert str(run) in said
    assert "calibration" not in load_settings(str(run / "best_model"))


def test_questions_of_an_earlier_round_are_refused(
    data: dict[str, str], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = tmp_path / "second"
    shutil.copytree(run, second)
    config = (second / "config.yaml").read_text()
    base, *_ = [line.split(": ")[1] for line in config.splitlines() if "model_name_or_path" in line]
    config = config.replace(base, str(run / "best_model")).replace(data["train"], data["answers"])
    (second / "config.yaml").write_text(config)
    for file in ("train", "answers"):
        said = mistakes.error_of(["calibrate", str(second), "--data", data[file]], flushed(capsys))
        assert "the model was trained on" in said


def test_an_ensemble_whose_member_was_trained_on_them(
    data: dict[str, str], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_ensemble([str(run), str(run)], tmp_path / "both")
    said = mistakes.error_of(["calibrate", str(tmp_path / "both"), "--data", data["train"]], flushed(capsys))
    assert "the model was trained on 6 of its 6 questions" in said


def test_training_data_that_have_gone_are_said_not_to_be_checked(
    data: dict[str, str], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = tmp_path / "run"
    shutil.copytree(run, ours)
    config = (ours / "config.yaml").read_text()
    (ours / "config.yaml").write_text(config.replace(data["train"], str(tmp_path / "gone.json")))
    capsys.readouterr()
    assert main(["calibrate", str(ours), "--data", data["answers"]]) == 0
    assert "note: whether the model was trained on these questions is not known: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model", "--data", "answers.json"], "there is no unanswerable question in it"),
        (["model", "--data", "none.json"], "none.json"),
        (["model", "--data", "no-golds.json"], "no column 'answers'"),
        (["model", "--data", "empty.json"], "empty.json"),
        (["model", "--data", "one.json"], "all questions are on one context"),
        (["plain", "--data", "null.json"], "null.json"),
        (["model"], "give --data FILE, or --remove"),
        (["model", "--data", "null.json", "--remove"], "give --data FILE, or --remove"),
        (["model", "--remove", "--output", "o"], "--output goes with --data"),
        (["model", "--data", "null.json", "--language", "tlh-x"], "tlh-x"),
        (
            ["model", "--data", "null.json", "--output", "null.json/o"],
            "null.json is no folder, where results are to be",
        ),
        (["user/name", "--data", "null.json"], "user/name: no such folder"),
        (["run/checkpoints/best.ckpt", "--data", "null.json"], "is a checkpoint, whose settings are part of it"),
        (["empty", "--data", "null.json"], "empty: there is no model in this folder"),
    ],
)
def test_mistakes(
    arguments: list[str],
    message: str,
    data: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model_of(tmp_path / "model", null=True)
    model_of(tmp_path / "plain")
    (tmp_path / "empty").mkdir()
    for name in ("null", "answers"):
        shutil.copy(data[name], tmp_path / f"{name}.json")
    (tmp_path / "no-golds.json").write_text(json.dumps([{"id": "1", **ROW}]))
    (tmp_path / "empty.json").write_text("[]")
    golds = [{"text": ["Ada"], "answer_start": [0]}, {"text": [], "answer_start": []}]
    (tmp_path / "one.json").write_text(
        json.dumps([{"id": str(i), **ROW, "answers": answers} for i, answers in enumerate(golds)])
    )
    monkeypatch.chdir(tmp_path)
    assert message in mistakes.error_of(["calibrate", *arguments], flushed(capsys))
    assert load_settings("model") == NULL


def test_damaged_temperatures_end_in_a_line(tmp_path: Path) -> None:
    model = model_of(tmp_path / "model")
    for wrong in ({"temperature": 0}, {"temperature": "2"}, {"null_bias": None}, [1]):
        (model / "qa_lightning.json").write_text(json.dumps(SETTINGS | {"calibration": wrong}))
        with pytest.raises(UserError, match=r"qa_lightning.json: calibration cannot be "):
            Reader.from_pretrained(model)


def test_an_interruption_leaves_the_model_as_it_was(
    data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_of(tmp_path / "model", null=True)
    monkeypatch.setattr(module, "_TOGETHER", 5)
    predictions, calls = Reader.predictions, []

    def interrupted(self: Reader, *arguments: Any, **options: Any) -> Any:
        calls.append(len(options["question"]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predictions(self, *arguments, **options)

    monkeypatch.setattr(Reader, "predictions", interrupted)
    capsys.readouterr()
    command = ["calibrate", str(model), "--data", data["null"]]
    assert main(command) == 130
    assert capsys.readouterr().err == "stopped: the model is as it was; the same command begins again\n"
    assert calls == [5, 5, 5]
    assert load_settings(str(model)) == NULL
    assert main(command) == 0
    assert "calibration" in load_settings(str(model))


KILLED = """
import json, os, signal, sys
write = json.dump
def half(value, stream, **options):
    if "calibration" not in value:
        return write(value, stream, **options)
    stream.write(json.dumps(value)[:40])
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
json.dump = half
from qa_lightning.cli.main import main
sys.exit(main())
"""


def test_a_kill_in_the_middle_of_writing(data: dict[str, str], tmp_path: Path) -> None:
    model = model_of(tmp_path / "model", null=True)
    command = ["calibrate", str(model), "--data", data["null"]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = forked.run(["-c", KILLED, *command], env=environment, timeout=240)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(model.glob(".*"))  # which was killed in the middle indeed
    assert load_settings(str(model)) == NULL
    assert main(command) == 0
    assert "calibration" in load_settings(str(model))
    assert not list(model.glob(".*"))


def test_exported_folders_carry_the_temperature(data: dict[str, str], tmp_path: Path) -> None:
    model = model_of(tmp_path / "model", null=True)
    assert main(["calibrate", str(model), "--data", data["null"]]) == 0
    expected = Reader.from_pretrained(model)(**ROW, top_k=5)
    for form in ("safetensors", "onnx"):
        folder = tmp_path / form
        export(str(model), folder, form)  # type: ignore[arg-type]
        found = Reader.from_pretrained(folder)(**ROW, top_k=5)
        assert without_scores(found) == without_scores(expected)
        scores = [[answer["score"] for answer in answers] for answers in (found, expected)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)
        card = (folder / "README.md").read_text()
        assert "| null_bias | " in card
        assert "fingerprint" not in card
    # An exported one can be calibrated by itself.
    assert main(["calibrate", str(tmp_path / "onnx"), "--data", data["null"]]) == 0


def test_an_ensemble_has_temperatures_of_its_own(data: dict[str, str], tmp_path: Path) -> None:
    names = [str(changed_folder(tmp_path / f"m{i}", i, settings=NULL)) for i in range(2)]
    make_ensemble(names, tmp_path / "both", weights=[1, 3])
    before = Reader.from_pretrained(tmp_path / "both")(**ROW, top_k=9)
    assert main(["calibrate", names[0], "--data", data["null"]]) == 0
    assert Reader.from_pretrained(tmp_path / "both")(**ROW, top_k=9) == before
    assert main(["calibrate", str(tmp_path / "both"), "--data", data["null"]]) == 0
    reader = Reader.from_pretrained(tmp_path / "both")
    after = reader(**ROW, top_k=9)
    assert without_scores(after) == without_scores(before)
    assert after != before
    values = json.loads((tmp_path / "both/ensemble.json").read_text())
    assert [member["weight"] for member in values["members"]] == [0.25, 0.75]
    assert main(["calibrate", str(tmp_path / "both"), "--remove"]) == 0
    assert Reader.from_pretrained(tmp_path / "both")(**ROW, top_k=9) == before


def test_models_made_of_it_are_not_calibrated(data: dict[str, str], tmp_path: Path) -> None:
    names = [str(changed_folder(tmp_path / f"m{i}", i, settings=NULL)) for i in range(2)]
    assert main(["calibrate", names[0], "--data", data["null"]]) == 0
    assert main(["soup", *names, "--output", str(tmp_path / "soup")]) == 0
    assert load_settings(str(tmp_path / "soup")) == NULL
    trained = make_module(names[0])
    assert "calibration" not in trained.settings


@pytest.mark.slow
def test_the_page_in_a_browser(data: dict[str, str], tmp_path: Path) -> None:
    model = model_of(tmp_path / "<b>model", null=True)
    assert main(["calibrate", str(model), "--data", data["null"], "--output", str(tmp_path / "out")]) == 0
    with chromium() as browser:
        for width in (1280, 360):
            page, complaints, requests = browser.new_page(viewport={"width": width, "height": 800}), [], []
            page.on("console", lambda message, kept=complaints: kept.append(message.text))
            page.on("request", lambda request, kept=requests: kept.append(request.url))
            page.goto((tmp_path / "out/calibration.html").as_uri())
            assert page.locator("h1").text_content() == "Calibration of <b>model"
            assert page.locator("figure svg").count() == 3
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert complaints == []
            assert len(requests) == 1


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom qa_lightning.cli.main import main\n"
        "try:\n    main(['calibrate', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert 'transformers' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)
