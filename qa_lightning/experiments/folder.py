"""The folder of an experiment: what it is of, which of its trainings are done, and its table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import whole_file, write_json
from qa_lightning.utils.locks import sole_user

STATE = "experiment.json"


@dataclass
class ExperimentFolder:
    """The folder that an experiment keeps its trainings, its table and its page in.

    Attributes:
        path: The folder.
        verb: What makes it: ``seeds``, ``crossval`` or ``curve``.
        done: How many commands of each training are done and the seconds that they took, by the training's name.
    """

    path: Path
    verb: str
    done: dict[str, dict[str, float]] = field(default_factory=dict)
    _settings: dict[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> Path:
        """The experiment's table, a row for each training."""
        return self.path / f"{self.verb}.parquet"

    @property
    def page(self) -> Path:
        """The experiment's page."""
        return self.path / f"{self.verb}.html"

    @contextmanager
    def at_work(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Begins the experiment, or goes on with it; nobody else works in the folder meanwhile.

        Args:
            settings: What is the same in all of its trainings, as plain data.

        Raises:
            UserError: Where the folder holds something else, or another process is at work there.
        """
        state = self.path / STATE
        if self.path.exists() and not state.is_file() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UserError(f"{self.path}: not empty, and no folder of {self.verb}; name a new one with --output")
        with sole_user(self.path):
            if state.is_file():
                self._read(state, settings)
            self._settings = dict(settings)
            self._write()
            yield

    def note(self, name: str, commands: int, seconds: float) -> None:
        """Notes how many commands of a training are done, and the seconds that they took."""
        self.done[name] = {"commands": commands, "seconds": seconds}
        self._write()

    def write_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes the experiment's table, whole or not at all; rows of plain values with the same names."""
        with whole_file(self.table) as unfinished:
            pq.write_table(pa.Table.from_pylist(list(rows)), unfinished)

    def _read(self, state: Path, settings: Mapping[str, Any]) -> None:
        try:
            written = json.loads(state.read_text(encoding="utf-8"))
            verb, begun = written["verb"], dict(written["settings"])
            done = {
                str(name): {"commands": int(of["commands"]), "seconds": float(of["seconds"])}
                for name, of in written["trainings"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{state}: does not say what the folder is of ({error}); name a new one") from error
        if verb != self.verb:
            raise UserError(f"{self.path} is a folder of {verb}; name a new one with --output")
        plain = json.loads(json.dumps(settings))
        # A setting that another version of the package does not know is none that was changed.
        name = next((name for name in begun if begun[name] != plain.get(name, begun[name])), None)
        if name is not None:
            raise UserError(
                f"{self.path} was begun with other settings ({name} was {begun[name]}, is {plain[name]} now); give the "
                "same to go on with it, or name a new folder with --output"
            )
        self.done = done

    def _write(self) -> None:
        trainings = dict(sorted(self.done.items()))
        write_json(self.path / STATE, {"verb": self.verb, "settings": self._settings, "trainings": trainings})
