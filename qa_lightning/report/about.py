"""What a page says of how a run was made: its model, data, settings, commands, versions and date."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.provenance import Provenance, provenance_of
from qa_lightning.runs.run_info import Command, flat_settings, read_run_info
from qa_lightning.utils.errors import UserError

_WORD = re.compile(r"(?:[^\s'\"]|'[^']*'|\"[^\"]*\")+")
_SPLITS = {"training": "train", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class About:
    """How a run was made, as far as its folder says.

    Attributes:
        model: What training began with; empty where it is not known.
        data: What each split was read from, and how many questions and windows it has; by the split's name.
        date: When the run began, as people read it.
        commands: The command that it began with, and each that it went on with.
        settings: The settings that differ from their defaults, by the names of their flags.
        all_known: Whether ``settings`` are all of these, rather than some that the configuration shows.
    """

    model: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    date: str = ""
    commands: tuple[Command, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    all_known: bool = False

    @property
    def versions(self) -> str:
        """The versions that worked last, in a line."""
        versions = self.commands[-1].versions if self.commands else {}
        return ", ".join(f"{name} {number}" for name, number in versions.items())


def about_run(run: Path) -> About:
    """Collects how a run was made.

    Args:
        run: The folder of a run, or of a named evaluation set in it.

    Raises:
        UserError: Where one of its files is not what it should be.
    """
    folder, _ = RunFolder(run).owner()
    if not folder.config.is_file():
        return About()
    origin, info = provenance_of(str(folder.path)), read_run_info(folder)
    try:
        data = dict(_data(origin, _reports(folder)))
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{folder.data_report}: does not say what became of the data ({error}); remove it") from error
    return About(
        model=_model(origin),
        data=data,
        date=readable_date(info.commands[0].date) if info and info.commands else "",
        commands=tuple(info.commands) if info else (),
        settings=flat_settings(info.changed_settings) if info else origin.training,
        all_known=info is not None,
    )


def in_lines(command: str) -> str:
    """A command with each of its flags on a line of its own, still for a shell."""
    return "".join(f" \\\n  {word}" if word.startswith("--") else f" {word}" for word in _WORD.findall(command))[1:]


def readable_date(date: str) -> str:
    """A date and time of ISO 8601 as people read it: ``30 November 2026, 04:19 UTC``; any other text as it is."""
    try:
        found = datetime.fromisoformat(date)
    except ValueError:
        return date
    return f"{found.day} {found:%B %Y, %H:%M} {found.tzname() or ''}".strip()


def _model(origin: Provenance) -> str:
    return f"{origin.base}, from random weights" if origin.random_start else origin.base


def _data(origin: Provenance, reports: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for title, split in _SPLITS.items():
        found = {name: report for name, report in reports.items() if name.partition("/")[0] == split}
        source = origin.data.get(title) or origin.data.get("training and validation", "") * bool(found)
        parts = [source, *(_counts(name.partition("/")[2], report) for name, report in found.items())]
        if any(parts):
            yield title, "; ".join(filter(None, parts))


def _counts(name: str, counts: Mapping[str, Any]) -> str:
    """What a split holds, as ``data.json`` says."""
    words = [f"{counts[unit]:,} {unit}" for unit in ("questions", "windows") if unit in counts]
    lost = [*counts.get("dropped", {}).values(), counts.get("alignment", {}).get("dropped_questions", 0)]
    dropped = sum(lost)
    words += [f"{dropped:,} questions dropped"] if dropped else []
    return f"{name}: {', '.join(words)}" if name else ", ".join(words)


def _reports(folder: RunFolder) -> dict[str, Any]:
    """What became of the data: of an evaluation, also of what its model was trained on."""
    reports: dict[str, Any] = {}
    above = RunFolder(folder.path.resolve().parent)
    for path in (*([above.data_report] if above.is_run else []), folder.data_report):
        if path.is_file():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as error:
                raise UserError(f"{path}: cannot be read as JSON: {error}") from error
            reports |= found
    return reports
