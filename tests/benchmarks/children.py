"""Stands for the harness' processes, which import torch again, where only what they give is looked at."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

from benchmarks import harness
from tests import forked


def in_fork(module: str, *args: object, watch: bool = False) -> dict[str, Any]:
    """Takes and gives what `harness.in_child` does, from a process that is forked."""
    with tempfile.TemporaryDirectory() as cache:
        own = {"XDG_CACHE_HOME": cache, "HF_HOME": f"{cache}/huggingface"}
        with forked.Forked(["-m", module, *args], env=os.environ | own) as child:
            watcher = harness._Watcher(child.pid) if watch else None
            try:
                output, complaints = child.communicate(300)
            finally:
                peak = watcher.stop() if watcher else None
        assert child.returncode == 0, complaints
    result = json.loads(output.rstrip().rpartition("\n")[2])
    return result if peak is None else result | {"peak": peak}
