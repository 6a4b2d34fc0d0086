"""The trials of a sweep, which Optuna keeps in a file that several processes and machines share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_lightning.experiments.journal import JournalLock, drop_unfinished_line, is_free
from qa_lightning.experiments.parameters import drawn_values, nested
from qa_lightning.experiments.sweep_file import Sweep
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.extras import require
from qa_lightning.utils.locks import sole_user
from qa_lightning.utils.secrets import hide_in_arguments, hide_secrets

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

JOURNAL = "journal.log"
"""The file of the sweep's folder that holds its trials, as Optuna's ``JournalStorage`` reads it."""

_NAME = "sweep"
_DEFINITION = "definition"
_SECONDS = "seconds"
_REPEATS = "repeats"
_CLAIMS = ".claims"


@dataclass
class Trial:
    """A trial that this process works at.

    Attributes:
        number: Its number.
        values: The value of each parameter by name; nested ones are dictionaries.
        reported: How many values of the metric are known.
        seconds: How long it was worked at before.
        goes_on: Whether it was begun before, by a process that is gone.
    """

    number: int
    values: dict[str, Any]
    reported: int
    seconds: float
    goes_on: bool
    claim: ExitStack = field(repr=False)


class SweepStudy:
    """The trials of a sweep in its folder, which several processes may have open.

    Attributes:
        folder: The sweep's folder.
        sweep: The sweep.
        flags: The flags that are added to each trial's command.

    Args:
        folder: The sweep's folder.
        sweep: The sweep.
        flags: The flags that are added to each trial's command.
        seed: Of the draws.

    Raises:
        UserError: Where the folder holds the trials of another sweep, or Optuna is not installed.
    """

    def __init__(self, folder: Path, sweep: Sweep, flags: Sequence[str] = (), seed: int = 0) -> None:
        self.folder = folder
        self.sweep = sweep
        self.flags = tuple(flags)
        self._seed = seed
        optuna = require("optuna", "sweep")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        from optuna.pruners import NopPruner, SuccessiveHalvingPruner
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        path = folder / JOURNAL
        # Claims come first: another process may be at just this place, or was killed there.
        others = [file.name for file in folder.iterdir() if file.name != _CLAIMS] if folder.is_dir() else []
        if not path.exists() and (others or (folder.exists() and not folder.is_dir())):
            raise UserError(f"{folder}: not empty, and no folder of a sweep; name a new one with --sweep_dir")
        self._turn = JournalLock(folder / _CLAIMS / "next")
        lock: Any = JournalLock(folder / _CLAIMS / "journal")
        drop_unfinished_line(path, lock)
        stopping = sweep.early_terminate
        pruner = NopPruner() if stopping is None else SuccessiveHalvingPruner(stopping.brackets[0], stopping.eta)
        try:
            self._storage = JournalStorage(JournalFileBackend(str(path), lock))
            with self._taking_turns():
                self._study = optuna.create_study(
                    storage=self._storage,
                    study_name=_NAME,
                    direction="maximize" if sweep.metric.maximize else "minimize",
                    sampler=optuna.samplers.RandomSampler(),
                    pruner=pruner,
                    load_if_exists=True,
                )
                self._check_definition()
        except (ValueError, KeyError) as error:
            raise UserError(f"{path}: not the trials of a sweep ({error}); name a new --sweep_dir") from error

    def trials(self) -> list[FrozenTrial]:
        """All trials, as they are now."""
        return self._study.get_trials(deepcopy=False)

    def most(self, run_cap: int | None) -> float:
        """How many trials the sweep comes to, those that repeat failed ones not counted."""
        cap = run_cap or self.sweep.run_cap or math.inf
        if self.sweep.method != "grid":
            return cap
        return min(cap, math.prod(len(parameter.grid()) for parameter in self.sweep.searched))

    def next(self, run_cap: int | None) -> Trial | None:
        """Takes over a trial whose process is gone, or begins a new one; None where there is nothing left to begin.

        Args:
            run_cap: How many trials there are at most; None: as many as the file says.
        """
        from optuna.trial import TrialState

        with self._taking_turns():
            trials = self.trials()
            for trial in trials:
                if trial.state == TrialState.RUNNING and (claim := self._claim(trial.number)) is not None:
                    return self._begin(trial.number, claim, goes_on=True)
            waiting = any(trial.state == TrialState.WAITING for trial in trials)
            if not waiting and (self._is_found(trials) or self._count(trials) >= self.most(run_cap)):
                return None
            number = self._study.ask().number
            claim = self._claim(number)
            assert claim is not None
            return self._begin(number, claim, goes_on=False)

    def orphans(self) -> list[int]:
        """The numbers of trials whose sweep is gone, but whose training has not yet ended."""
        from optuna.trial import TrialState

        # In turn: what looks whether a claim is free holds it for that moment, in which nobody else could take it.
        with self._taking_turns():
            running = (trial.number for trial in self.trials() if trial.state == TrialState.RUNNING)
            return [number for number in running if is_free(self._claim_of(number))]

    def repeat_failed(self) -> int:
        """Has the trials that failed tried again, and returns how many these are."""
        from optuna.trial import TrialState

        with self._taking_turns():
            trials = self.trials()
            repeated = {trial.user_attrs.get(_REPEATS) for trial in trials}
            failed = [trial for trial in trials if trial.state == TrialState.FAIL and trial.number not in repeated]
            for trial in failed:
                self._study.enqueue_trial(trial.params, user_attrs={_REPEATS: trial.number})
            return len(failed)

    def report(self, trial: Trial, value: float) -> bool:
        """Notes a trial's next value, and says whether the trial is to be stopped."""
        from optuna import trial as optuna_trial

        trial.reported += 1
        asked = optuna_trial.Trial(self._study, self._id(trial.number))
        asked.report(value, trial.reported)
        stopping = self.sweep.early_terminate
        return stopping is not None and trial.reported in stopping.brackets and asked.should_prune()

    def finish(self, trial: Trial, state: str, values: Sequence[float], seconds: float) -> None:
        """Notes how a trial ended, and lets go of it.

        Args:
            trial: The trial.
            state: ``complete``, ``pruned`` or ``fail``.
            values: All its values of the metric.
            seconds: How long it was worked at now.
        """
        from optuna.trial import TrialState

        self._storage.set_trial_user_attr(self._id(trial.number), _SECONDS, trial.seconds + seconds)
        best = self.sweep.metric.best(values) if state == "complete" else None
        self._study.tell(trial.number, best, TrialState[state.upper()])
        trial.claim.close()

    def leave(self, trial: Trial, seconds: float) -> None:
        """Lets go of a trial that is to go on later."""
        self._storage.set_trial_user_attr(self._id(trial.number), _SECONDS, trial.seconds + seconds)
        trial.claim.close()

    def run_of(self, number: int) -> Path:
        """The folder of a trial's run."""
        return self.folder / f"trial-{number:03}"

    def _begin(self, number: int, claim: ExitStack, *, goes_on: bool) -> Trial:
        """Draws for a trial what it has not drawn yet: its process may have been killed before it had all."""
        from optuna import trial as optuna_trial
        from optuna.samplers import RandomSampler

        self._study.sampler = self._sampler(number)
        asked = optuna_trial.Trial(self._study, self._id(number))
        drawn = {parameter.name: parameter.draw(asked) for parameter in self.sweep.searched}
        self._study.sampler = RandomSampler()  # that of grids would stop a loop of Optuna's at the end: there is none
        frozen = self._study.trials[number]
        return Trial(
            number=number,
            values=nested(drawn_values(self.sweep.parameters, drawn)),
            reported=len(frozen.intermediate_values),
            seconds=frozen.user_attrs.get(_SECONDS, 0.0),
            goes_on=goes_on,
            claim=claim,
        )

    def _id(self, number: int) -> int:
        study = self._storage.get_study_id_from_name(_NAME)
        return self._storage.get_trial_id_from_study_id_trial_number(study, number)

    def _claim_of(self, number: int) -> Path:
        return self.folder / _CLAIMS / f"{number:03}"

    def _claim(self, number: int) -> ExitStack | None:
        """Takes a trial, so that no other process does; None where one has it, or where its training goes on still."""
        run = self.run_of(number)
        with ExitStack() as stack:
            try:
                stack.enter_context(sole_user(self._claim_of(number)))
                if run.is_dir():
                    with sole_user(run):
                        pass
            except UserError:
                return None
            return stack.pop_all()
        return None

    def _sampler(self, number: int) -> BaseSampler:
        """What draws the trial of this number: with the same seed and the same trials before it, always the same."""
        from optuna.samplers import GridSampler, RandomSampler, TPESampler

        if self.sweep.method == "grid":
            return GridSampler({parameter.name: parameter.grid() for parameter in self.sweep.searched}, seed=self._seed)
        seed = (self._seed * 1_000_003 + number) % 2**32
        return RandomSampler(seed) if self.sweep.method == "random" else TPESampler(seed=seed)

    @staticmethod
    def _count(trials: Sequence[FrozenTrial]) -> int:
        return sum(_REPEATS not in trial.user_attrs for trial in trials)

    def _is_found(self, trials: Sequence[FrozenTrial]) -> bool:
        from optuna.trial import TrialState

        values = (trial.value for trial in trials if trial.state == TrialState.COMPLETE)
        return any(value is not None and self.sweep.metric.is_reached(value) for value in values)

    def _check_definition(self) -> None:
        sweep = self.sweep
        stopping = sweep.early_terminate
        now = {
            "method": sweep.method,
            "metric": [sweep.metric.name, "maximize" if sweep.metric.maximize else "minimize"],
            "parameters": [
                [list(p.path), p.distribution, {key: hide_secrets(value, p.name) for key, value in p.settings.items()}]
                for p in sweep.parameters
            ],
            "command": hide_in_arguments([*sweep.command, *self.flags]),
            "program": sweep.program,
            "seed": self._seed,
            "early_terminate": None if stopping is None else [list(stopping.brackets), stopping.eta],
        }
        begun = self._study.user_attrs.get(_DEFINITION)
        if begun is None:
            self._study.set_user_attr(_DEFINITION, now)
            return
        differing = [name for name in now if begun.get(name) != now[name]]
        if differing:
            raise UserError(
                f"{self.folder} was begun with another {' and another '.join(differing)}; go on with that, or name a "
                "new folder with --sweep_dir"
            )

    @contextmanager
    def _taking_turns(self) -> Iterator[None]:
        """Waits until no other process takes a trial: each would begin the last one."""
        self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()
