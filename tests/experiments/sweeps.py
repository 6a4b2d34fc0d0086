"""Sweeps over a stand-in for a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

PROGRAM = Path(__file__).with_name("stand_in.py")

LR = {"distribution": "log_uniform_values", "min": 1.0e-5, "max": 1.0e-1}
SIZES = {"values": [1, 2, 3]}


def write_sweep(path: Path, **changes: Any) -> Path:
    """A sweep over a learning rate and a size by random draws; a change to None takes a key away."""
    content = {
        "program": str(PROGRAM),
        "method": "random",
        "run_cap": 4,
        "metric": {"name": "val/f1", "goal": "maximize"},
        "parameters": {"model.lr": LR, "size": SIZES},
    }
    content |= changes
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    return path


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of a sweep's table."""
    rows: list[dict[str, Any]] = pq.read_table(folder / "sweep.parquet").to_pylist()
    return rows
