"""A run's folder: its name, what stands in it, and where a run's settings are found again."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from qa_lightning.errors import UserError
from qa_lightning.parser import flag_value
from qa_lightning.pretrained import read_checkpoint

_AT_START = ("config.yaml", "data.json", "hparams.yaml")
"""What stands in a run's folder before anything was trained or evaluated."""

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
    for flag, value in (("run_dir", run_dir), ("ckpt_path", checkpoint)):
        if value is not None and not value.strip():
            raise UserError(f"--{flag} is empty: name one, or leave the flag out")
    run_dir = None if run_dir is None else os.path.expanduser(run_dir)
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
def without_false_start(folder: Path) -> Iterator[None]:
    """A context that ends without a trace where a run that is new ends in an error before it came to anything.

    Args:
        folder: The folder of the run, or the one in it that an evaluation writes into.

    Raises:
        UserError: Where it cannot be written to.
    """
    if getattr(rank_zero_only, "rank", 0) != 0:
        yield
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    _make_writable(folder)
    new = not any(folder.iterdir())
    try:
        yield
    except Exception:
        files = [path for path in folder.rglob("*") if path.is_file()]
        if new and all(path.name in _AT_START for path in files):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        for path in made:
            with suppress(OSError):  # as it is not empty, or not there
                path.rmdir()


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except FileExistsError:
        raise UserError(f"{folder}: a file, where the run's folder should be; name another --run_dir") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{folder}: the run's folder cannot be written to ({reason}); name another --run_dir"
        ) from error


@contextmanager
def new_run_dir(name: str) -> Iterator[str]:
    """A new folder ``runs/NAME-TIME`` that no other run has; gone again if nothing was written into it.

    The processes that this one starts get the same name.
    """
    if SHARED_NAME in os.environ:
        yield os.environ[SHARED_NAME]
        return
    folder = Path("runs", f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    first = not folder.parent.exists()
    if getattr(rank_zero_only, "rank", 0) == 0:
        folder = _reserved(folder)
    os.environ[SHARED_NAME] = str(folder)
    try:
        yield str(folder)
    finally:
        del os.environ[SHARED_NAME]
        with suppress(OSError):  # as they are not empty, or not there
            folder.rmdir()
        with suppress(OSError):
            if first:
                folder.parent.rmdir()


def _reserved(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
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
