"""Does the trainings of an experiment as processes: those that are done are not done again, others go on."""

from __future__ import annotations

import json
import subprocess
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qa_lightning.experiments import commands
from qa_lightning.experiments.devices import devices_of
from qa_lightning.experiments.folder import ExperimentFolder
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.history import read_scores
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.locks import sole_user
from qa_lightning.utils.pace import duration
from qa_lightning.utils.terminal import printable

_PATIENCE = 60.0
"""Seconds that a process may take to end whose experiment was killed."""

_MOMENT = 0.1
"""Seconds that one training is waited for before another is looked at."""


@dataclass(frozen=True)
class Training:
    """A training of an experiment, with what is evaluated after it.

    Attributes:
        name: What it is called.
        run: The run's folder.
        commands: The command lines, each from its verb on, without ``--run_dir`` and ``--ckpt_path``.
        work: How long it takes beside the experiment's others, in any unit.
    """

    name: str
    run: Path
    commands: tuple[tuple[str, ...], ...]
    work: float = 1.0

    def command(self, number: int) -> list[str]:
        """A command line by its number; a training goes on from where it was interrupted."""
        return [*self.commands[number], "--run_dir", str(self.run), "--ckpt_path", "last"]

    @property
    def scored(self) -> Path:
        """The folder that holds what the last command scored: of several evaluation sets, the first."""
        verb = self.commands[-1][0]
        return first_set(self.run if verb == "fit" else self.run / verb)


def run_trainings(
    experiment: ExperimentFolder, trainings: Sequence[Training], say: Callable[[str], None] = print, *, workers: int = 1
) -> None:
    """Does each training that is not done yet, and says so in a line: its scores, its seconds, and what is left.

    What ends this process, or one of the trainings, ends those at work in a good moment, from which they can go on.

    Args:
        experiment: The folder, which notes what is done, and keeps the output of each training in ``NAME.log``.
        trainings: The trainings, in the order in which they begin.
        say: Prints a line.
        workers: How many are at work side by side, one at least. Of several, each has one GPU, where there are any.

    Raises:
        UserError: One failed; the message has its own, and where its output is.
        ValueError: There are no workers.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    trainings = list(dict.fromkeys(trainings))
    waiting = deque(training for training in trainings if not _is_done(experiment, training))
    ended = 0
    for training in trainings:
        if training not in waiting:
            ended += 1
            say(_line(ended, len(trainings), training, "done before"))
    devices, pace = devices_of(workers), _Pace(workers)
    running: dict[int, _Running] = {}
    try:
        while waiting or running:
            for worker in range(workers):
                if waiting and worker not in running:
                    running[worker] = _Running(experiment, waiting.popleft(), devices[worker])
            for worker, each in list(running.items()):
                if each.goes_on():
                    continue
                del running[worker]
                ended += 1
                pace.add(each.training.work, each.seconds)
                left = pace.seconds_left(waiting, running.values())
                rest = f"; about {duration(left)} left" if waiting or running else ""
                say(_line(ended, len(trainings), each.training, f"{duration(each.seconds)}{rest}"))
    except BaseException as reason:
        _stop(list(running.values()), reason, say)
        raise


def first_set(folder: Path) -> Path:
    """The folder with an evaluation's questions: itself, or of several named sets, that of the first."""
    if RunFolder(folder).questions.is_file() or not folder.is_dir():
        return folder
    scores = _names_of_sets(folder)
    return next((folder / name for name in scores if RunFolder(folder / name).questions.is_file()), folder)


def _is_scored(folder: Path) -> bool:
    # The scores of named sets stand above their questions, and a training on texts has no questions.
    return RunFolder(folder).questions.is_file() or RunFolder(folder).metrics.is_file()


