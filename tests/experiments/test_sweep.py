"""Whole sweeps over a stand-in for a training: run, stopped early, killed, shared, and what goes wrong in them."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from qa_lightning.cli.main import main
from qa_lightning.experiments import sweep as runner
from qa_lightning.experiments import sweep_report, sweep_study
from qa_lightning.experiments.journal import is_free
from qa_lightning.experiments.sweep_file import read_sweep
from qa_lightning.experiments.sweep_study import SweepStudy
from qa_lightning.experiments.trial_process import TrialProcess
from tests import forked
from tests.conftest import ROOT
from tests.experiments.sweeps import LR, SIZES, rows_of, write_sweep

optuna = pytest.importorskip("optuna")

GRID: dict[str, Any] = {"method": "grid", "run_cap": None, "parameters": {"size": SIZES}}
HYPERBAND = {"type": "hyperband", "min_iter": 2, "eta": 2}


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_SECONDS", 0.03)
    monkeypatch.setattr(sweep_report, "importances", lambda study: [])  # it takes seconds, and is tested by itself


def sweep(path: Path, folder: Path, *arguments: str) -> int:
    return main(["sweep", str(path), "--sweep_dir", str(folder), *arguments])


def wait_for(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.02)


def values_logged(run: Path) -> int:
    """How many values a stand-in has logged since it was started last."""
    logs = sorted(run.glob("logs/version_*/metrics.csv"))
    return len(logs[-1].read_text().splitlines()) - 1 if logs else 0


def test_a_sweep_ends_in_its_table_and_the_best_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new/sweep"
    path = write_sweep(tmp_path / "a.yaml", method="bayes", run_cap=5)
    assert sweep(path, folder, "--workers", "2") == 0
    rows = rows_of(folder)
    assert [row["trial"] for row in rows] == list(range(5))
    assert {row["state"] for row in rows} == {"complete"}
    assert len({row["parameters.model.lr"] for row in rows}) == 5
    for row in rows:
        assert 1e-5 <= row["parameters.model.lr"] <= 1e-1
        assert row["parameters.size"] in (1, 2, 3)
        assert row["value"] == max(row["values"])
        assert len(row["values"]) == 4
        assert row["folder"] == str(folder / f"trial-{row['trial']:03}")
        assert row["seconds"] > 0
        assert row["begun"] < row["ended"]
        config = yaml.safe_load(Path(row["folder"], "config.yaml").read_text())
        assert config == {"lr": row["parameters.model.lr"], "size": row["parameters.size"]}
    best = max(rows, key=lambda row: row["value"])
    text = (folder / "best.yaml").read_text()
    assert yaml.safe_load(text)["lr"] == best["parameters.model.lr"]
    assert text.startswith(f"# The best of 5 trials of a.yaml: trial {best['trial']}, val/f1 ")
    printed = capsys.readouterr().out
    assert "5 trials: 5 complete" in printed
    assert f"the best is trial {best['trial']}: val/f1" in printed
    assert (folder / "sweep.html").is_file()


def test_a_grid_takes_every_combination_once(tmp_path: Path) -> None:
    path = write_sweep(
        tmp_path / "a.yaml", **GRID | {"parameters": {"size": {"min": 1, "max": 3}, "kind": {"values": ["a", "b"]}}}
    )
    assert sweep(path, tmp_path / "sweep", "--workers", "3") == 0
    tried = [(row["parameters.size"], row["parameters.kind"]) for row in rows_of(tmp_path / "sweep")]
    assert sorted(tried) == [(size, kind) for size in (1, 2, 3) for kind in "ab"]


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_the_same_seed_draws_the_same_however_often_it_was_interrupted(method: str, tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "a.yaml", method=method, run_cap=20)

    def draw(name: str, often: int, seed: int = 0) -> list[float]:
        found = []
        while len(found) < 20:
            study = SweepStudy(tmp_path / name, read_sweep(path), seed=seed)
            while (trial := study.next(None)) is not None:
                found.append(trial.values["model.lr"])
                study.report(trial, found[-1])
                study.finish(trial, "complete", [found[-1]], 1.0)
                if len(found) % often == 0:
                    break
        return found

    whole = draw("whole", 20)
    assert len(set(whole)) == 20
    assert draw("parts", 3) == whole
    assert not {*whole} & {*draw("other", 20, seed=1)}
    # Draws go where the value is, which is the rate itself.
    assert method == "random" or sum(whole[10:]) > 2 * sum(whole[:10])


def reported(study: SweepStudy, values: list[float]) -> list[bool]:
    """Begins a trial that has these values, and returns after which it is to be stopped."""
    trial = study.next(None)
    assert trial is not None
    stops = [study.report(trial, value) for value in values]
    study.finish(trial, "complete", values, 1.0)
    return stops


def test_trials_are_compared_in_the_brackets_of_the_file(tmp_path: Path) -> None:
    stopping = {"type": "hyperband", "max_iter": 26, "s": 2, "eta": 3}  # after 2 and 8 values
    path = write_sweep(tmp_path / "a.yaml", early_terminate=stopping, run_cap=9)
    study = SweepStudy(tmp_path / "sweep", read_sweep(path))
    assert not any(reported(study, [10.0] * 12))  # the first has nobody to be compared with
    assert reported(study, [99.0, 9.0]) == [False, True]  # the best of two goes on
    assert not any(reported(study, [0.0, 11.0, 0.0, 0.0, 0.0, 0.0, 0.0, 12.0, 0.0]))
    assert reported(study, [0.0, 12.0, 0.0, 0.0, 0.0, 0.0, 99.0, 11.0, 0.0]) == [*[False] * 7, True, False]
    # Of five, one goes on, and of six, two.
    assert reported(study, [0.0, 11.5]) == [False, True]
    assert reported(study, [0.0, 11.6]) == [False, False]


def test_a_stopped_trial_ends_by_sigterm(tmp_path: Path) -> None:
    path = write_sweep(
        tmp_path / "a.yaml",
        **GRID | {"early_terminate": HYPERBAND, "parameters": {"size": {"values": [1, 2, 3]}, "values": {"value": 40}}},
    )
    assert sweep(path, tmp_path / "sweep", "--workers", "3", "--", "--seconds", "0.05") == 0
    rows = rows_of(tmp_path / "sweep")
    stopped = [row for row in rows if row["state"] == "stopped"]
    assert stopped
    assert [row["parameters.size"] for row in rows if row["state"] == "complete"] == [3]
    for row in stopped:
        assert (Path(row["folder"]) / "stopped").read_text() == str(int(signal.SIGTERM))
        assert len(row["values"]) < 40
    assert yaml.safe_load((tmp_path / "sweep/best.yaml").read_text())["size"] == 3


@pytest.fixture
def held(tmp_path: Path) -> tuple[Path, Path, list[Any]]:
    """A sweep of three trials, its folder, and the command that runs it with two workers; they wait for ``hold``."""
    path = write_sweep(tmp_path / "a.yaml", **GRID)
    folder = tmp_path / "sweep"
    command = ["sweep", path, "--sweep_dir", folder, "--workers", "2", "--", "--hold", tmp_path / "hold"]
    return path, folder, command


def start(command: list[Any]) -> forked.Forked:
    return forked.Forked(["-m", "qa_lightning", *command], env={**os.environ, "PYTHONPATH": str(ROOT)})


def both_wait(folder: Path) -> bool:
    return all(values_logged(folder / f"trial-00{number}") == 2 for number in (0, 1))


def check_gone_on(folder: Path) -> None:
    rows = rows_of(folder)
    assert [(row["trial"], row["state"], len(row["values"])) for row in rows] == [
        (number, "complete", 4) for number in range(3)
    ]
    assert sorted(row["parameters.size"] for row in rows) == [1, 2, 3]
    for number in (0, 1):
        assert len(list((folder / f"trial-00{number}").glob("logs/version_*"))) == 2  # it went on, from the third value
        assert rows[number]["values"] == [rows[number]["values"][0] + 5 * step for step in range(4)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its starter is gone")
def test_a_killed_sweep_goes_on_with_the_same_command(held: tuple[Path, Path, list[Any]]) -> None:
    _, folder, command = held
    process = start(command)
    wait_for(lambda: both_wait(folder), "two trials at work")
    process.kill()
    process.communicate(60)
    wait_for(lambda: all((folder / f"trial-00{n}/stopped").exists() for n in (0, 1)), "the end of its trials")
    (folder.parent / "hold").touch()
    assert main([str(word) for word in command]) == 0
    check_gone_on(folder)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_says_how_to_go_on(held: tuple[Path, Path, list[Any]], number: int) -> None:
    _, folder, command = held
    process = start(command)
    wait_for(lambda: both_wait(folder), "two trials at work")
    process.send_signal(number)
    printed, complaints = process.communicate(60)
    assert process.returncode == 128 + number
    assert "Go on with:\n" in complaints
    assert f"-m qa_lightning sweep {command[1]} --sweep_dir {folder} --workers 2 -- --hold" in complaints
    assert "Traceback" not in complaints
    assert "2 trials: 2 not ended" in printed
    assert [row["state"] for row in rows_of(folder)] == ["not ended", "not ended"]
    assert (folder / "sweep.html").is_file()
    (folder.parent / "hold").touch()
    assert main([str(word) for word in command]) == 0
    check_gone_on(folder)
    assert all(row["seconds"] > 0 for row in rows_of(folder))


@pytest.mark.slow
def test_a_second_ctrl_c_ends_trials_at_once(held: tuple[Path, Path, list[Any]]) -> None:
    _, folder, command = held
    process = start([*command, "--stubborn"])  # which does not heed a SIGTERM
    wait_for(lambda: both_wait(folder), "two trials at work")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "Ctrl-C again ends them at once" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(60)
    assert process.returncode == 130
    assert "Traceback" not in complaints
    assert "Go on with:" in complaints
    for number in (0, 1):
        with pytest.raises(ProcessLookupError):
            os.kill(int((folder / f"trial-00{number}/pid").read_text()), 0)
    assert [row["state"] for row in rows_of(folder)] == ["not ended", "not ended"]


def test_a_ctrl_c_while_trials_save_their_state_ends_them_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(process: TrialProcess) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrialProcess, "wait", interrupt)
    # What it does not log ends the sweep, which asks the trial to save its state; it does not heed that.
    path = write_sweep(tmp_path / "a.yaml", metric={"name": "val/F1"})
    assert sweep(path, tmp_path / "sweep", "--", "--hold", str(tmp_path / "hold"), "--stubborn") == 130
    assert "Go on with:" in capsys.readouterr().err
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "sweep/trial-000/pid").read_text()), 0)


def test_a_sweep_begins_where_another_process_was_killed_before_it_had_a_journal(tmp_path: Path) -> None:
    (tmp_path / "sweep/.claims/next").mkdir(parents=True)
    path = write_sweep(tmp_path / "a.yaml", run_cap=1)
    assert sweep(path, tmp_path / "sweep") == 0
    assert len(rows_of(tmp_path / "sweep")) == 1


def test_claims_are_looked_at_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Who looks at a claim holds it for a moment: another process that had just begun the trial could not take it.
    study = SweepStudy(tmp_path / "sweep", read_sweep(write_sweep(tmp_path / "a.yaml", **GRID)))
    trial = study.next(None)
    assert trial is not None
    turns: list[bool] = []

    def look(folder: Path) -> bool:
        turns.append(not is_free(tmp_path / "sweep/.claims/next"))
        return is_free(folder)

    monkeypatch.setattr(sweep_study, "is_free", look)
    assert study.orphans() == []
    assert turns == [True]


def test_bayes_draws_elsewhere_than_where_a_trial_is_at_work(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "a.yaml", method="bayes", run_cap=None, parameters={"model.lr": LR})

    def rates(state: str) -> list[float]:
        study = SweepStudy(tmp_path / state, read_sweep(path))
        for _ in range(14):
            trial = study.next(None)
            assert trial is not None
            if trial.number != 12:
                value = -abs(math.log10(study.trials()[-1].params["model.lr"]) + 3)
                study.report(trial, value)
                study.finish(trial, "complete", [value], 1.0)
            elif state == "fail":
                study.finish(trial, state, [], 1.0)
        return [trial.params["model.lr"] for trial in study.trials()]

    at_work, failed = rates("running"), rates("fail")
    assert at_work[:13] == failed[:13]
    assert at_work[13] != failed[13]


@pytest.mark.slow
def test_two_sweeps_share_a_folder(held: tuple[Path, Path, list[Any]]) -> None:
    path, folder, command = held
    first = start(command)
    wait_for(lambda: both_wait(folder), "two trials at work")
    second = start(command)
    wait_for(lambda: values_logged(folder / "trial-002") == 2, "the third trial, by the second")
    (folder.parent / "hold").touch()
    outputs = [process.communicate(60)[0] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0]
    assert [re.findall(r"trial (\d) begins", output) for output in outputs] == [["0", "1"], ["2"]]
    assert len(list((folder / "trial-000").glob("logs/version_*"))) == 1  # nobody took it over
    assert sweep(path, folder, "--workers", "2", "--", "--hold", str(folder.parent / "hold")) == 0
    assert [row["state"] for row in rows_of(folder)] == ["complete"] * 3


def test_a_trial_whose_training_outlived_its_sweep_is_waited_for(tmp_path: Path) -> None:
    from qa_lightning.utils.locks import sole_user

    path = write_sweep(tmp_path / "a.yaml", **GRID | {"run_cap": 1})
    study = SweepStudy(tmp_path / "sweep", read_sweep(path))
    trial = study.next(None)
    assert trial is not None
    trial.claim.close()  # as its process is gone
    with sole_user(study.run_of(0)):  # and the training in it is not
        assert study.next(None) is None
        assert study.orphans() == [0]
    again = study.next(None)
    assert again is not None
    assert (again.number, again.goes_on, again.values) == (0, True, trial.values)
    assert study.orphans() == []  # it is ours
    assert SweepStudy(tmp_path / "sweep", read_sweep(path)).next(None) is None


def test_a_trial_that_was_killed_before_it_had_drawn_draws(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "a.yaml", **GRID)
    study = SweepStudy(tmp_path / "sweep", read_sweep(path))
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "sweep/journal.log"))
    )
    optuna.load_study(study_name="sweep", storage=storage).ask()
    trial = study.next(None)
    assert trial is not None
    assert (trial.number, trial.goes_on) == (0, True)
    assert trial.values["size"] in (1, 2, 3)


def test_a_half_written_line_of_the_journal_is_dropped(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "a.yaml", run_cap=1)
    assert sweep(path, tmp_path / "sweep") == 0
    journal = tmp_path / "sweep/journal.log"
    with journal.open("a") as stream:
        stream.write('{"op_code":')
    assert sweep(path, tmp_path / "sweep", "--run_cap", "2") == 0
    assert len(rows_of(tmp_path / "sweep")) == 2


def test_failures_do_not_end_a_sweep_and_can_be_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_sweep(tmp_path / "a.yaml", **GRID | {"parameters": {"size": SIZES, "fails": {"value": "1,2"}}})
    folder = tmp_path / "sweep"
    assert sweep(path, folder) == 0
    printed = capsys.readouterr().out
    assert re.search(r"trial \d failed \(status 1\): no such size; its output is in .*trial-00\d\.log", printed)
    assert "3 trials: " in printed
    states = {row["parameters.size"]: row["state"] for row in rows_of(folder)}
    assert states == {1: "failed", 2: "failed", 3: "complete"}
    assert sweep(path, folder) == 0  # it is at its end
    assert "begins" not in capsys.readouterr().out
    (folder / "repaired").touch()
    assert sweep(path, folder, "--repeat_failed") == 0
    assert "2 trials that failed are tried again" in capsys.readouterr().out
    states = {row["parameters.size"]: row["state"] for row in rows_of(folder)}
    assert states == {1: "complete", 2: "complete", 3: "complete"}
    assert len(rows_of(folder)) == 3


def test_a_sweep_ends_where_the_first_trials_all_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_sweep(tmp_path / "a.yaml", parameters={"size": {"value": 1}, "fails": {"value": "1"}}, run_cap=50)
    assert sweep(path, tmp_path / "sweep") == 2
    error = capsys.readouterr().err
    assert "error: the first 3 trials failed; the last: trial 2 failed (status 1): no such size" in error
    assert len(rows_of(tmp_path / "sweep")) == 3


def test_a_metric_that_is_never_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # That it is another one of the validation is known at the first.
    path = write_sweep(tmp_path / "a.yaml", metric={"name": "val/F1"})
    hold = ["--", "--hold", str(tmp_path / "hold")]
    assert sweep(path, tmp_path / "sweep", *hold) == 2
    error = capsys.readouterr().err
    assert error == "error: metric.name: trial 0 never logged 'val/F1'; it logged train/loss, val/f1\n"
    assert (tmp_path / "sweep/trial-000/stopped").exists()
    path = write_sweep(tmp_path / "b.yaml", metric={"name": "test/f1"})
    assert sweep(path, tmp_path / "other") == 2
    assert "trial 0 never logged 'test/f1'; it logged train/loss, val/f1" in capsys.readouterr().err


def test_a_trial_whose_metric_is_no_number_fails_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # As when its loss is not a number, it logs all but that; the first to be drawn has it.
    path = write_sweep(tmp_path / "a.yaml", **GRID | {"parameters": {"metric": {"values": ["val/f1", "val/other"]}}})
    assert sweep(path, tmp_path / "sweep", "--seed", "1") == 0
    assert {row["parameters.metric"]: row["state"] for row in rows_of(tmp_path / "sweep")} == {
        "val/f1": "complete",
        "val/other": "failed",
    }
    assert "trial 1 failed (status 0): it never logged a number as val/f1; its output" in capsys.readouterr().out


def test_a_program_that_cannot_be_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_sweep(tmp_path / "a.yaml", command=["no-such-program", "${args}"])
    assert sweep(path, tmp_path / "sweep") == 2
    assert capsys.readouterr().err == "error: no-such-program: cannot be started: No such file or directory\n"


def test_a_target_ends_a_sweep(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "a.yaml", metric={"name": "val/f1", "goal": "maximize", "target": 10.0}, run_cap=9)
    assert sweep(path, tmp_path / "sweep") == 0
    assert len(rows_of(tmp_path / "sweep")) == 1


def test_less_can_be_better(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "a.yaml", **GRID | {"metric": {"name": "val/f1"}})
    assert sweep(path, tmp_path / "sweep") == 0
    assert yaml.safe_load((tmp_path / "sweep/best.yaml").read_text())["size"] == 1
    assert all(row["value"] == min(row["values"]) for row in rows_of(tmp_path / "sweep"))


@pytest.mark.parametrize(
    ("changes", "arguments", "what"),
    [
        ({"parameters": {"size": {"values": [1, 2]}}}, (), "parameters"),
        ({"method": "random", "run_cap": 3}, (), "method"),
        ({}, ("--seed", "1"), "seed"),
        ({}, ("--", "--kind", "x"), "command"),
        ({"metric": {"name": "val/f1"}, "early_terminate": HYPERBAND}, (), "metric and another early_terminate"),
    ],
)
def test_a_folder_is_that_of_one_sweep(
    changes: dict[str, Any], arguments: tuple[str, ...], what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sweep"
    SweepStudy(folder, read_sweep(write_sweep(tmp_path / "a.yaml", **GRID)))
    path = write_sweep(tmp_path / "a.yaml", **GRID | changes)
    assert sweep(path, folder, *arguments) == 2
    assert f"error: {folder} was begun with another {what}; go on with that" in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_sweep(tmp_path / "a.yaml")
    assert sweep(path, tmp_path) == 2
    assert f"{tmp_path}: not empty, and no folder of a sweep" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["a.yaml"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/journal.log").write_text('{"a": 1}\n')
    assert sweep(path, tmp_path / "other") == 2
    assert "journal.log: not the trials of a sweep" in capsys.readouterr().err


def test_each_worker_has_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = "import os, sys; open(sys.argv[2] + '.gpu', 'w').write(os.environ['CUDA_VISIBLE_DEVICES']); sys.exit(1)"
    path = write_sweep(
        tmp_path / "a.yaml", **GRID | {"command": ["${interpreter}", "-c", code, "${args_no_equals}"], "run_cap": 2}
    )
    # The value of --size is where the code looks for a name.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,3")
    assert sweep(path, tmp_path / "sweep", "--workers", "2") == 0
    assert sorted(file.read_text() for file in tmp_path.glob("*.gpu")) == ["3", "GPU-a"]
    assert [file.read_text() for file in tmp_path.glob("sweep/*.gpu")] == []


def test_wandb_stays_here_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = "import os; open('mode', 'a').write(os.environ['WANDB_MODE'] + ' '); raise SystemExit(1)"
    path = write_sweep(
        tmp_path / "a.yaml", **GRID | {"command": ["${interpreter}", "-c", code, "${args}"], "run_cap": 1}
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert sweep(path, tmp_path / "one") == 0
    monkeypatch.setenv("WANDB_MODE", "online")
    assert sweep(path, tmp_path / "two") == 0
    assert (tmp_path / "mode").read_text() == "offline online "


@pytest.mark.slow
def test_it_needs_no_wandb_and_help_imports_nothing(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "a.yaml", run_cap=1)
    code = (
        "import sys; sys.modules['wandb'] = None\n"
        "from qa_lightning.cli.main import main\n"
        f"status = main(['sweep', {str(path)!r}, '--sweep_dir', {str(tmp_path / 'sweep')!r}])\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules), 'slow to start'\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(rows_of(tmp_path / "sweep")) == 1
    code = (
        "import sys\nfrom qa_lightning.cli.main import main\n"
        "try:\n    main(['sweep', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'optuna', 'matplotlib', 'pyarrow', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_python_users_have_it_too(tmp_path: Path) -> None:
    said: list[str] = []
    study = SweepStudy(tmp_path / "sweep", read_sweep(write_sweep(tmp_path / "a.yaml", run_cap=1)))
    assert runner.run_sweep(study, say=said.append) is None
    assert said[0].startswith("trial 0 begins: model.lr ")
    assert LR["min"] <= rows_of(tmp_path / "sweep")[0]["parameters.model.lr"] <= LR["max"]
