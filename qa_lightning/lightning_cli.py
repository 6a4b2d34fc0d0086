"""``fit``, ``validate``, ``test`` and ``predict``, driven by YAML and flags."""

from __future__ import annotations

import copy
import os
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from qa_lightning.bounds import check_between
from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.callbacks.data_report import DataReport
from qa_lightning.callbacks.results import Results
from qa_lightning.callbacks.time_report import TimeReport
from qa_lightning.commands import VERBS
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.errors import UserError
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.modeling.network import check_same_architecture
from qa_lightning.parser import Parser, check_configs, flag_value
from qa_lightning.refusals import Progress, refusals_in_one_line
from qa_lightning.runs import earlier_settings, new_run_dir, resolve_checkpoint, without_false_start
from qa_lightning.trainer_settings import check_trainer_settings

SHARED_VALUES = {
    "model.init_args.model_name_or_path": "data.init_args.model_name_or_path",
    "model.init_args.config_name": "data.init_args.config_name",
    "data.init_args.tokenizer_name": "model.init_args.tokenizer_name",
    "data.init_args.version_2_with_negative": "model.init_args.version_2_with_negative",
    "data.init_args.max_length": "model.init_args.max_length",
    "data.init_args.doc_stride": "model.init_args.doc_stride",
    "data.init_args.max_question_length": "model.init_args.max_question_length",
    "checkpoint.init_args.monitor": "results.init_args.monitor",
    "checkpoint.init_args.mode": "results.init_args.mode",
}
"""Values that two sides need: stated at the first, handed to the second."""


_NOT_FOR_USERS = (
    # Batches are built whole from memory-mapped columns: handing them over from another process costs more.
    ".*does not have many workers.*",
    # Training goes on in its folder, and need not validate.
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*Total length of `list` across ranks is zero.*",
    # It counts the sizes of float32 weights, which these are.
    ".*Precision .* is not supported by the model summary.*",
    # Lightning 2.6 asks torch 2.13 in a way that the latter deprecates.
    ".*LeafSpec.*",
    # Lightning 2.6 calls what jsonargparse 5 will drop.
    r"(?s).*(removed in v5\.0\.0|one JsonargparseDeprecationWarning)",
)


class SaveConfig(SaveConfigCallback):
    """Writes ``config.yaml`` into the run's folder and gives the whole of it to the loggers."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Writes what was asked for; training that goes on keeps the config that it began with."""
        path = Path(trainer.default_root_dir, self.config_filename)
        if not trainer.is_global_zero or self.already_saved:
            return
        if not (stage == "fit" and path.exists()):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.parser.save(self.config, str(path), skip_none=False, overwrite=True)
        for logger in trainer.loggers:
            logger.log_hyperparams(self.config.as_dict())
        self.already_saved = True


