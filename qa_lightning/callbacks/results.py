"""Writes the files of the best evaluation, keeps its model, and shows a table of scores and some answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning.pytorch as pl
import pyarrow as pa
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn

from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.callbacks.parts import gather
from qa_lightning.callbacks.pictures import log_pictures
from qa_lightning.callbacks.run_files import begins, keeps_files, write_run_files
from qa_lightning.callbacks.tables import COLUMNS, SAMPLED, print_samples, print_scores, sample_rows
from qa_lightning.modeling.checkpointing import CheckpointMixin
from qa_lightning.modeling.evaluation_hooks import EvaluationMixin
from qa_lightning.reader.grouped_predictions import write_answers_by_question
from qa_lightning.records import Prediction
from qa_lightning.runs.comparison import intervals_of
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.predictions import remove_evaluation, write_predictions
from qa_lightning.runs.questions import tabulate, write_table
from qa_lightning.scoring.figures import mean_over_sets, name_metrics
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import write_json


@runtime_checkable
class HasScores(Protocol):
    """A module whose evaluations come to figures; ours do.

    Attributes:
        scores: The figures of each evaluation set, by its name; the only one's name is empty.
        loaded_progress: The ``epoch`` and ``step`` of the checkpoint that was loaded last; empty where none was.
    """

    scores: dict[str, dict[str, float]]
    loaded_progress: dict[str, int]


class Results(pl.Callback):
    """Writes the files of the best evaluation, keeps its model, and shows its scores and some of its answers.

    ``metrics.json`` stands in the run's folder; so do the files of `write_predictions` and the table of questions,
    ``per_question.parquet``, which `predict` leaves without scores, but those of a named evaluation set are in a
    folder of its name. ``best_model/`` is a plain transformers folder. With several processes, the run's folder must
    be one that all of them reach.

    The run's folder is the trainer's ``default_root_dir``. Where a model was trained there, a later ``validate``,
    ``test`` or ``predict`` writes into a folder of its name in it. In a script or a notebook, ``config.yaml`` and
    ``data.json`` are written, too, as the command line does. A ``fast_dev_run`` leaves none of these.

    Args:
        monitor: The score that decides which evaluation is the best.
        mode: Whether more (``max``) or less (``min``) of it is better.
        samples: How many answers to show.
        by_question: Whether ``predict`` also answers each question once, from all contexts that rows with its text
            have, into ``answers_by_question.jsonl``.
    """

    section = "results"

    def __init__(self, monitor: str = "val/f1", mode: str = "max", samples: int = 5, by_question: bool = False) -> None:
        self.monitor = monitor
        self.mode = mode
        self.samples = samples
        self.by_question = by_question
        self.best: float | None = None
        self._predictions: dict[str, dict[int, Prediction]] = {}
        self._shown: tuple[dict[str, Any], pa.Table | None] | None = None
        self._watched: Path | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that make it anew."""
        names = ("monitor", "mode", "samples", "by_question")
        return {name: getattr(self, name) for name in names}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Checks that the best checkpoint and the best model are of one evaluation.

        Raises:
            UserError: Where `RunCheckpoint` watches another score.
        """
        for callback in trainer.callbacks if stage == "fit" else ():  # type: ignore[attr-defined]
            watched = (self.monitor, self.mode)
            if isinstance(callback, RunCheckpoint) and (callback.monitor, callback.mode) != watched:
                raise UserError(
                    f"RunCheckpoint watches {callback.monitor} ({callback.mode}) and Results {self.monitor} "
                    f"({self.mode}), so the best checkpoint and the best model could differ; give both the same"
                )

    def state_dict(self) -> dict[str, Any]:
        """The best score, so that training that goes on does not take a worse one for it."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the best score of the training that goes on."""
        self.best = state_dict["best"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets a best score that another training reached, or this one in another folder, where its files are."""
        if begins(trainer) or not RunFolder(Path(trainer.default_root_dir)).metrics.is_file():
            self.best = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the run's config where nobody else does; training that goes on keeps the one that it began with."""
        if keeps_files(trainer):
            write_run_files(trainer, pl_module, Path(trainer.default_root_dir), overwrite=trainer.ckpt_path is None)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets what an earlier, perhaps interrupted, evaluation left."""
        self._predictions = {}

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the predictions that the batch completed; a model that gives no answers has none."""
        if outputs is None:
            return
        predictions: Iterable[Prediction] = outputs["predictions"] if isinstance(outputs, Mapping) else outputs
        self._predictions.setdefault(batch.name, {}).update(
            (prediction.question.row, prediction) for prediction in predictions
        )

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes everything where the evaluation is the best so far, or the only one."""
        if trainer.sanity_checking:
            return
        fitting = trainer.state.fn == TrainerFn.FITTING
        if fitting and not self._is_best(trainer):
            return
        self._write(trainer, pl_module, "val")
        if not fitting:
            self._log_pictures(trainer)
        elif trainer.is_global_zero:
            self._keep_model(trainer, pl_module)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the test's files."""
        self._write(trainer, pl_module, "test")
        self._log_pictures(trainer)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the answers."""
        self._write(trainer, pl_module, None)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the best evaluation's pictures; where nothing was validated, keeps the model as it is in the end."""
        self._log_pictures(trainer)
        if self.best is None and trainer.is_global_zero:
            self._keep_model(trainer, pl_module)

    def show(self) -> None:
        """Prints the scores and some answers of the evaluation whose files were written last."""
        if self._shown is not None:
            metrics, watched = self._shown
            if metrics:
                print_scores(metrics)
            if watched is not None:
                print_samples(watched)

    def _keep_model(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, CheckpointMixin)
        if keeps_files(trainer):
            pl_module.save_pretrained(RunFolder(Path(trainer.default_root_dir)).best_model)

    def _log_pictures(self, trainer: pl.Trainer) -> None:
        if self._watched is not None:
            log_pictures(trainer, self._watched)

    def _is_best(self, trainer: pl.Trainer) -> bool:
        """Whether this evaluation is the best so far, as the first process finds: another may have another loss."""
        value = trainer.callback_metrics.get(self.monitor)
        score = trainer.strategy.broadcast(math.nan if value is None else float(value))
        if math.isnan(score):
            return False
        if self.best is not None and not (score > self.best if self.mode == "max" else score < self.best):
            return False
        self.best = score
        return True

    def _write(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str | None) -> None:
        assert isinstance(pl_module, HasScores)
        folder, keeps = _folder(trainer), keeps_files(trainer)
        tables: dict[str, pa.Table] = {}
        if isinstance(pl_module, EvaluationMixin):
            tables = {
                name: tabulate(predictions.values(), None if stage is None else pl_module.evaluation.rule(name))
                for name, predictions in self._predictions.items()
            }
        self._predictions = {}
        if keeps:
            tables = gather(tables, folder, trainer)
        if not trainer.is_global_zero:
            return
        if keeps:
            self._write_tables(folder, tables)
            if stage is None and self.by_question and isinstance(pl_module, EvaluationMixin):
                evaluation = pl_module.evaluation
                for name, table in tables.items():
                    write_answers_by_question(
                        RunFolder(folder / name).answers_by_question,
                        table,
                        evaluation.n_best_size,
                        evaluation.null_score_diff_threshold,
                    )
            if trainer.state.fn != TrainerFn.FITTING:
                write_run_files(trainer, pl_module, folder, overwrite=True)
        metrics: dict[str, Any] = {}
        if stage is not None:
            metrics = {"epoch": trainer.current_epoch, "step": trainer.global_step}
            if trainer.state.fn == TrainerFn.FITTING:
                metrics = {"epoch": trainer.current_epoch, "step": trainer.global_step}
            else:
                metrics = {**pl_module.loaded_progress}
            for name, scores in pl_module.scores.items():
                intervals = intervals_of(tables[name]) if name in tables else {}
                metrics |= name_metrics(stage, name, scores, intervals)
            metrics |= name_metrics(stage, "", mean_over_sets(pl_module.scores), {})
            if keeps:
                write_json(RunFolder(folder).metrics, metrics)
                self._watched = folder / next(iter(tables)) if tables else None
        watched = next(iter(tables.values()), None)
        self._shown = (metrics, None if watched is None else _spread(watched, self.samples))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and watched is not None:
                samples = sample_rows(_spread(watched, 10 * self.samples))
                logger.log_table("samples", columns=list(COLUMNS), data=samples)

    @staticmethod
    def _write_tables(folder: Path, tables: Mapping[str, pa.Table]) -> None:
        """Writes what is known of each question, in the place of an earlier evaluation's."""
        remove_evaluation(folder)
        for name, table in tables.items():
            write_predictions(folder / name, table)
            write_table(RunFolder(folder / name).questions, table)


def _folder(trainer: pl.Trainer) -> Path:
    """Where an evaluation's files go: beside the model that it is of, or in a folder where another's stand there."""
    folder = Path(trainer.default_root_dir)
    stage = trainer.state.fn
    if stage in (None, TrainerFn.FITTING) or not RunFolder(folder).holds_a_model:
        return folder
    return folder / stage.value


def _spread(table: pa.Table, count: int) -> pa.Table:
    """Takes so many questions, evenly over the data, since neighbours ask about the same passage."""
    count = min(count, len(table))
    # To take rows, Arrow joins a column's parts, all of them: those of ``answers`` are most of the table.
    return table.select(SAMPLED).take([i * len(table) // count for i in range(count)])
