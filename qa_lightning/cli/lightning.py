"""Lightning's command line with the links, defaults, callbacks and run folders of qa_lightning."""

from __future__ import annotations

import copy
import os
import warnings
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse.typing import register_type
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from qa_lightning.callbacks.averaging import averaging_callbacks
from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.callbacks.data_report import DataReport
from qa_lightning.callbacks.final_validation import FinalValidation
from qa_lightning.callbacks.found_settings import FINDERS, FoundSettings
from qa_lightning.callbacks.progress import MarkStarted
from qa_lightning.callbacks.progress_bar import ProgressBar
from qa_lightning.callbacks.push_to_hub import PushToHub
from qa_lightning.callbacks.results import Results
from qa_lightning.callbacks.run_files import keeps_files
from qa_lightning.callbacks.save_config import SaveConfig
from qa_lightning.callbacks.stop_reason import StopReason
from qa_lightning.callbacks.time_report import TimeReport
from qa_lightning.cli.loggers import place_loggers
from qa_lightning.cli.options import RUN_OPTIONS
from qa_lightning.cli.overview import DESCRIPTION, PROGRAM
from qa_lightning.cli.parser import Parser, check_configs, named_places
from qa_lightning.cli.section_help import TRAINER_DEFAULTS
from qa_lightning.cli.shared_values import SHARED_VALUES, check_shared_values, full_key
from qa_lightning.cli.trainer import Trainer
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.data.loader_hooks import LoaderMixin
from qa_lightning.exporting.upload import check_name
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.modeling.network import check_same_architecture
from qa_lightning.modeling.training_hooks import StepMixin
from qa_lightning.runs.creation import new_run_dir, sole_run, without_false_start
from qa_lightning.runs.folder import LOGS
from qa_lightning.runs.resume import earlier_settings, resolve_checkpoint
from qa_lightning.runs.run_info import this_command
from qa_lightning.trainer_settings import check_trainer_settings
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.processes import lost_process, one_run, stop_main_process
from qa_lightning.utils.refusals import Progress
from qa_lightning.utils.signals import end_by_exception

# So that a config can hold one, such as the default of stochastic weight averaging.
register_type(torch.device, str, torch.device)


class _Build:
    """Builds the classes that a config names, and keeps the last exception that one of them raised."""

    error: Exception | None = None

    def __call__(self, cls: type, *args: Any, **kwargs: Any) -> Any:
        try:
            return cls(*args, **kwargs)
        except Exception as error:
            self.error = error
            raise


