from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from qa_lightning.experiments import commands, trainings
from qa_lightning.experiments.commands import error_of, run_to_end
from qa_lightning.experiments.devices import recorded_devices
from qa_lightning.experiments.fit_settings import parse_settings, require_validation
from qa_lightning.experiments.folder import ExperimentFolder
from qa_lightning.experiments.trainings import Training, first_set, run_trainings
from qa_lightning.runs.questions import write_table
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.locks import sole_user
from tests.conftest import ROOT
from tests.experiments.processes import short_training
from tests.runs.test_comparison import table_of
from tests.tiny import tiny_folder
from tests.training import write_long


class Fake:
    """A process that does nothing but end, after what each wait for it brings."""

    def __init__(self, *waits: int | BaseException) -> None:
        self.waits = list(waits)
        self.signals: list[int] = []

    def wait(self, timeout: float | None = None) -> int:
        found = self.waits.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def kill(self) -> None:
        raise AssertionError("nothing is killed")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were begun; each leaves what a run leaves, and takes 30 seconds."""
    begun: list[list[str]] = []
    clock = [0.0]
    monkeypatch.setattr(trainings.time, "monotonic", lambda: clock[0])

    def start(arguments: Sequence[str], output: IO[bytes], **_: Any) -> Fake:
        begun.append(list(arguments))
        run = Path(arguments[arguments.index("--run_dir") + 1])
        folder = run if arguments[0] == "fit" else run / arguments[0]
        (run / "best_model").mkdir(parents=True, exist_ok=True)
        if "--fails" in arguments:
            output.write(b"Traceback\nerror: the disk is full; make room\nthe end\n")
            output.flush()
            return Fake(2)
        write_table(folder / "per_question.parquet", table_of([50.0, 75.0], [0, 1]))
        (folder / "metrics.json").write_text(json.dumps({"val/f1": 62.5, "val/exact_match": 0.0}))
        clock[0] += 30
        return Fake(0)

    monkeypatch.setattr(commands, "start", start)
    return begun


def work_in(folder: Path, *named: Training) -> list[str]:
    experiment, said = ExperimentFolder(folder, "seeds"), []
    with experiment.at_work({"a": "1"}):
        run_trainings(experiment, named, said.append)
    return said


def test_each_training_has_a_line_with_what_is_left(begun: list[list[str]], tmp_path: Path) -> None:
    named = [Training(f"t{i}", tmp_path / f"t{i}", (("fit", "--x"),), work) for i, work in enumerate((1.0, 3.0, 2.0))]
    assert work_in(tmp_path, *named[:1]) == ["1 of 1: t0: F1 62.50, EM 0.00, 30 s"]
    # Another object, as of another process, goes on: of work 3 done in 30 s, work 2 is left.
    assert work_in(tmp_path, *named) == [
        "1 of 3: t0: F1 62.50, EM 0.00, done before",
        "2 of 3: t1: F1 62.50, EM 0.00, 30 s; about 20 s left",
        "3 of 3: t2: F1 62.50, EM 0.00, 30 s",
    ]
    assert begun[1] == ["fit", "--x", "--run_dir", str(tmp_path / "t1"), "--ckpt_path", "last"]
    assert len(begun) == 3


def test_a_training_whose_folder_is_gone_is_done_again(begun: list[list[str]], tmp_path: Path) -> None:
    training = Training("t", tmp_path / "t", (("fit",), ("validate", "--y")))
    assert training.scored == tmp_path / "t/validate"
    work_in(tmp_path, training)
    assert [command[0] for command in begun] == ["fit", "validate"]
    shutil.rmtree(tmp_path / "t/validate")
    work_in(tmp_path, training)
    assert [command[0] for command in begun] == ["fit", "validate", "validate"]
    shutil.rmtree(tmp_path / "t")
    work_in(tmp_path, training)
    assert [command[0] for command in begun[3:]] == ["fit", "validate"]


def test_a_failure_is_said_in_one_line_and_what_was_done_stays_done(begun: list[list[str]], tmp_path: Path) -> None:
    good, bad = (
        Training("good", tmp_path / "good", (("fit",),)),
        Training("bad", tmp_path / "bad", (("fit", "--fails"),)),
    )
    message = f"bad failed (status 2): the disk is full; make room; its output is in {tmp_path / 'bad.log'}"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        work_in(tmp_path, good, bad)
    with pytest.raises(UserError):
        work_in(tmp_path, good, bad)
    assert [Path(command[command.index("--run_dir") + 1]).name for command in begun] == ["good", "bad", "bad"]


@pytest.mark.parametrize(
    ("waits", "raised", "signals"),
    [
        ([KeyboardInterrupt(), 130], KeyboardInterrupt, [signal.SIGINT]),
        ([KeyboardInterrupt(), KeyboardInterrupt(), 1], KeyboardInterrupt, [signal.SIGINT, signal.SIGINT]),
        ([SystemExit(143), 143], SystemExit, [signal.SIGTERM]),
        # What stops already is not ended at once by the first Ctrl-C, but by the second.
        ([SystemExit(143), KeyboardInterrupt(), 143], SystemExit, [signal.SIGTERM]),
        ([SystemExit(143), *2 * [KeyboardInterrupt()], 1], SystemExit, [signal.SIGTERM, signal.SIGINT]),
    ],
)
def test_what_ends_it_is_passed_on(
    waits: list[int | BaseException],
    raised: type[BaseException],
    signals: list[int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    process = Fake(*waits)
    monkeypatch.setattr(commands, "start", lambda *_: process)
    with (tmp_path / "log").open("wb") as output, pytest.raises(raised):
        run_to_end(["fit"], output)
    assert (process.signals, process.waits) == (signals, [])


class SideBySide:
    """Processes that end, or fail, in the order that a test says; none before its turn.

    Args:
        statuses: The status of each, by the name of its run's folder; of others, they run until they are stopped.
    """

    def __init__(self, **statuses: int | BaseException) -> None:
        self.statuses = statuses
        self.running: list[str] = []
        self.most = 0
        self.signals: dict[str, list[int]] = {}
        self.devices: dict[str, str] = {}

    def start(
        self, arguments: Sequence[str], output: IO[bytes], errors: Any = None, environment: Any = None
    ) -> commands.Process:
        run = Path(arguments[arguments.index("--run_dir") + 1])
        self.devices[run.name] = environment.get("CUDA_VISIBLE_DEVICES", "all")
        self.running.append(run.name)
        self.most = max(self.most, len(self.running))
        return OneOf(self, run)


class OneOf:
    """One of `SideBySide`."""

    def __init__(self, others: SideBySide, run: Path) -> None:
        self.others, self.run = others, run

    def wait(self, timeout: float | None = None) -> int:
        others, name = self.others, self.run.name
        if others.signals.get(name):
            return 128 + others.signals[name][-1]
        if name not in others.statuses or next(each for each in others.statuses if each in others.running) != name:
            raise subprocess.TimeoutExpired(name, timeout or 0)
        status = others.statuses[name]
        if isinstance(status, BaseException):
            raise status
        others.running.remove(name)
        if status == 0:
            (self.run / "best_model").mkdir(parents=True)
            write_table(self.run / "per_question.parquet", table_of([50.0], [0]))
        return status

    def send_signal(self, number: int) -> None:
        self.others.signals.setdefault(self.run.name, []).append(number)

    def kill(self) -> None:
        raise AssertionError("nothing is killed")


def work_side_by_side(
    folder: Path, workers: int, of: SideBySide, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(commands, "start", of.start)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    named = [Training(name, folder / name, (("fit",),)) for name in "abcd"]
    experiment = ExperimentFolder(folder, "seeds")
    with experiment.at_work({}):
        run_trainings(experiment, [*named, named[0]], said.append, workers=workers)  # one is named twice


def test_several_trainings_are_at_work_side_by_side_each_on_a_gpu_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes, said = SideBySide(b=0, c=0, a=0, d=0), []  # the second one ends first
    work_side_by_side(tmp_path, 2, fakes, monkeypatch, said)
    assert [line.split(",")[0].split(": ")[:2] for line in said] == [
        [f"{number} of 4", name] for number, name in enumerate("bcad", 1)
    ]
    assert fakes.most == 2
    assert fakes.devices == {"a": "3", "b": "5", "c": "5", "d": "5"}
    # After the first, about as much is left as of two others in turn.
    assert [re.sub(r"\d+", "N", line.rpartition("; ")[2]) for line in said[:3]] == ["about N s left"] * 3
    assert "left" not in said[3]
    alone = SideBySide(a=0, b=0, c=0, d=0)
    work_side_by_side(tmp_path / "alone", 1, alone, monkeypatch, [])
    assert (alone.most, set(alone.devices.values())) == (1, {"all"})


def test_what_is_left_of_several_at_work_side_by_side() -> None:
    def at_work(work: float, seconds: float) -> Any:
        return SimpleNamespace(training=Training("t", Path("t"), (), work), seconds_by_now=seconds)

    pace = trainings._Pace(3)
    pace.add(2.0, 60.0)  # 30 s for a unit of work
    waiting = [Training(name, Path(name), ()) for name in "ab"]
    assert pace.seconds_left([], []) == 0
    assert pace.seconds_left([], [at_work(1.0, 29.0), at_work(1.0, 45.0)]) == 1
    assert pace.seconds_left(waiting, [at_work(1.0, 10.0), at_work(1.0, 20.0)]) == (30 + 30 + 20 + 10) / 3
    assert pace.seconds_left(waiting, [at_work(10.0, 0.0)]) == 300  # the longest


def test_no_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        run_trainings(ExperimentFolder(tmp_path, "seeds"), [], workers=0)


@pytest.mark.parametrize(
    ("trainer", "workers", "recorded"),
    [
        ({}, 1, {"GPUs of a training": "all"}),
        ({"devices": -1}, 2, {"GPUs of a training": "1"}),
        ({"devices": 1}, 2, {}),
        ({"devices": 2}, 1, {}),
        ({"accelerator": "cpu"}, 2, {}),
    ],
)
def test_all_trainings_of_an_experiment_have_as_many_gpus(
    trainer: dict[str, Any], workers: int, recorded: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert recorded_devices({"trainer": trainer}, workers) == recorded
    with pytest.raises(UserError, match=r"--workers 2 gives each training one GPU, but trainer\.devices is 2; leave"):
        recorded_devices({"trainer": {"devices": 2}}, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert recorded_devices({"trainer": trainer}, workers) == {}


@pytest.mark.parametrize(
    ("ended_by", "raised", "number"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, signal.SIGINT),
        (SystemExit(143), SystemExit, signal.SIGTERM),
        (2, UserError, signal.SIGTERM),
    ],
    ids=["Ctrl-C", "SIGTERM", "a failure"],
)
def test_what_ends_one_ends_all_in_a_good_moment(
    ended_by: int | BaseException,
    raised: type[BaseException],
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fakes, said = SideBySide(a=0, c=ended_by), []
    with pytest.raises(raised):
        work_side_by_side(tmp_path, 3, fakes, monkeypatch, said)
    assert said[1:] == (["A training failed; those beside it save their state and end"] if ended_by == 2 else [])
    signals = {"b": [number], "c": [number]}  # the fourth has not begun
    if ended_by == 2:  # which has ended by itself
        del signals["c"]
    assert fakes.signals == signals
    noted = json.loads((tmp_path / "experiment.json").read_text())["trainings"]
    assert {name: of["commands"] for name, of in noted.items()} == {"a": 1, "b": 0, "c": 0}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("[]", "does not say what the folder is of"),
        ('{"verb": "curve", "settings": {}, "trainings": {}}', "is a folder of curve"),
        ('{"verb": "seeds", "settings": {"a": "2"}, "trainings": {}}', r"other settings \(a was 2, is 1 now\)"),
    ],
)
def test_folders_of_something_else_are_refused(state: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text(state)
    with pytest.raises(UserError, match=message):
        work_in(tmp_path)
    assert (tmp_path / "experiment.json").read_text() == state


def test_a_setting_that_was_not_known_before_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text('{"verb": "seeds", "settings": {"gone": "x"}, "trainings": {}}')
    assert work_in(tmp_path) == []


def test_of_several_sets_the_first_is_scored(tmp_path: Path) -> None:
    for name in ("en", "de"):
        write_table(tmp_path / name / "per_question.parquet", table_of([1.0], [0]))
    (tmp_path / "metrics.json").write_text(
        json.dumps({"epoch": 1, "val/en/f1": 1.0, "val/de/f1": 1.0, "val/mean_f1": 1.0})
    )
    assert first_set(tmp_path) == tmp_path / "en"
    assert first_set(tmp_path / "de") == tmp_path / "de"


def test_a_training_without_questions_is_not_done_again(begun: list[list[str]], tmp_path: Path) -> None:
    training = Training("t", tmp_path / "t", (("fit",),))  # as one on texts
    work_in(tmp_path, training)
    (tmp_path / "t/per_question.parquet").unlink()
    work_in(tmp_path, training)
    assert len(begun) == 1


def test_a_training_with_several_sets_is_not_done_again(begun: list[list[str]], tmp_path: Path) -> None:
    training = Training("t", tmp_path / "t", (("fit",),))
    work_in(tmp_path, training)
    (tmp_path / "t/en").mkdir()
    (tmp_path / "t/per_question.parquet").rename(tmp_path / "t/en/per_question.parquet")
    (tmp_path / "t/metrics.json").write_text(json.dumps({"val/en/f1": 62.5, "val/mean_f1": 62.5}))
    (tmp_path / "t/config.yaml").touch()
    assert work_in(tmp_path, training) == ["1 of 1: t: F1 62.50, done before"]
    assert len(begun) == 1


def test_settings_stand_behind_what_a_module_prints_when_it_is_imported() -> None:
    assert parse_settings("my: {module\n# lightning.pytorch==2.6\nmodel: {a: 1}\n") == {"model": {"a": 1}}
    assert parse_settings("model: {a: 1}\n") == {"model": {"a": 1}}
    for printed in ("my: {module\n", "", "words\n"):
        with pytest.raises(UserError, match="fit --print_config printed no settings"):
            parse_settings(printed)


def test_what_has_nothing_to_score_is_refused_but_where_the_data_are_of_a_users_class() -> None:
    require_validation({"data": {"class_path": "mine.Data", "init_args": {"folder": "here"}}})
    with pytest.raises(UserError, match="there is nothing to score"):
        require_validation({"data": {"init_args": {"validation_file": None, "train_file": "here"}}})


def test_errors_in_a_line() -> None:
    assert error_of("line\nValueError: one\nRuntimeError: two\nat the end\n") == "two"
    assert error_of("killed\n\n") == "killed"
    assert error_of("") == "it said nothing"


@pytest.mark.slow
def test_a_training_stops_and_saves_when_its_experiment_is_killed(tmp_path: Path) -> None:
    tiny_folder(tmp_path / "model")
    squad = write_long(tmp_path / "squad.json")
    run = tmp_path / "run"
    flags = [*short_training(tmp_path / "model", squad, squad, epochs=100_000), "--run_dir", str(run)]
    code = (
        "import sys, time\nfrom qa_lightning.experiments.commands import start\n"
        "with open(sys.argv[1], 'wb') as log:\n    start(['fit', *sys.argv[2:]], log)\ntime.sleep(600)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    starter = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "log"), *flags], env=environment)
    try:
        wait_until((run / "checkpoints/last.ckpt").exists)
    finally:
        starter.kill()
        starter.wait()
    wait_until(lambda: is_free(run))
    said = (tmp_path / "log").read_text(errors="replace")
    assert "Go on with" in said
    assert "Traceback" not in said


def is_free(run: Path) -> bool:
    """Whether nobody is at work in a folder."""
    try:
        with sole_user(run):
            return True
    except UserError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)
