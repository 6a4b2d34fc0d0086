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

from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import remove_unfinished
from qa_lightning.utils.locks import sole_user
from qa_lightning.cli.parser import flag_value
from qa_lightning.pretrained import BEST_MODEL, read_checkpoint
from qa_lightning.utils.processes import is_first

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
    begins = subcommand == "fit" and checkpoint in (None, "last")
    if run_dir is not None and begins and checkpoint is None:
        if _holds_a_model(Path(run_dir)):
            raise UserError(f"{run_dir} holds a run already; go on with --ckpt_path last, or name another folder")
        return arguments  # what is there was never trained, perhaps by another config
    if run_dir is not None and Path(run_dir, "config.yaml").is_file():
        return [subcommand, "--config", str(Path(run_dir, "config.yaml")), *rest]
    if run_dir is not None and not begins and (subcommand != "fit" or checkpoint == "best"):
        raise UserError(f"{run_dir}: no run there (no config.yaml); --run_dir names the folder of an earlier fit")
    if checkpoint not in (None, "last"):
        return [subcommand, "--config", json.dumps(settings_of(checkpoint)), *rest]
    return arguments


def resolve_checkpoint(checkpoint: str | None, run_dir: str | None, subcommand: str) -> str | None:
    """The path of the checkpoint to take: ``best`` and ``last`` are those of the run.

    Returns:
        The path; None where there is none to take: training to go on from the last that has none yet begins.

    Raises:
        UserError: Where the run has none.
    """
    if checkpoint is None and run_dir is not None and subcommand != "fit":
        checkpoint = "best"
    if checkpoint not in ("best", "last"):
        return checkpoint
    path = Path(str(run_dir), "checkpoints", f"{checkpoint}.ckpt")
    if path.is_file():
        return str(path)
    if subcommand == "fit" and checkpoint == "last":
        # The best is saved first, and has all that the last has.
        best = path.with_name("best.ckpt")
        found = f"no {path}: training goes on from best.ckpt" if best.is_file() else None
        if is_first():
            print(found or f"no checkpoint in {run_dir} yet: training starts from the beginning", flush=True)
        return str(best) if best.is_file() else None
    raise UserError(f"{path}: no such checkpoint; this run was not trained so far")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """A context in which only this run writes into a folder, without what a killed one left half-written there.

    The run's other processes rely on the first.

    Raises:
        UserError: Where another run is at work there.
    """
    if not is_first():
        yield
        return
    with sole_user(folder):
        # Evaluations in folders of their own may be at work, and tidy up there themselves.
        sets = [path for path in folder.glob("*/") if not (path / "config.yaml").exists()]
        for place in (folder, *sets):
            remove_unfinished(place)
        shutil.rmtree(folder / ".parts", ignore_errors=True)
        yield


def _holds_a_model(run: Path) -> bool:
    return any(run.glob("checkpoints/*.ckpt")) or (run / BEST_MODEL).exists()


@contextmanager
def without_false_start(folder: Path) -> Iterator[None]:
    """A context that ends without a trace where a run that is new ends in an error before it came to anything.

    Args:
        folder: The folder of the run, or the one in it that an evaluation writes into.

    Raises:
        UserError: Where it cannot be written to.
    """
    if not is_first():
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
    first = not folder.parent.exists()
    if is_first():
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
