"""What a W&B run kept on disk with WANDB_MODE=offline, read from the file that `wandb sync` would upload."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 32768
"""The file is a LevelDB log: blocks of this size, filled with pieces of records behind headers of seven bytes."""


@dataclass
class OfflineRun:
    """What is in the file.

    Attributes:
        config: The run's config.
        history: The rows of logged values, by name.
        artifacts: Type, aliases and file names of each logged artifact.
        tables: The logged tables, by name, as ``columns`` and ``data``.
        images: The files of the logged images, by name.
    """

    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[tuple[str, set[str], set[str]]] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: dict[str, list[Path]] = field(default_factory=dict)


def read_offline_run(folder: Path) -> OfflineRun:
    """Reads the only offline run in ``folder/wandb``."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    run = OfflineRun()
    for record in _records(path.read_bytes()):
        if record.WhichOneof("record_type") == "config":
            run.config |= _values(record.config.update)
        elif record.WhichOneof("record_type") == "history":
            run.history.append(_values(record.history.item))
        elif record.WhichOneof("record_type") == "artifact":
            files = {entry.path for entry in record.artifact.manifest.contents}
            run.artifacts.append((record.artifact.type, set(record.artifact.aliases), files))
    for row in run.history:
        for key, kind in row.items():
            name = key.removesuffix("/_type")
            if kind == "table-file":
                run.tables[name] = json.loads((path.parent / "files" / row[f"{name}/path"]).read_text())
            elif kind == "images/separated":
                run.images[name] = [path.parent / "files" / file for file in row[f"{name}/filenames"]]
    return run


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(data: bytes) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    place, pieces = 7, b""  # the file begins with seven bytes of its own
    while place + 7 <= len(data):
        left = BLOCK - place % BLOCK
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        pieces += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            record = Record()
            record.ParseFromString(pieces)
            pieces = b""
            yield record
