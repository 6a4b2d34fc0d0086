"""A training that is killed at any moment, and started again by the same command, ends in the same weights.

``QA_LIGHTNING_KILLS=30 pytest -n0 tests/test_kills.py`` kills as many as that.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests import forked
from tests.conftest import ROOT
from tests.tiny import tiny_folder
from tests.training import SETTINGS, write_long

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("QA_LIGHTNING_KILLS", "6"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

MOMENTS = {
    "start-up": None,
    "reading": "run/.lock",
    "caching tokens": "cache/qa_lightning/tokens/*",
    "the first files": "run/data.json",
    "training": "run/logs/*",
    "saving a checkpoint": "run/checkpoints/.*",
    "saving the model": "run/.best_model-*",
    "after a checkpoint": "run/checkpoints/last.ckpt",
}
"""What a kill waits for, besides a random time: a file that appears."""


class Run:
    """A command in a folder of its own, with a token cache of its own."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.folder = folder
        self.command = [*command, "--run_dir", str(folder / "run")]
        folder.mkdir()

    def start(self, *, real: bool = False) -> forked.Forked | subprocess.Popen[bytes]:
        """Starts it, as a process that imports all it needs where that is to be real."""
        environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(self.folder / "cache")}
        script = (
            "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from qa_lightning.cli.main import main; sys.exit(main())"
        )
        with (self.folder / "said").open("ab") as said:
            command = ["-c", script, *self.command]
            if real:
                return subprocess.Popen([sys.executable, *command], env=environment, stdout=said, stderr=said)
            return forked.Forked(command, env=environment, stdout=said)

    def finish(self, *, real: bool = False) -> None:
        """Runs it to its end."""
        assert self.start(real=real).wait(300) == 0, self.said()

    def kill(self, number: int, moment: str, delay: float) -> int:
        """Starts it, sends a signal at a moment, and returns the status."""
        pattern = MOMENTS[moment]
        process = self.start(real=pattern is None)
        while process.poll() is None and not (pattern is None or any(self.folder.glob(pattern))):
            time.sleep(0.002)
        time.sleep(delay)
        process.send_signal(number)
        return process.wait(120)

    def said(self) -> str:
        return (self.folder / "said").read_text(errors="replace")

    def weights(self) -> dict[str, torch.Tensor]:
        return torch.load(self.folder / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]

    def scores(self) -> list[object]:
        names = ("metrics.json", "predictions.json", "nbest_predictions.json")
        return [json.loads((self.folder / "run" / name).read_text()) for name in names]


def test_kills(tmp_path: Path, show: Callable[[str, str], None]) -> None:
    model, squad = tiny_folder(tmp_path / "model"), write_long(tmp_path / "squad.json", copies=12)
    settings = [item for name, value in SETTINGS.items() for item in (f"--data.{name}", str(value).lower())]
    command = [
        *("fit", "--model.model_name_or_path", str(model), "--model.learning_rate", "1e-3", *settings),
        *("--model.config_overrides", "{hidden_dropout_prob: 0.3}", "--data.batch_size", "4"),
        *("--data.train_file", str(squad), "--data.validation_file", str(squad), "--trainer.max_epochs", "2"),
        *("--trainer.accelerator", "cpu", "--trainer.val_check_interval", "0.5"),
        *("--checkpoint.every_n_train_steps", "7", "--trainer.accumulate_grad_batches", "2"),
        *("--trainer.enable_progress_bar", "false", "--ckpt_path", "last"),
    ]
    whole = Run(tmp_path / "whole", command)
    begun = time.monotonic()
    whole.finish(real=True)
    seconds = time.monotonic() - begun
    expected, scores = whole.weights(), whole.scores()
    dice, lines, wrong = random.Random(0), [], 0
    for i in range(KILLS):
        number, moment = SIGNALS[i % 3], list(MOMENTS)[(i + i // len(MOMENTS)) % len(MOMENTS)]
        # Half of start-up is Python's and torch's; what is after it is over in moments.
        delay = dice.uniform(0.1, seconds) if MOMENTS[moment] is None else dice.uniform(0, 0.02 * seconds)
        run = Run(tmp_path / str(i), command)
        status = run.kill(number, moment, delay)
        # When Python is about to be gone, a signal ends it as such, which a shell gives the same status.
        allowed = {signal.SIGKILL: (-9, 0), signal.SIGTERM: (143, -15, 0), signal.SIGINT: (130, -2, 0)}[number]
        quiet = "Traceback" not in run.said()
        run.finish()
        found = run.weights()
        is_same = all(torch.equal(found[name], expected[name]) for name in expected) and run.scores() == scores
        left = [path for path in (run.folder / "run").rglob(".*") if path.name != ".lock"]
        is_right = status in allowed and quiet and is_same and not left
        wrong += not is_right
        lines.append(
            f"{number.name:8} {moment:20} + {delay:5.2f} s  status {status:4}  "
            f"{'right' if is_right else f'WRONG: quiet {quiet}, same {is_same}, left {left}, said {run.said()}'}"
        )
    show(f"{KILLS} kills, {KILLS - wrong} of which ended in the same weights and scores", "\n".join(lines))
    assert not wrong, "\n".join(lines)