class Underway(pl.Callback):
    """Says that the first batch is done.

    Args:
        progress: Where it says so.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_train_batch_end(self, *_: Any) -> None:
        """A training has started."""
        self.progress.started = True

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """An evaluation has, if it is not the one by which Lightning tries things out."""
        self.progress.started |= not trainer.sanity_checking

    def on_test_batch_end(self, *_: Any) -> None:
        """A test has started."""
        self.progress.started = True

    def on_predict_batch_end(self, *_: Any) -> None:
        """Answering has."""
        self.progress.started = True


class _Build:
    """Builds what a config names, and remembers what the last class that would not be built raised."""

    error: Exception | None = None

    def __call__(self, cls: type, *args: Any, **kwargs: Any) -> Any:
        try:
            return cls(*args, **kwargs)
        except Exception as error:
            self.error = error
            raise


class QACLI(LightningCLI):
    """`LightningCLI` with the links, defaults and run folders of qa_lightning."""

    def __init__(self, arguments: list[str], stack: ExitStack, progress: Progress) -> None:
        self._stack = stack
        self._progress = progress
        verbs = ", ".join(f"{verb} ({what})" for verb, what in VERBS.items())
        super().__init__(
            QALightningModule,
            QADataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            save_config_callback=SaveConfig,
            parser_class=Parser,
            parser_kwargs={"epilog": f"Other verbs, each with its own --help: {verbs}."},
            trainer_defaults={"use_distributed_sampler": False, "max_epochs": 3},
            seed_everything_default=0,
            args=arguments,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the run's folder, its own callbacks and the values that two sides share."""
        parser.add_argument(
            "--run_dir", type=str | None, default=None, help="Folder of the run; default: a new one below runs/."
        )
        parser.add_argument(
            "--early_stopping_patience",
            type=int | None,
            default=None,
            help="Stop after so many validations without a better score.",
        )
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint", subclass_mode=True)
        parser.add_lightning_class_args(Results, "results", subclass_mode=True)
        classes = {"model": QALightningModule, "data": QADataModule, "checkpoint": RunCheckpoint, "results": Results}
        parser.set_defaults(
            {key: {"class_path": f"{cls.__module__}.{cls.__qualname__}"} for key, cls in classes.items()}
        )
        for source, target in SHARED_VALUES.items():
            parser.link_arguments(source, target)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the arguments over the settings of the run or checkpoint that they name."""
        check_configs(args)
        self.config = parser.parse_args(earlier_settings(args))
        subcommand = self.config.subcommand
        if self.config[subcommand].run_dir != flag_value(args, "run_dir"):
            raise UserError("run_dir names one run, so it is given as the flag --run_dir DIR, not in a config")
        seed = self.config[subcommand].seed_everything
        if not isinstance(seed, bool):
            check_between("seed_everything", seed, 0, 2**32 - 1)
        self._run_name = Path(flag_value(args, "config", "-c") or subcommand).stem

    def _parse_ckpt_path(self) -> None:
        """Does nothing: `earlier_settings` gave a checkpoint's settings the place below configs and flags."""

    def before_instantiate_classes(self) -> None:
        """Settles the run's folder and the checkpoint, which brings its own model and tokenizer."""
        subcommand = self.config.subcommand
        config = self.config[subcommand]
        self._asked = copy.deepcopy(config)
        self._asked.ckpt_path = self._asked.run_dir = None
        if config.run_dir is not None:
            config.run_dir = os.path.expanduser(config.run_dir)  # as Lightning does
        checkpoint = resolve_checkpoint(config.ckpt_path, config.run_dir, subcommand)
        run_dir = config.run_dir or self._stack.enter_context(new_run_dir(self._run_name))
        folder = Path(run_dir) if subcommand == "fit" else Path(run_dir, subcommand)
        check_trainer_settings(config.trainer)
        if config.early_stopping_patience is not None:
            check_between("early_stopping_patience", config.early_stopping_patience, 0)
        self._stack.enter_context(without_false_start(folder))
        config.trainer.default_root_dir = str(folder)
        if checkpoint is not None:
            name = config.model.init_args.model_name_or_path
            if name is not None:
                check_same_architecture(checkpoint, name)
            config.ckpt_path = checkpoint
            for section in (config.model.init_args, config.data.init_args):
                section.model_name_or_path = section.tokenizer_name = checkpoint
        if config.weights_only is None:
            config.weights_only = True  # a checkpoint of ours holds plain data: nothing needs to be unpickled
        if subcommand in ("validate", "test"):
            config.verbose = False  # the results' own table says it all
        if subcommand == "predict" and config.return_predictions is None:
            config.return_predictions = False
        self._place_loggers(config.trainer, str(folder))

    def instantiate_classes(self) -> None:
        """Builds model, data and trainer; where the parser tried several ways, what a class said is the cause."""
        build = _Build()
        self.parser.add_instantiator(build, object)
        try:
            super().instantiate_classes()
        except ValueError as error:
            error.__cause__ = build.error or error.__cause__
            raise

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Builds the trainer with what every run has besides what its config names."""
        config = self._get(self.config_init, "trainer")
        self._time_report = TimeReport()
        callbacks: list[pl.Callback] = [DataReport(self.datamodule), self._time_report, Underway(self._progress)]
        if config.profiler is None:
            kwargs["profiler"] = self._time_report.stopwatch
        patience = self._asked.early_stopping_patience
        if patience is not None and self.subcommand == "fit":
            watched = self._get(self.config_init, "checkpoint")
            callbacks.append(
                EarlyStopping(watched.monitor, mode=watched.mode, patience=patience, check_on_train_epoch_end=False)
            )
        self.trainer_defaults = {**self.trainer_defaults, "callbacks": callbacks}
        if config.logger is not False:
            # Besides what else there may be: the report draws its learning curves from these files.
            own = CSVLogger(config.default_root_dir, name="logs")
            others = [] if config.logger in (None, True) else config.logger
            kwargs["logger"] = [*(others if isinstance(others, list) else [others]), own]
        self.config[self.subcommand] = self._asked  # what is saved: not where this process found things
        return super().instantiate_trainer(**kwargs)

    def _show_results(self) -> None:
        """Prints scores, some answers, and where everything is, once the progress bar is gone."""
        if self.trainer.is_global_zero:
            self._get(self.config_init, "results").show()
            self._time_report.show()
            print(f"Everything is in {self.trainer.default_root_dir}")

    after_fit = after_validate = after_test = after_predict = _show_results

    @staticmethod
    def _place_loggers(trainer: Any, folder: str) -> None:
        """Puts the files of loggers that were given no folder into the run's."""
        loggers = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
        for logger in loggers:
            arguments = getattr(logger, "init_args", None)
            if arguments is not None and arguments.get("save_dir", folder) in (None, "."):
                arguments.save_dir = folder


def run_lightning(arguments: list[str]) -> int:
    """Runs ``fit``, ``validate``, ``test`` or ``predict`` and returns the exit status.

    Args:
        arguments: The subcommand and its arguments.

    Raises:
        UserError: Where something is wrong with what the user gave.
        SystemExit: As argument parsers do, for ``--help`` and for arguments that cannot be understood.
    """
    for message in _NOT_FOR_USERS:
        warnings.filterwarnings("ignore", message)
    progress = Progress()
    with ExitStack() as stack:
        try:
            with refusals_in_one_line(progress):
                QACLI(arguments, stack, progress)
        except SIGTERMException:
            return 143
    return 0
