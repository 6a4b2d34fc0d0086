"""How a run was made: its commands, when they were given, the versions, and the settings that are no defaults."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qa_lightning import __version__
from qa_lightning.runs.folder import RunFolder
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import write_json
from qa_lightning.utils.secrets import hide_in_arguments

_PACKAGES = ("torch", "lightning", "transformers", "tokenizers")


@dataclass(frozen=True)
class Command:
    """A command that worked on a run.

    Attributes:
        command: As it can be given again, in a shell; without secrets.
        date: When it was given, as ISO 8601 has it, in UTC.
        versions: Those of Python, of this package and of what it stands on.
    """

    command: str
    date: str
    versions: dict[str, str]


@dataclass(frozen=True)
class RunInfo:
    """What ``run.json`` holds.

    Attributes:
        commands: The command that the run began with, and each that it went on with.
        changed_settings: The settings that differ from their defaults, in the form of ``config.yaml``.
    """

    commands: list[Command]
    changed_settings: dict[str, Any] = field(default_factory=dict)


def this_command(program: str, arguments: Sequence[str]) -> Command:
    """Describes the command that is given now.

    Args:
        program: How the program is called.
        arguments: What follows; the user's own folder is written as ``~``.
    """
    shown = map(_quoted, hide_in_arguments(list(arguments)))
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return Command(" ".join([program, *shown]), date, _versions())


def write_run_info(folder: RunFolder, info: RunInfo) -> None:
    """Writes ``run.json``, whole or not at all."""
    write_json(folder.run_info, asdict(info))


def read_run_info(folder: RunFolder) -> RunInfo | None:
    """Reads what `write_run_info` wrote; None where there is no such file.

    Raises:
        UserError: Where the file is not what it should be.
    """
    path = folder.run_info
    if not path.is_file():
        return None
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        commands = [
            Command(
                str(given["command"]),
                str(given["date"]),
                {str(package): str(number) for package, number in given["versions"].items()},
            )
            for given in written["commands"]
        ]
        settings = written["changed_settings"]
        if not isinstance(settings, dict):
            raise TypeError("changed_settings is no object")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: does not say how a run was made ({error}); remove it, or restore it") from error
    return RunInfo(commands, settings)


def flat_settings(settings: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Names settings as their flags are named, with short texts as values.

    Args:
        settings: Nested, in the form of ``config.yaml``.
        prefix: What the names begin with.
    """
    flat = {}
    for name, value in settings.items():
        key = prefix + str(name)
        if not isinstance(value, dict):
            flat[key] = _plain(value)
        elif "class_path" in value:
            own = str(value["class_path"])
            if not own.startswith("qa_lightning."):
                flat[key] = own.rpartition(".")[2]
            flat |= flat_settings(value.get("init_args") or {}, f"{key}.")
        else:
            flat |= flat_settings(value, f"{key}.") if value else {key: "{}"}
    return flat


def _plain(value: Any) -> str:
    """A value as one would write it; of an object, its class and arguments."""
    if isinstance(value, dict) and "class_path" in value:
        arguments = ", ".join(f"{name}={_plain(inner)}" for name, inner in (value.get("init_args") or {}).items())
        return f"{str(value['class_path']).rpartition('.')[2]}({arguments})"
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, str):
        return _without_home(value)
    return json.dumps(value, ensure_ascii=False)


def _quoted(argument: str) -> str:
    """An argument as a shell takes it."""
    short = _without_home(argument)
    return shlex.quote(argument) if short == argument else f"~{shlex.quote(short[1:])}"


def _without_home(path: str) -> str:
    """A path with ``~`` for the user's folder: who the user is concerns nobody."""
    home = str(Path.home())
    return f"~{path.removeprefix(home)}" if len(home) > 1 and path.startswith(f"{home}/") else path


def _versions() -> dict[str, str]:
    versions = {"qa_lightning": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
