"""Turns what Lightning, torch and the operating system refuse into the one line that a user's own mistakes end in.

An exception is a refusal where it speaks of what the user asked for, and a fault of the program, whose traceback is
worth having, in all other cases. Which it is shows in where it was raised:

- Nobody but an optimizer, a schedule or Lightning itself knows settings only: what they raise is a refusal at any time.
- Before the first batch is done, whatever an installed package raises is one: a setting that cannot work, a compiler
  that is not there.
- What is raised in this package or in the user's own modules is a fault. Where the user's own class refuses its
  arguments, it is not: the parser, which builds it, wraps what it raises.
- Disk and memory that are used up are refusals wherever it happens.
"""

from __future__ import annotations

import itertools
import re
import shlex
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from qa_lightning.utils.errors import DEBUG, UserError
from qa_lightning.utils.terminal import one_line, shortened

_SETTINGS_ONLY = ("lightning.", "torch.optim.")
_ALREADY_IN_WORDS = (ValueError, TypeError, RuntimeError, ImportError, AssertionError)
_CONFIGURABLE = {
    "Accelerator",
    "Callback",
    "ClusterEnvironment",
    "LRScheduler",
    "Logger",
    "Optimizer",
    "Precision",
    "Profiler",
    "Strategy",
}
_LONGEST = 300
_TO_INSTALL = re.compile(r"`pip install (?:-U )?(['\"]?)(?P<what>[\w.\[\]<>=,~! -]+)\1`")
_NO_MEMORY = re.compile(r"out of memory|not enough memory|can't allocate memory|[Uu]nable to allocate|bad alloc")
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))


@dataclass
class Progress:
    """How far a command has come.

    Attributes:
        started: Whether it has begun with what it is there for: a batch of training or evaluation is done.
        trained_in: The folder of the run that it trains; None where it trains none.
    """

    started: bool = False
    trained_in: str | None = None


@contextmanager
def unwrap_user_errors(progress: Progress) -> Iterator[None]:
    """Turns an exception that refuses what the user asked for into a `UserError`.

    Raises:
        UserError: In the place of a refusal. Faults pass as they are.
    """
    try:
        yield
    except Exception as error:
        refused = refusal(error, progress)
        if refused is None or refused is error:
            raise
        raise refused from error


def refusal(error: Exception, progress: Progress) -> UserError | None:
    """Turns an exception into a `UserError` where it refuses what the user asked for; None where it is a fault."""
    built = False
    while _module(error).startswith("jsonargparse.") and isinstance(error.__cause__, Exception):
        error, built = error.__cause__, True
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError | MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        return UserError(what_failed(error))
    module = _module(error)
    if (
        type(error).__name__ == "MisconfigurationException"
        or module.startswith(_SETTINGS_ONLY)
        or (not progress.started and _is_installed(_origin(error)))
        or (built and isinstance(error, ValueError | TypeError) and not module.startswith("qa_lightning."))
    ):
        return UserError(_in_words(error))
    return None


def what_failed(error: Exception) -> str:
    """What the operating system would not do, with the file; or that memory is used up, and what takes less."""
    if isinstance(error, OSError):
        reason = error.strerror or str(error) or type(error).__name__
        return f"{error.filename}: {reason}" if error.filename else reason
    said = _sentences(one_line(str(error)))
    return f"memory is used up{f' ({said})' if said else ''}; smaller batches and shorter windows take less"


def _in_words(error: Exception) -> str:
    """What an exception says, and of which of the configurable objects, in a few sentences at most."""
    text = in_words_of_pip(one_line(str(error)))
    kind = type(error).__name__
    if not text or not (kind == "MisconfigurationException" or isinstance(error, _ALREADY_IN_WORDS)):
        text = f"{kind}{f': {text}' if text else ''} ({DEBUG}=1 shows where)"
    below = itertools.takewhile(lambda frame: not _name(frame).startswith("qa_lightning."), reversed(_frames(error)))
    owner = next(filter(None, map(_configurable, below)), None)
    return text if owner is None or owner in text else f"{owner}: {text}"


def in_words_of_pip(text: str) -> str:
    """What a message says, in a few sentences at most; one that asks for a package as no more than that.

    Lightning names the packages that would do one after the other: the last is the one it is usually used with.
    """
    asked = list(_TO_INSTALL.finditer(text))
    if asked:
        what = asked[-1]["what"].strip()
        return f"it needs a package that is not here: pip install -U {shlex.quote(what)}"
    return _sentences(text)


def _sentences(text: str) -> str:
    """The first sentences of a text, as many as fit; of a first one that is too long, what fits."""
    kept = ""
    for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z`'\"])", text):
        if kept and len(kept) + len(sentence) >= _LONGEST:
            break
        kept = f"{kept} {sentence}".strip()
    return shortened(kept, _LONGEST).rstrip(".")


def _configurable(frame: FrameType) -> str | None:
    """The name of the class whose method a frame is, where a config may name it: a callback, an optimizer."""
    cls = type(frame.f_locals.get("self"))
    return cls.__name__ if _CONFIGURABLE & {base.__name__ for base in cls.__mro__[1:]} else None


def _module(error: Exception) -> str:
    origin = _origin(error)
    return "" if origin is None else _name(origin)


def _name(frame: FrameType) -> str:
    """The name of a frame's module, with a full stop behind it."""
    return f"{frame.f_globals.get('__name__', '')}."


def _origin(error: Exception) -> FrameType | None:
    """The frame that an exception comes from: the innermost that is not the standard library's."""
    return next((frame for frame in reversed(_frames(error)) if not _is_standard(frame)), None)


def _frames(error: Exception) -> list[FrameType]:
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]


def _is_standard(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return file.startswith("<") or (_STANDARD_LIBRARY in Path(file).parents and not _is_installed(frame))


def _is_installed(frame: FrameType | None) -> bool:
    return frame is not None and not {"site-packages", "dist-packages"}.isdisjoint(Path(frame.f_code.co_filename).parts)
