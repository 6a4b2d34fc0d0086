"""A run's folder while a run begins and goes on: made, taken by one run at a time, and gone after a false start."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qa_lightning.runs.folder import FILES_AT_START, RunFolder
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import remove_unfinished
from qa_lightning.utils.locks import sole_user
from qa_lightning.utils.processes import is_first

SHARED_NAME = "QA_LIGHTNING_RUN_DIR"
"""Environment variable by which the first process passes the folder's name to those that it starts."""


@contextmanager
def sole_run(folder: Path) -> Iterator[None]:
    """Keeps other runs out of a folder, and removes what a killed run left half-written there.

    Only the run's first process holds the lock; the others rely on it.

    Raises:
        UserError: Where another run is at work there.
    """
    if not is_first():
        yield
        return
    with sole_user(folder):
        # Evaluations in folders of their own may be at work, and tidy up there themselves.
        sets = [path for path in folder.glob("*/") if not RunFolder(path).config.exists()]
        for place in (folder, *sets):
            remove_unfinished(place)
        shutil.rmtree(RunFolder(folder).parts, ignore_errors=True)
        yield


@contextmanager
def without_false_start(folder: Path) -> Iterator[None]:
    """Removes a new run's folder again where the run ends in an error before it came to anything.

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
        if new and all(path.name in FILES_AT_START for path in files):
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
    """Makes a new folder ``NAME-TIME``, and removes it again if nothing was written into it.

    The processes that this one starts get the same folder.

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
