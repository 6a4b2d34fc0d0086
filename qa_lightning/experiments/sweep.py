"""Runs a sweep: trials in processes of their own, side by side, until it has come to its end or is interrupted."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from qa_lightning.experiments.devices import devices_of
from qa_lightning.experiments.sweep_command import render, write_json_file
from qa_lightning.experiments.sweep_study import SweepStudy, Trial
from qa_lightning.experiments.sweep_table import write_tables
from qa_lightning.experiments.trial_process import TrialProcess
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.history import Curves, read_curves
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.secrets import hide_secrets
from qa_lightning.utils.signals import DeferredSignals
from qa_lightning.utils.terminal import printable

MOST_FAILURES = 3
"""After so many trials that failed, and none that did not, a sweep ends: the next would fail, too."""

_SECONDS = 0.5
"""How often it is looked what trials have come to."""

_WANDB = "WANDB_MODE"


@dataclass
class _Work:
    """A trial at work.

    Attributes:
        trial: The trial.
        process: Its process.
        begun: When that was started.
        values: The values of the metric, as they were read last; while it runs, the last may be half-written.
        stops: Whether it was asked to stop, since others are better.
    """

    trial: Trial
    process: TrialProcess
    begun: float
    values: list[float] = field(default_factory=list)
    stops: bool = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun


def run_sweep(
    study: SweepStudy,
    *,
    workers: int = 1,
    run_cap: int | None = None,
    repeat_failed: bool = False,
    say: Callable[[str], None] = print,
) -> int | None:
    """Runs a sweep to its end, or goes on with it; others may work at it at the same time.

    Args:
        study: The sweep's trials, whose folder lies on a file system that knows locks.
        workers: How many trials run side by side here. Of several, each has one GPU, where there are any.
        run_cap: How many trials there are at most; None: as many as the file says.
        repeat_failed: Whether trials that failed are tried again.
        say: Prints a line.

    Returns:
        The signal that interrupted it: then it can go on. None where it came to its end.

    Raises:
        UserError: Where it has no end, no trial logs the metric, or the first ones all fail.
    """
    if study.most(run_cap) == math.inf:
        raise UserError(
            f"{study.sweep.path}: method {study.sweep.method} has no end; add run_cap to the file, or --run_cap N"
        )
    if repeat_failed:
        say(f"{study.repeat_failed()} trials that failed are tried again")
    try:
        return _Runner(study, devices_of(workers), run_cap, say).run()
    finally:
        write_tables(study)


class _Runner:
    """Keeps as many trials at work as there are workers.

    Args:
        study: The trials.
        devices: For each worker, what its trials have in their environment.
        run_cap: How many trials there are at most.
        say: Prints a line.
    """

    def __init__(
        self,
        study: SweepStudy,
        devices: Sequence[Mapping[str, str]],
        run_cap: int | None,
        say: Callable[[str], None],
    ) -> None:
        self._study = study
        self._sweep = study.sweep
        self._devices = devices
        self._run_cap = run_cap
        self._say = say
        self._work: list[_Work | None] = [None] * len(devices)
        self._failures = 0
        self._ended_well = False

    def run(self) -> int | None:
        """Runs trials until there are none to begin; returns the signal that interrupted it."""
        signals = DeferredSignals()
        with self._none_left_behind():
            signals.begin(lambda: None, "Stopping: trials save their state. Ctrl-C again ends them at once")
            try:
                while signals.signal is None:
                    self._begin_trials()
                    if not any(self._work) and not self._study.orphans():
                        break
                    time.sleep(_SECONDS)
                    for worker in range(len(self._work)):
                        self._look_at(worker)
                self._leave()
            finally:
                signals.end()
        return signals.signal

    @contextmanager
    def _none_left_behind(self) -> Iterator[None]:
        """Ends what still runs where an error, or a second Ctrl-C, ends the sweep."""
        try:
            yield
        except KeyboardInterrupt:
            for work in filter(None, self._work):
                work.process.kill()
            raise
        except BaseException:
            self._leave()
            raise

    def _begin_trials(self) -> None:
        for worker, work in enumerate(self._work):
            if work is None:
                trial = self._study.next(self._run_cap)
                if trial is None:
                    return
                self._work[worker] = self._start(trial, self._devices[worker])

    def _start(self, trial: Trial, device: Mapping[str, str]) -> _Work:
        run = self._study.run_of(trial.number)
        json_file = run.with_suffix(".json")
        write_json_file(self._sweep.command, trial.values, json_file)
        command = render(
            self._sweep.command,
            self._sweep.program,
            trial.values,
            interpreter=sys.executable,
            json_file=json_file,
        )
        command += [*self._study.flags, "--run_dir", str(run)]
        if RunFolder(run).config.is_file():
            command += ["--ckpt_path", "last"]
        how = "goes on" if trial.goes_on else "begins"
        self._say(f"trial {trial.number} {how}: {_in_words(trial.values)}")
        # Nothing needs an account: what W&B has of a trial stays in its folder, unless the user says otherwise.
        environment = {_WANDB: os.environ.get(_WANDB, "offline"), **device}
        return _Work(trial, TrialProcess(command, run.with_suffix(".log"), environment), time.monotonic())

    def _look_at(self, worker: int) -> None:
        work = self._work[worker]
        if work is None:
            return
        status = work.process.poll()
        curves = self._curves(work)
        values = self._values(curves)
        if not values:
            self._check_logged(work, curves, status)
        known = values
        if status is None:  # a value counts once it was read twice: the file may have been read while it was written
            known = values[: len(work.values)] if values[: len(work.values)] == work.values else []
        work.values = values
        self._report(work, known, runs=status is None)
        if status is not None:
            self._work[worker] = None
            self._end(work, status)

    def _curves(self, work: _Work) -> Curves:
        """What a trial has logged; nothing where that cannot be read, as while it is written."""
        try:
            return read_curves(self._study.run_of(work.trial.number))
        except UserError:
            return {}

    def _values(self, curves: Curves) -> list[float]:
        name = self._sweep.metric.name
        return [float(value) for value in curves[name][1]] if name in curves else []

    def _check_logged(self, work: _Work, curves: Curves, status: int | None) -> None:
        """Ends the sweep where a trial has come to its end without the metric, or has validated without it.

        Where another trial has it, the name is right: it was no number in this one, which fails alone.

        Raises:
            UserError: Where it is so.
        """
        name = self._sweep.metric.name
        validated = name.startswith("val/") and any(other.startswith("val/") for other in curves)
        if status == 0 or (status is None and validated):
            if any(trial.intermediate_values for trial in self._study.trials()):
                return
            logged = ", ".join(sorted(curves)) or "nothing (is trainer.logger false?)"
            raise UserError(f"metric.name: trial {work.trial.number} never logged {name!r}; it logged {logged}")

    def _report(self, work: _Work, values: Sequence[float], *, runs: bool) -> None:
        metric = self._sweep.metric.name
        for value in values[work.trial.reported :]:
            stops = self._study.report(work.trial, value)
            self._say(f"trial {work.trial.number}: {metric} {value:.4g} (value {work.trial.reported})")
            if stops and runs and not work.stops:
                self._say(f"trial {work.trial.number} stops: others are better after as many values")
                work.stops = True
                work.process.stop()

    def _end(self, work: _Work, status: int) -> None:
        number, values = work.trial.number, work.values
        if work.stops and status != 0:  # else it had come to its end already
            self._study.finish(work.trial, "pruned", values, work.seconds)
            RunFolder(self._study.run_of(number)).last_checkpoint.unlink(missing_ok=True)  # it does not go on
        elif status == 0 and values:
            self._study.finish(work.trial, "complete", values, work.seconds)
            self._say(f"trial {number} ends: {self._sweep.metric.name} {self._sweep.metric.best(values):.4g}")
        else:
            self._study.finish(work.trial, "fail", values, work.seconds)
            self._fail(work, status)
            return
        self._ended_well = True
        write_tables(self._study)

    def _fail(self, work: _Work, status: int) -> None:
        number = work.trial.number
        how = f"signal {-status}" if status < 0 else f"status {status}"
        said = work.process.error() if status else f"it never logged a number as {self._sweep.metric.name}"
        line = f"trial {number} failed ({how}): {said}; its output is in {work.process.log}"
        self._failures += 1
        if self._failures == MOST_FAILURES and not self._ended_well:
            raise UserError(f"the first {MOST_FAILURES} trials failed; the last: {line}")
        self._say(line)

    def _leave(self) -> None:
        """Stops what runs, and leaves it to go on later; what has just come to its end counts."""
        held = [work for work in self._work if work is not None]
        self._work = [None] * len(self._work)
        try:
            for work in held:
                work.process.stop()
            for work in held:
                self._leave_one(work, work.process.wait())
        except (
            KeyboardInterrupt
        ):  # the second one, mostly: trials save their state for longer than one waits for the first
            for work in held:
                work.process.kill()
            raise

    def _leave_one(self, work: _Work, status: int) -> None:
        values = self._values(self._curves(work))
        if status == 0 and values:
            self._report(work, values, runs=False)
            self._study.finish(work.trial, "complete", values, work.seconds)
        elif work.stops:
            self._study.finish(work.trial, "pruned", values, work.seconds)
        else:
            self._study.leave(work.trial, work.seconds)


def _in_words(values: Mapping[str, Any]) -> str:
    shown = hide_secrets(dict(values))
    return printable(", ".join(f"{name} {_number(value)}" for name, value in shown.items()))


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
