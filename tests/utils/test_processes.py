"""Scores, answers and files are those of one process, on however many processes they were made."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qa_lightning.runs.folder import QUESTIONS
from qa_lightning.runs.questions import read_table
from tests import forked
from tests.commands import run_command
from tests.conftest import ROOT
from tests.tiny import tiny_folder
from tests.training import SETTINGS, write_long

pytestmark = pytest.mark.slow

COUNTS = (1, 2, 3)
MANY = 35
"""Questions of the larger set: no number of processes divides them."""


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``many``: questions of several windows; ``two``: fewer questions than processes."""
    folder = tmp_path_factory.mktemp("data")
    many = write_long(folder / "many.json", copies=5)
    document = read(many)
    document["data"][0]["paragraphs"] = document["data"][0]["paragraphs"][:1]
    document["data"][0]["paragraphs"][0]["qas"] = document["data"][0]["paragraphs"][0]["qas"][-2:]
    (folder / "two.json").write_text(json.dumps(document))
    return {"many": many, "two": folder / "two.json"}


@pytest.fixture(scope="module")
def runs(model: Path, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The folder of a training (whose rate is zero) by the number of processes, with ``validate`` and ``predict``."""
    found = {}
    for count in COUNTS:
        run = tmp_path_factory.mktemp("runs") / str(count)
        devices = ["--run_dir", str(run), "--trainer.strategy", "ddp", "--trainer.devices", str(count)]
        quiet = ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
        settings = [item for name, value in SETTINGS.items() for item in (f"--data.{name}", str(value).lower())]
        both = f"{{many: {files['many']}, two: {files['two']}}}"
        run_command(
            *("fit", "--model.model_name_or_path", str(model), "--model.learning_rate", "0", *settings),
            *("--data.train_file", str(files["many"]), "--data.validation_file", both, "--data.batch_size", "4"),
            *("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", *quiet, *devices),
        )
        run_command("validate", "--data.validation_file", str(files["two"]), *devices)
        run_command(
            "test", "--data.test_file", str(files["many"]), *devices, "--trainer.use_distributed_sampler", "true"
        )
        run_command("predict", "--data.predict_file", str(files["two"]), *devices)
        found[count] = run
    return found


FOLDERS = {"many": MANY, "two": 2, "validate": 2, "test": MANY, "predict": 2}


def test_scores_are_those_of_one_process(runs: dict[int, Path], show: Callable[[str, str], None]) -> None:
    metrics = {count: read(run / "metrics.json") for count, run in runs.items()}
    alone = read(runs[1] / "validate/metrics.json")
    shown = ("val/many/exact_match", "val/many/f1", "val/many/NoAns_f1", "val/many/total", "val/two/f1")
    rows = [f"{key:24}" + "".join(f"{metrics[count][key]:20.15f}" for count in COUNTS) for key in shown]
    show("scores on 1, 2 and 3 processes", "\n".join(rows))
    for count in COUNTS:
        assert metrics[count]["val/many/total"] == MANY
        assert metrics[count]["val/two/total"] == 2
        steps = {key: metrics[count].pop(key) for key in ("step", "epoch")}
        assert steps["epoch"] == 0
        # Logits differ in the last digits where batches do, and with them losses and thresholds.
        rough = {key for key in metrics[count] if key.endswith(("loss", "thresh"))}
        for key in metrics[1].keys() - rough:
            assert metrics[count][key] == metrics[1][key], key
        assert {key: metrics[count][key] for key in rough} == pytest.approx(
            {key: metrics[1][key] for key in rough}, abs=1e-5
        )
        few = read(runs[count] / "validate/metrics.json")
        assert few["val/f1"] == alone["val/f1"]
        assert few["val/total"] == 2


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("count", COUNTS[1:])
def test_answers_are_those_of_one_process(runs: dict[int, Path], folder: str, count: int) -> None:
    single, several = runs[1] / folder, runs[count] / folder
    assert sorted(path.name for path in several.iterdir()) == sorted(path.name for path in single.iterdir())
    texts = read(several / "predictions.json")
    assert list(texts.items()) == list(read(single / "predictions.json").items())  # in the data's order, too
    assert len(texts) == FOLDERS[folder]
    for name in ("null_odds", "na_prob"):
        assert read(several / f"{name}.json") == pytest.approx(read(single / f"{name}.json"), abs=1e-5)
    for id_, answers in read(several / "nbest_predictions.json").items():
        for answer, expected in zip(answers, read(single / "nbest_predictions.json")[id_], strict=True):
            assert answer.pop("text") == expected.pop("text")
            assert answer == pytest.approx(expected, abs=1e-5)


def test_the_table_of_questions_is_that_of_one_process(runs: dict[int, Path]) -> None:
    tables = {count: read_table(run / "many" / QUESTIONS) for count, run in runs.items()}
    exact = ["row", "id", "question", "golds", "context", "prediction", "exact_match", "f1", "span_f1", "windows"]
    for table in tables.values():
        assert table["row"].to_pylist() == list(range(MANY))
        assert table.select(exact).equals(tables[1].select(exact))
    assert min(tables[1]["windows"].to_pylist()) > 1


def test_the_first_process_says_which_epoch_is_the_best(model: Path, files: dict[str, Path], tmp_path: Path) -> None:
    """The loss of the last batch, which is watched here, is another on each process."""
    settings = [item for name, value in SETTINGS.items() for item in (f"--data.{name}", str(value).lower())]
    run_command(
        *("fit", "--model.model_name_or_path", str(model), "--model.learning_rate", "0.02", *settings),
        *("--data.train_file", str(files["many"]), "--data.validation_file", str(files["two"])),
        *("--checkpoint.monitor", "train/loss", "--checkpoint.mode", "min", "--trainer.max_epochs", "6"),
        *("--trainer.accelerator", "cpu", "--trainer.strategy", "ddp", "--trainer.devices", "2"),
        *("--trainer.enable_progress_bar", "false", "--data.batch_size", "16", "--run_dir", str(tmp_path / "run")),
    )
    assert len(read(tmp_path / "run/predictions.json")) == 2


def test_nothing_is_left_of_the_processes(runs: dict[int, Path]) -> None:
    for run in runs.values():
        assert not [path for path in run.rglob("*") if path.name.startswith(".")]


# Signals

ENDINGS = [
    # to which process, which signal, and the status that the first one ends with
    pytest.param("second", signal.SIGTERM, 143, id="SIGTERM to the second"),
    pytest.param("first", signal.SIGTERM, 143, id="SIGTERM to the first"),
    pytest.param("all", signal.SIGINT, 130, id="Ctrl-C"),
    pytest.param("second", signal.SIGKILL, None, id="SIGKILL to the second"),
    pytest.param("first", signal.SIGKILL, -signal.SIGKILL, id="SIGKILL to the first"),
]


PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may have it ignored
from qa_lightning.cli.main import main
sys.exit(main())
"""


def is_there(process: int) -> bool:
    """Whether a process is there and not only waited for."""
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


@pytest.fixture(scope="module")
def endless(model: Path, files: dict[str, Path]) -> list[str]:
    """A training on two processes, but for its length and its folder."""
    settings = [item for name, value in SETTINGS.items() for item in (f"--data.{name}", str(value).lower())]
    return [
        *("fit", "--model.model_name_or_path", str(model), *settings, "--data.batch_size", "4"),
        *("--data.train_file", str(files["many"]), "--trainer.accelerator", "cpu", "--trainer.strategy", "ddp"),
        *("--trainer.devices", "2", "--trainer.enable_progress_bar", "false", "--ckpt_path", "last"),
        *("--model.lr_scheduler_type", "constant", "--checkpoint.every_n_train_steps", "3"),
    ]


@pytest.mark.parametrize(("to", "number", "status"), ENDINGS)
def test_a_signal_ends_all_processes_and_training_goes_on(
    endless: list[str], tmp_path: Path, to: str, number: int, status: int | None
) -> None:
    run = tmp_path / "run"
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from qa_lightning.cli.main import "
    )
    # DDP starts the program again by its name.
    (tmp_path / "program.py").write_text(f"{script}main; sys.exit(main())")
    arguments = [*endless, "--run_dir", str(run)]
    process = forked.Forked(
        [tmp_path / "program.py", *arguments, "--trainer.max_epochs", "100000"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        while process.poll() is None and not (run / "checkpoints/last.ckpt").is_file():
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        (second,) = [int(child) for child in children if b"program" in Path(f"/proc/{child}/cmdline").read_bytes()]
        if to == "all":
            os.killpg(process.pid, number)
        else:
            os.kill(second if to == "second" else process.pid, number)
        _, said = process.communicate(timeout=120)
        for _ in range(100):
            if not is_there(second):
                break
            time.sleep(0.1)
        assert not is_there(second)
    finally:
        if process.poll() is None or is_there(second):
            os.killpg(process.pid, signal.SIGKILL)
    if status is None:  # Lightning's own watch over the processes may be first
        assert process.returncode in (1, 2, -signal.SIGKILL)
        assert "Traceback" not in said
    else:
        assert process.returncode == status
    before = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    run_command(*arguments, "--trainer.max_epochs", str(before["epoch"] + 2))
    after = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert after["epoch"] == before["epoch"] + 1
    assert after["global_step"] > before["global_step"]
    assert not [path for path in run.rglob(".*") if path.name != ".lock"]