class _Pace:
    """How long trainings take.

    Args:
        workers: How many are at work side by side.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._work = self._seconds = 0.0

    def add(self, work: float, seconds: float) -> None:
        """Takes note of a training: its work, and the seconds that it took."""
        self._work, self._seconds = self._work + work, self._seconds + seconds

    def seconds_left(self, waiting: Collection[Training], running: Collection[_Running]) -> float:
        """Estimates the seconds until all others have ended."""
        each = self._seconds / self._work
        of_running = [max(0.0, each * other.training.work - other.seconds_by_now) for other in running]
        total = sum(of_running) + sum(each * training.work for training in waiting)
        side_by_side = max(1, min(self._workers, len(waiting) + len(running)))
        return max(total / side_by_side, *of_running, 0.0)


class _Running:
    """A training at work: what is left of its commands, one after the other.

    Args:
        experiment: The experiment's folder.
        training: The training.
        device: What its environment has besides this process'.

    Attributes:
        training: The training.
        process: The process at work; None where it has ended.
        seconds: The seconds that it took until it was noted last, with those of earlier attempts.
    """

    def __init__(self, experiment: ExperimentFolder, training: Training, device: Mapping[str, str]) -> None:
        self._experiment = experiment
        self._device = device
        self.training = training
        self._done, self.seconds = _done_before(experiment, training)
        if not RunFolder(training.run).holds_a_model:
            self._done, self.seconds = 0, 0.0
        self._done = min(self._done, len(training.commands) - 1)  # what it left last is gone
        self.process: commands.Process | None = None
        self._begun, self._begin_of_log = 0.0, 0
        _wait_for(training.run)
        self._log = experiment.path / f"{training.name}.log"
        self._begin()

    def goes_on(self) -> bool:
        """Waits a moment for the end of a command, after which the next one begins; false after the last.

        Raises:
            UserError: A command failed.
        """
        assert self.process is not None
        try:
            status = self.process.wait(_MOMENT)
        except subprocess.TimeoutExpired:
            return True
        self.process = None
        if status:
            self.note()
            said = commands.error_of(self._log.read_bytes()[self._begin_of_log :].decode(errors="replace"))
            raise UserError(f"{self.training.name} failed (status {status}): {said}; its output is in {self._log}")
        self._done += 1
        self.note()
        if self._done == len(self.training.commands):
            return False
        self._begin()
        return True

    @property
    def seconds_by_now(self) -> float:
        """The seconds that it took, those since the last note among them."""
        return self.seconds + time.monotonic() - self._begun

    def note(self) -> None:
        """Notes what is done, and the seconds that it took."""
        self.seconds = self.seconds_by_now
        self._begun = time.monotonic()
        self._experiment.note(self.training.name, self._done, self.seconds)

    def leave(self, status: int) -> None:
        """Notes what is done after it was stopped, where it may just have come to its end."""
        self._done += status == 0
        self.note()

    def _begin(self) -> None:
        self._begun = time.monotonic()
        with self._log.open("ab") as output:
            self._begin_of_log = output.tell()
            command = self.training.command(self._done)
            self.process = commands.start(command, output, environment=self._device)


def _stop(running: Sequence[_Running], reason: BaseException, say: Callable[[str], None]) -> None:
    """Ends trainings in a good moment, and notes what is done of them."""
    left = {each: each.process for each in running if each.process is not None}
    if isinstance(reason, UserError) and left:
        say("A training failed; those beside it save their state and end")
    try:
        for each, status in zip(left, commands.stop(list(left.values()), reason), strict=True):
            each.leave(status)
    except BaseException:
        for each in left:
            each.note()
        raise


def _done_before(experiment: ExperimentFolder, training: Training) -> tuple[int, float]:
    """How many commands of a training are noted as done, and the seconds that they took."""
    noted = experiment.done.get(training.name, {"commands": 0.0, "seconds": 0.0})
    return int(noted["commands"]), noted["seconds"]


def _is_done(experiment: ExperimentFolder, training: Training) -> bool:
    """Whether nothing is left of a training."""
    return _done_before(experiment, training)[0] == len(training.commands) and _is_scored(training.scored)


def _wait_for(run: Path) -> None:
    """Waits for the end of a process that is at work in a run's folder, as one is whose experiment was just killed."""
    until = time.monotonic() + _PATIENCE
    while run.is_dir():
        try:
            with sole_user(run):
                return
        except UserError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def _line(number: int, total: int, training: Training, rest: str) -> str:
    scores = read_scores(training.scored)
    shown = [f"{label} {scores[name]:.2f}" for label, name in (("F1", "f1"), ("EM", "exact_match")) if name in scores]
    return f"{number} of {total}: {printable(training.name)}: {', '.join([*shown, rest])}"


def _names_of_sets(folder: Path) -> list[str]:
    """The names of the evaluation sets of a run, in their order."""
    try:
        metrics: Any = json.loads(RunFolder(folder).metrics.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return list(dict.fromkeys(key.split("/")[1] for key in metrics if key.count("/") == 2))
