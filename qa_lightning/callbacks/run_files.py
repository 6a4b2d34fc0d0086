"""The files by which a folder is known as a run's, where no command line writes them."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning.pytorch as pl
import yaml
from lightning.pytorch.utilities import rank_zero_warn

from qa_lightning.callbacks.data_report import DataReport
from qa_lightning.callbacks.log_lines import callbacks_of
from qa_lightning.callbacks.save_config import SaveConfig
from qa_lightning.runs.folder import RunFolder
from qa_lightning.utils.files import whole_file, write_json
from qa_lightning.utils.plain import plain_items

_HEADER = "# Written from Python. Callbacks, loggers and what else the trainer was given are not part of it.\n"

_TRAINER_SETTINGS: dict[str, Any] = {
    "num_nodes": 1,
    "precision": None,
    "max_epochs": None,
    "min_epochs": 0,
    "max_steps": -1,
    "min_steps": None,
    "limit_train_batches": 1.0,
    "limit_val_batches": 1.0,
    "val_check_interval": 1.0,
    "check_val_every_n_epoch": 1,
    "log_every_n_steps": 50,
    "accumulate_grad_batches": 1,
    "gradient_clip_val": None,
    "gradient_clip_algorithm": None,
}
"""Settings that a trainer still knows, by the names of its arguments, and what they are where nobody set them."""

_CALLABLES = ("optimizer", "lr_scheduler")
"""Arguments of the model that make something: classes, or partial calls of them."""


@runtime_checkable
class HasArguments(Protocol):
    """A callback that has a section of its own in a run's config.

    Attributes:
        section: The section's name.
    """

    section: str

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that make it anew."""


def write_run_files(trainer: pl.Trainer, pl_module: pl.LightningModule, folder: Path, *, overwrite: bool) -> None:
    """Writes a run's ``config.yaml`` and ``data.json`` unless the command line does, which knows more.

    Args:
        trainer: The trainer of the run.
        pl_module: Its model.
        folder: The run's folder, or the one in it of an evaluation.
        overwrite: Whether to replace a config that is there.
    """
    if not trainer.is_global_zero or any(isinstance(callback, SaveConfig) for callback in callbacks_of(trainer)):
        return
    run, data = RunFolder(folder), trainer.datamodule  # type: ignore[attr-defined]
    if overwrite or not run.config.is_file():
        text = yaml.safe_dump(_config(trainer, pl_module, data), sort_keys=False, allow_unicode=True)
        with whole_file(run.config) as unfinished:
            unfinished.write_text(_HEADER + text, encoding="utf-8")
    if hasattr(data, "reports") and not any(isinstance(callback, DataReport) for callback in callbacks_of(trainer)):
        write_json(run.data_report, data.reports())


def keeps_files(trainer: pl.Trainer) -> bool:
    """Whether a trainer's work is to leave files: a ``fast_dev_run`` only tries whether it can be done."""
    return not trainer.fast_dev_run  # type: ignore[attr-defined]


def begins(trainer: pl.Trainer) -> bool:
    """Whether a training begins: it goes on neither from a checkpoint nor from an earlier ``fit`` of its trainer."""
    return trainer.ckpt_path is None and trainer.global_step == 0


def warn_of_earlier_run(trainer: pl.Trainer) -> None:
    """Warns where a training begins in a folder that holds a run, whose files its own will replace."""
    run = RunFolder(Path(trainer.default_root_dir))
    if keeps_files(trainer) and begins(trainer) and run.holds_a_model:
        rank_zero_warn(
            f"{run.path} holds an earlier run, which this one replaces; to keep it, name another default_root_dir, or "
            f'go on with its training by fit(…, ckpt_path="{run.last_checkpoint}")'
        )


def _config(trainer: pl.Trainer, pl_module: pl.LightningModule, data: Any) -> dict[str, Any]:
    """The settings as a config of the command line has them."""
    seed = os.environ.get("PL_GLOBAL_SEED")
    settings = {name: getattr(trainer, name, usual) for name, usual in _TRAINER_SETTINGS.items()}
    chosen = {name: value for name, value in settings.items() if value != _TRAINER_SETTINGS[name]}
    config: dict[str, Any] = {
        "seed_everything": False if seed is None else int(seed),
        "trainer": plain_items({"devices": trainer.num_devices, **chosen, "use_distributed_sampler": False}),
        "model": _section(pl_module, {**pl_module.hparams, **_given_callables(pl_module)}),
    }
    if data is not None:
        config["data"] = _section(data, _with_tokenizer(data.hparams, pl_module.hparams))
    for callback in callbacks_of(trainer):
        if isinstance(callback, HasArguments):
            config[callback.section] = _section(callback, callback.arguments)
    return config


def _section(part: object, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a run, as the class and the arguments that make it anew; of these, the plain ones."""
    cls = type(part)
    named = {name: value for name, value in arguments.items() if not name.startswith("_")}
    return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": plain_items(named)}


def _with_tokenizer(data: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """The data's arguments, with the tokenizer where it was named to the model only: a config hands it on from here."""
    if data.get("tokenizer_name") is None and model.get("tokenizer_name") is not None and "tokenizer_name" in data:
        return {**data, "tokenizer_name": model["tokenizer_name"]}
    return dict(data)


def _given_callables(pl_module: pl.LightningModule) -> dict[str, Any]:
    """The classes by which a model makes its optimizer and schedule; functions have no form in a config."""
    found = {}
    for name in _CALLABLES:
        maker = getattr(pl_module, name, None)
        given = maker.keywords if isinstance(maker, functools.partial) else {}
        cls = maker.func if isinstance(maker, functools.partial) else maker
        if isinstance(cls, type):
            found[name] = {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": plain_items(given)}
    return found
