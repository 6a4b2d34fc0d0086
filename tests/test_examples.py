"""The scripts in docs/examples run as they are, and print what they promise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qa_lightning.cli.main import main
from tests import forked
from tests.conftest import ROOT
from tests.training import trains

EXAMPLES = ROOT / "docs" / "examples"

pytestmark = [pytest.mark.slow, *trains]


def run_example(name: str, run_dir: Path, **variables: str) -> str:
    """Runs a script as its own process, in the project's folder, and returns what it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RUN_DIR": str(run_dir)} | variables
    result = forked.run([EXAMPLES / name], env=environment)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda script: script.stem)
def test_scripts_are_in_percent_format(script: Path) -> None:
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# %% [markdown]"
    assert lines[1].startswith("# # ")  # a title
    assert "# %%" in lines
    page = (ROOT / "docs" / "guides" / "examples.md").read_text(encoding="utf-8")
    assert f'--8<-- "docs/examples/{script.name}"' in page


def test_training_by_the_python_api(tmp_path: Path) -> None:
    printed = run_example("python_api.py", tmp_path / "run", PASSAGES="60")
    assert printed.splitlines()[-2].startswith("F1 ")
    assert "'answer': " in printed.splitlines()[-1]
    assert "Some answers" in printed
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"best_model", "checkpoints", "config.yaml", "data.json", "logs", "metrics.json"}
    assert main(["report", str(tmp_path / "run")]) == 0


def test_reading_tables_with_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    small = ["--data.synthetic.train_passages", "20", "--data.synthetic.validation_passages", "6"]
    small += ["--trainer.log_every_n_steps", "1"]
    quiet = ["--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
    assert main(["fit", "--config", "configs/quickstart.yaml", "--run_dir", str(tmp_path), *small, *quiet]) == 0
    printed = run_example("run_tables.py", tmp_path)
    assert "val/f1" in printed
    assert "question_type" in printed
    assert "+2: F1 " in printed
