"""A run's folder: its name, what stands in it, and where a run's settings are found again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from qa_lightning.errors import UserError
from qa_lightning.parser import flag_value
from qa_lightning.pretrained import read_checkpoint

SHARED_NAME = "QA_LIGHTNING_RUN_DIR"
"""Environment variable by which the first process tells those that it starts the folder's name."""


def earlier_settings(arguments: list[str]) -> list[str]:
    """The arguments with the settings of the run or checkpoint that they name put in front.

    What stands later on a command line wins, so these settings yield to every config and flag.

    Args:
        arguments: A subcommand and its arguments.

    Raises:
        UserError: Where the named run or checkpoint is not there.
    """
    if not arguments or arguments[0].startswith("-"):
        return arguments
    subcommand, *rest = arguments
    run_dir, checkpoint = flag_value(rest, "run_dir"), flag_value(rest, "ckpt_path")
    if checkpoint in ("best", "last") and run_dir is None:
        raise UserError(f"--ckpt_path {checkpoint} says which checkpoint of a run: name the run with --run_dir DIR")
    if run_dir is not None and Path(run_dir, "config.yaml").is_file():
        if subcommand == "fit" and checkpoint is None:
            raise UserError(f"{run_dir} holds a run already; go on with --ckpt_path last, or name another folder")
        return [subcommand, "--config", str(Path(run_dir, "config.yaml")), *rest]
    if run_dir is not None and (subcommand != "fit" or checkpoint in ("best", "last")):
        raise UserError(f"{run_dir}: no run there (no config.yaml); --run_dir names the folder of an earlier fit")
    if checkpoint is not None:
        return [subcommand, "--config", json.dumps(settings_of(checkpoint)), *rest]
    return arguments


def resolve_checkpoint(checkpoint: str | None, run_dir: str | None, subcommand: str) -> str | None:
    """The path of the checkpoint to take: ``best`` and ``last`` are those of the run.

    Raises:
        UserError: Where the run has none.
    """
    if checkpoint is None and run_dir is not None and subcommand != "fit":
        checkpoint = "best"
    if checkpoint not in ("best", "last"):
        return checkpoint
    path = Path(str(run_dir), "checkpoints", f"{checkpoint}.ckpt")
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; this run was not trained so far")
    return str(path)


@contextmanager
def new_run_dir(name: str, root: str | None = None) -> Iterator[str]:
    """A new folder ``NAME-TIME`` that no other run has; gone again if nothing was written into it.

    The processes that this one starts get the same name.

    Args:
        name: What the run is called.
        root: The folder that it is made in; default: ``runs``.

    Raises:
        UserError: Where none can be made there.
    """
    if root is not None and "://" in root:
        raise UserError(f"trainer.default_root_dir {root}: runs are kept in folders of this machine; name one")
    if SHARED_NAME in os.environ:
        yield os.environ[SHARED_NAME]
        return
    folder = Path(root or "runs").expanduser() / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    if getattr(rank_zero_only, "rank", 0) == 0:
        folder = _reserved(folder)
    os.environ[SHARED_NAME] = str(folder)
    try:
        yield str(folder)
    finally:
        del os.environ[SHARED_NAME]
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _reserved(folder: Path) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder.parent}: no runs can be kept there ({error.strerror}); name another folder") from None
    for number in range(2, 10_000):
        try:
            folder.mkdir()
        except FileExistsError:
            folder = folder.with_name(f"{folder.name.rsplit('_', 1)[0]}_{number}")
        else:
            break
    return folder


def settings_of(path: str) -> dict[str, Any]:
    """The model's and the data's arguments that a checkpoint was made with, in the form of a config."""
    checkpoint = read_checkpoint(path)
    config = {}
    for section, key in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
        values = {name: value for name, value in checkpoint.get(key, {}).items() if name != "_instantiator"}
        class_path = values.pop("_class_path", None)
        config[section] = {"init_args": values} | ({"class_path": class_path} if class_path else {})
    return config
