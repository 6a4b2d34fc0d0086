"""A run's folder: the name of everything in it, and whether a folder is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qa_lightning.pretrained.head import CONFIG_FILE
from qa_lightning.pretrained.loading import BEST_MODEL
from qa_lightning.utils.errors import UserError

CONFIG = "config.yaml"
METRICS = "metrics.json"
QUESTIONS = "per_question.parquet"
PREDICTIONS = "predictions.json"
NBEST_PREDICTIONS = "nbest_predictions.json"
NULL_ODDS = "null_odds.json"
NA_PROB = "na_prob.json"
ANSWERS_BY_QUESTION = "answers_by_question.jsonl"
DATA_REPORT = "data.json"
RUN_INFO = "run.json"
REPORT = "report.html"
CALIBRATION_PAGE = "calibration.html"
CALIBRATION_TABLE = "calibration.parquet"
LOGS = "logs"
LIGHTNING_LOGS = "lightning_logs"
CHECKPOINTS = "checkpoints"

EVALUATION_FILES = (METRICS, QUESTIONS, PREDICTIONS, NBEST_PREDICTIONS, NULL_ODDS, NA_PROB, ANSWERS_BY_QUESTION)
"""The files that an evaluation writes."""

FILES_AT_START = (CONFIG, DATA_REPORT, RUN_INFO, "hparams.yaml")
"""The files that a run has before anything was trained or evaluated."""

_STEP_CHECKPOINT = re.compile(r"step-(\d+)\.ckpt")
_REQUEUE_CHECKPOINT = re.compile(r"hpc_ckpt_(\d+)\.ckpt")


@dataclass(frozen=True)
class RunFolder:
    """The folder of a ``fit``, ``validate``, ``test`` or ``predict``, or of one named evaluation set in it.

    Nothing is read or written here; each attribute is a path that may or may not exist.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def is_run(self) -> bool:
        """Whether this is a run's folder, rather than a model's, a named evaluation set's or any other folder."""
        return (self.config.is_file() or self.metrics.is_file()) and not (self.path / CONFIG_FILE).is_file()

    @property
    def config(self) -> Path:
        """The settings of the run."""
        return self.path / CONFIG

    @property
    def metrics(self) -> Path:
        """The scores of all its evaluation sets."""
        return self.path / METRICS

    @property
    def questions(self) -> Path:
        """The table of its questions."""
        return self.path / QUESTIONS

    @property
    def answers_by_question(self) -> Path:
        """The answer to each question from all contexts that it is asked of."""
        return self.path / ANSWERS_BY_QUESTION

    @property
    def data_report(self) -> Path:
        """What became of the data."""
        return self.path / DATA_REPORT

    @property
    def run_info(self) -> Path:
        """How the run was made: command, date, versions, and the settings that are no defaults."""
        return self.path / RUN_INFO

    @property
    def report(self) -> Path:
        """The page that ``report`` writes."""
        return self.path / REPORT

    @property
    def logs(self) -> Path:
        """The folder of Lightning's CSV logs, which learning curves are drawn from."""
        return self.path / LOGS

    @property
    def lightning_logs(self) -> Path:
        """The folder of such logs where a script or a notebook leaves them to Lightning."""
        return self.path / LIGHTNING_LOGS

    @property
    def best_model(self) -> Path:
        """The best model, as a folder of transformers."""
        return self.path / BEST_MODEL

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def best_checkpoint(self) -> Path:
        """The checkpoint with the best score."""
        return self.checkpoint("best")

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint of the last state, from which training goes on."""
        return self.checkpoint("last")

    @property
    def parts(self) -> Path:
        """Where each process writes its part of the questions while they are brought together."""
        return self.path / ".parts"

    @property
    def uploads(self) -> Path:
        """Where copies of the best model stand while they are uploaded."""
        return self.path / ".push_to_hub"

    @property
    def holds_a_model(self) -> bool:
        """Whether anything was trained here."""
        return any(self.checkpoints.glob("*.ckpt")) or self.best_model.exists()

    def checkpoint(self, name: str) -> Path:
        """A checkpoint by its name: ``best``, ``last`` or ``step-500``."""
        return self.checkpoints / f"{name}.ckpt"

    def step_checkpoint(self, step: int) -> Path:
        """The checkpoint that was kept after a step."""
        return self.checkpoint(f"step-{step}")

    def step_checkpoints(self) -> Iterator[tuple[int, Path]]:
        """The checkpoints that were kept by their steps, in no order."""
        for path in self.checkpoints.iterdir():
            if match := _STEP_CHECKPOINT.fullmatch(path.name):
                yield int(match[1]), path

    def requeue_checkpoints(self) -> list[Path]:
        """The checkpoints that Lightning saved when a job of Slurm was requeued, the newest first."""
        found = [
            (match, path) for path in self.path.glob("*.ckpt") if (match := _REQUEUE_CHECKPOINT.fullmatch(path.name))
        ]
        return [path for _, path in sorted(((int(match[1]), path) for match, path in found), reverse=True)]

    def part(self, number: int, rank: int) -> Path:
        """One process's part of the questions of one evaluation set."""
        return self.parts / f"{number}-{rank}.parquet"

    def owner(self) -> tuple[RunFolder, str]:
        """The run that this folder belongs to, and what the names of its figures begin with.

        Returns:
            This folder and an empty text, unless it is that of a named evaluation set: then the run's and ``name/``.
        """
        folder = RunFolder(self.path.resolve())
        above = RunFolder(folder.path.parent)
        return (above, f"{folder.path.name}/") if not folder.is_run and above.is_run else (folder, "")

    def run_of_best_model(self) -> RunFolder | None:
        """The run that this is the folder of, or whose best model it is; None where it is neither."""
        folders = (self.path, self.path.parent) if self.path.resolve().name == BEST_MODEL else (self.path,)
        return next((run for run in map(RunFolder, folders) if run.config.is_file()), None)


def resolve_model(name: str) -> str:
    """Turns a run's folder into that of its best model; any other name stays as it is.

    Raises:
        UserError: The run has no best model.
    """
    run = RunFolder(Path(name))
    if not run.is_run:
        return name
    if not run.best_model.is_dir():
        raise UserError(f"{name}: a run without a {BEST_MODEL}; name a checkpoint of it, or train on")
    return str(run.best_model)


def display_name(model: str) -> str:
    """What to call a model where others see it: a Hub name as it is, a folder or file by its own name only."""
    path = Path(model)
    if not path.exists():
        return model
    path = path.resolve()
    return path.parent.name if path.name == BEST_MODEL else path.name