class QACLI(LightningCLI):
    """`LightningCLI` with the links, defaults and run folders of qa_lightning.

    Args:
        arguments: The subcommand and its arguments.
        stack: Holds the contexts of the run, which end with it.
        progress: Where it is noted that the work has begun.
    """

    def __init__(self, arguments: list[str], stack: ExitStack, progress: Progress) -> None:
        self._stack = stack
        self._push_to_hub: PushToHub | None = None
        self._progress = progress
        self._arguments = arguments
        super().__init__(
            StepMixin,
            LoaderMixin,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            trainer_class=Trainer,
            save_config_callback=SaveConfig,
            parser_class=Parser,
            parser_kwargs={"prog": PROGRAM, "description": DESCRIPTION},
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=0,
            args=arguments,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the run's folder, its own callbacks and the values that two sides share."""
        # Not jsonargparse's own numbers: they would get into checkpoints, which hold plain data only.
        kinds = {"early_stopping_patience": int | None, "hub_private_repo": bool, "ema_decay": float | None}
        for name, text in RUN_OPTIONS.items():
            default = True if name == "hub_private_repo" else None
            parser.add_argument(f"--{name}", type=kinds.get(name, str | None), default=default, help=text)
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint", subclass_mode=True)
        parser.add_lightning_class_args(Results, "results", subclass_mode=True)
        classes = {"model": QALightningModule, "data": QADataModule, "checkpoint": RunCheckpoint, "results": Results}
        parser.set_defaults(
            {key: {"class_path": f"{cls.__module__}.{cls.__qualname__}"} for key, cls in classes.items()}
        )
        for source, target in SHARED_VALUES.items():
            parser.link_arguments(full_key(source), full_key(target))

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the arguments over the settings of the run or checkpoint that they name."""
        places = named_places(args)
        check_configs(places.config)
        check_shared_values(args, os.environ if parser.default_env else None)
        if args and not args[0].startswith("-"):
            args = [args[0], *earlier_settings(args[0], places.run_dir, places.ckpt_path), *args[1:]]
        self.config = parser.parse_args(args)
        subcommand = self.config.subcommand
        if self.config[subcommand].run_dir != places.run_dir:
            raise UserError("run_dir names one run, so it is given as the flag --run_dir DIR, not in a config")
        seed = self.config[subcommand].seed_everything
        if not isinstance(seed, bool):
            check_between("seed_everything", seed, 0, 2**32 - 1)
        self._run_name = Path(places.config[-1] if places.config else subcommand).stem

    def _parse_ckpt_path(self) -> None:
        """Does nothing: `earlier_settings` gave a checkpoint's settings the place below configs and flags."""

    def before_instantiate_classes(self) -> None:
        """Chooses the run's folder and the checkpoint, which brings its own model and tokenizer."""
        subcommand = self.config.subcommand
        config = self.config[subcommand]
        if subcommand == "fit" and config.push_to_hub is not None and getattr(rank_zero_only, "rank", 0) == 0:
            check_name(config.push_to_hub)
        self._asked = copy.deepcopy(config)
        self._asked.ckpt_path = self._asked.run_dir = None
        check_trainer_settings(config.trainer)
        if config.early_stopping_patience is not None:
            check_between("early_stopping_patience", config.early_stopping_patience, 0)
        if config.run_dir is not None:
            config.run_dir = os.path.expanduser(config.run_dir)  # as Lightning does
        end_by_exception(stop_main_process)
        self._stack.enter_context(one_run())
        run_dir = config.run_dir or self._stack.enter_context(
            new_run_dir(self._run_name, config.trainer.default_root_dir)
        )
        folder = Path(run_dir) if subcommand == "fit" else Path(run_dir, subcommand)
        self._progress.trained_in = run_dir if subcommand == "fit" else None
        self._stack.enter_context(without_false_start(folder))
        self._stack.enter_context(sole_run(folder))
        checkpoint = config.ckpt_path = resolve_checkpoint(config.ckpt_path, config.run_dir, subcommand)
        self._goes_on = checkpoint is not None
        self.save_config_kwargs["overwrite"] = not self._goes_on  # what is there is of a run that never began
        self.save_config_kwargs["command"] = this_command(PROGRAM, self._arguments)
        config.trainer.default_root_dir = str(folder)
        if checkpoint is not None:
            name = config.model.init_args.model_name_or_path
            if name is not None:
                check_same_architecture(checkpoint, name)
            for section in (config.model.init_args, config.data.init_args):
                section.model_name_or_path = section.tokenizer_name = checkpoint
        if config.weights_only is None:
            config.weights_only = True  # a checkpoint of ours holds plain data: nothing needs to be unpickled
        if subcommand in ("validate", "test"):
            config.verbose = False  # the results' own table says it all
        if subcommand == "predict" and config.return_predictions is None:
            config.return_predictions = False
        place_loggers(config.trainer, str(folder))

    def instantiate_classes(self) -> None:
        """Builds model, data and trainer; an error has what a class raised as its cause."""
        build = _Build()
        self.parser.add_instantiator(build, object)
        try:
            super().instantiate_classes()
        except ValueError as error:
            error.__cause__ = build.error or error.__cause__
            raise

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Builds the trainer, with the callbacks and loggers that every run has besides those of its config."""
        config = self._get(self.config_init, "trainer")
        self._time_report = TimeReport()
        callbacks: list[pl.Callback] = [DataReport(self.datamodule), self._time_report, MarkStarted(self._progress)]
        if config.profiler is None:
            kwargs["profiler"] = self._time_report.stopwatch
        theirs = config.callbacks or []
        theirs = theirs if isinstance(theirs, list) else [theirs]
        if any(isinstance(callback, FINDERS) for callback in theirs) and (self.subcommand != "fit" or self._goes_on):
            rank_zero_info(
                "only a training that begins searches for a batch size or a learning rate: this takes its own"
            )
            config.callbacks = theirs = [callback for callback in theirs if not isinstance(callback, FINDERS)]
        if config.enable_progress_bar is not False and not any(
            isinstance(callback, pl.callbacks.ProgressBar) for callback in theirs
        ):
            callbacks.append(ProgressBar())
        patience = self._asked.early_stopping_patience
        if patience is not None and self.subcommand == "fit":
            watched = self._get(self.config_init, "checkpoint")
            callbacks.append(
                EarlyStopping(watched.monitor, mode=watched.mode, patience=patience, check_on_train_epoch_end=False)
            )
        if self._asked.push_to_hub is not None and self.subcommand == "fit":
            self._push_to_hub = PushToHub(self._asked.push_to_hub, self._asked.hub_private_repo)
            callbacks.append(self._push_to_hub)
        if self.subcommand != "fit":
            # A training has callbacks that an evaluation lacks: early stopping, an average of the weights.
            warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint need to be provided.*")
        else:
            callbacks += averaging_callbacks(theirs, self._asked.ema_decay)
            callbacks += [FoundSettings(self.datamodule, self._write_found), StopReason(), FinalValidation()]
        self.trainer_defaults = {**self.trainer_defaults, "callbacks": callbacks}
        if config.logger is not False:
            # Besides the loggers that the config names: the report draws its learning curves from these files.
            own = CSVLogger(config.default_root_dir, name=LOGS)
            others = [] if config.logger in (None, True) else config.logger
            kwargs["logger"] = [*(others if isinstance(others, list) else [others]), own]
        self.config[self.subcommand] = self._asked  # what is saved: not where this process found things
        trainer = super().instantiate_trainer(**kwargs)
        self._stack.push(partial(_name_lost_process, trainer))
        return trainer

    def _write_found(self, found: dict[str, dict[str, Any]]) -> None:
        """Writes what a finder found, and what training goes by, into ``config.yaml`` and the loggers."""
        for section, values in found.items():
            for name, value in values.items():
                if name in self._asked[section].init_args:
                    self._asked[f"{section}.init_args.{name}"] = value
        trainer: Any = self.trainer
        for callback in trainer.callbacks:
            if isinstance(callback, SaveConfig):
                callback.write(trainer)

    def _show_results(self) -> None:
        """Prints scores, some answers, and where everything is, once the progress bar is gone."""
        if self.trainer.is_global_zero:
            self._get(self.config_init, "results").show()
            self._time_report.show()
            where = f"Everything is in {self.trainer.default_root_dir}"
            print(where if keeps_files(self.trainer) else "Nothing is kept of a fast_dev_run", flush=True)
            if self._push_to_hub is not None:
                self._push_to_hub.finish()

    after_fit = after_validate = after_test = after_predict = _show_results


def _name_lost_process(trainer: pl.Trainer, kind: Any, error: BaseException | None, trace: Any) -> None:
    """Where the loss of another process ended this one, says so in place of what failed here for that reason."""
    if isinstance(error, Exception) and not isinstance(error, UserError):
        line = lost_process(getattr(trainer.strategy.launcher, "procs", []))
        if line is not None:
            raise UserError(line) from error
