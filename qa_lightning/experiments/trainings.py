"""Starts trainings as processes, one after the other: those that are done are not done again, others go on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from qa_lightning.experiments.folder import ExperimentFolder
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.history import read_scores
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.locks import sole_user
from qa_lightning.utils.pace import duration
from qa_lightning.utils.processes import STARTED_BY
from qa_lightning.utils.terminal import one_line, printable

_ERROR = re.compile(r"^(?:error: |[\w.]*(?:Error|Exception): )(.*)$", re.MULTILINE)
_PATIENCE = 60.0
"""Seconds that a process may take to end whose experiment was killed."""


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


class Process(Protocol):
    """What is used of a process, as `subprocess.Popen` has it."""

    def wait(self, timeout: float | None = None) -> int: ...  # noqa: D102 - see above
    def send_signal(self, number: int, /) -> None: ...  # noqa: D102
    def kill(self) -> None: ...  # noqa: D102


def start(arguments: Sequence[str], output: IO[bytes], errors: IO[bytes] | None = None) -> Process:
    """Starts a command of this package as a process of its own, which ends when this one does.

    It is in a session of its own, so that Ctrl-C reaches it once, through this process.

    Args:
        arguments: The command line from the verb on.
        output: The file that it writes to.
        errors: The file that it writes errors to; None: the same.
    """
    return subprocess.Popen(  # noqa: S603 - these are this program's own arguments
        [sys.executable, "-m", "qa_lightning", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if errors is None else errors,
        env=os.environ | {STARTED_BY: str(os.getpid())},
        start_new_session=True,
    )


def run_trainings(
    experiment: ExperimentFolder, trainings: Sequence[Training], say: Callable[[str], None] = print
) -> None:
    """Does each training that is not done yet, and says so in a line: its scores, its seconds, and what is left.

    Args:
        experiment: The folder, which notes what is done, and keeps the output of each training in ``NAME.log``.
        trainings: The trainings, in their order.
        say: Prints a line.

    Raises:
        UserError: One failed; the message has its own, and where its output is.
    """
    spent, work = 0.0, 0.0
    for number, training in enumerate(trainings, 1):
        before = experiment.done.get(training.name, {"commands": 0.0, "seconds": 0.0})
        if before["commands"] == len(training.commands) and _is_scored(training.scored):
            say(_line(number, len(trainings), training, "done before"))
            continue
        seconds = _train(experiment, training)
        spent, work = spent + seconds, work + training.work
        left = sum(
            other.work
            for other in trainings[number:]
            if experiment.done.get(other.name, {}).get("commands") != len(other.commands)
        )
        rest = f"; about {duration(spent / work * left)} left" if left else ""
        say(_line(number, len(trainings), training, f"{duration(seconds)}{rest}"))


def first_set(folder: Path) -> Path:
    """The folder with an evaluation's questions: itself, or of several named sets, that of the first."""
    if RunFolder(folder).questions.is_file() or not folder.is_dir():
        return folder
    scores = _names_of_sets(folder)
    return next((folder / name for name in scores if RunFolder(folder / name).questions.is_file()), folder)


def _is_scored(folder: Path) -> bool:
    # The scores of named sets stand above their questions, and a training on texts has no questions.
    return RunFolder(folder).questions.is_file() or RunFolder(folder).metrics.is_file()


def run_to_end(arguments: Sequence[str], output: IO[bytes], errors: IO[bytes] | None = None) -> int:
    """Runs a command of this package and returns its status; what ends this process ends it, in a good moment.

    Ctrl-C and SIGTERM are passed on once, and a second Ctrl-C as well, at which a training ends without saving.
    Arguments are those of `start`.
    """
    process = start(arguments, output, errors)
    try:
        return process.wait()
    except KeyboardInterrupt:
        _stop(process, signal.SIGINT)
        raise
    except BaseException:
        _stop(process, signal.SIGTERM)
        raise


def error_of(text: str) -> str:
    """What a command that failed says of it in a line: its error, or else the last that it said."""
    found = _ERROR.findall(text)
    lines = [line for line in text.splitlines() if line.strip()]
    return one_line(found[-1] if found else lines[-1] if lines else "it said nothing")


def _train(experiment: ExperimentFolder, training: Training) -> float:
    """Does what is left of a training, and returns the seconds that it took, with those of earlier attempts."""
    before = experiment.done.get(training.name, {"commands": 0.0, "seconds": 0.0})
    done, seconds = int(before["commands"]), before["seconds"]
    if not RunFolder(training.run).holds_a_model:
        done, seconds = 0, 0.0
    done = min(done, len(training.commands) - 1)  # what it left last is gone
    _wait_for(training.run)
    log = experiment.path / f"{training.name}.log"
    while done < len(training.commands):
        begun, size = time.monotonic(), log.stat().st_size if log.exists() else 0
        try:
            with log.open("ab") as output:
                status = run_to_end(training.command(done), output)
        finally:
            seconds += time.monotonic() - begun
            experiment.note(training.name, done, seconds)
        if status:
            said = log.read_bytes()[size:].decode(errors="replace")
            raise UserError(f"{training.name} failed (status {status}): {error_of(said)}; its output is in {log}")
        done += 1
        experiment.note(training.name, done, seconds)
    return seconds


def _stop(process: Process, number: int) -> None:
    """Ends a process by a signal and waits for it; Ctrl-C meanwhile is passed on, too."""
    process.send_signal(number)
    while True:
        try:
            process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
        else:
            return


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
