"""Every ``yaml`` block that README and docs/ show is built: the trainer, the model and the data that it asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.building import build_trainer
from tests.test_documentation import PAGES, Block, read_blocks
from tests.tiny import tiny_folder, write_squad
from tests.training import SETTINGS, trains

pytestmark = trains

BLOCKS = [
    pytest.param(block, id=f"{page.name}-{block.line}")
    for page in PAGES
    for block in read_blocks(page)
    if block.language == "yaml" and block.note != "file"
]

MODULE = """
from qa_lightning import QALightningModule

class MyModule(QALightningModule):
    pass
"""
"""The module of their own that readers are shown how to name."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A config with all that a training needs, over which a block is laid."""
    folder = tmp_path_factory.mktemp("base")
    squad = str(write_squad(folder / "squad.json"))
    lengths = {name: SETTINGS[name] for name in ("max_length", "doc_stride", "max_question_length")}
    config = {
        "model": {"model_name_or_path": str(tiny_folder(folder / "model", layers=8))},
        "data": {"train_file": squad, "validation_file": squad, **lengths},
        "trainer": {"accelerator": "cpu"},
    }
    return yaml.safe_dump(config)


def test_there_are_some() -> None:
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("block", BLOCKS)
def test_what_a_page_shows_is_built(block: Block, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert block.note == ""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    Path("my_package.py").write_text(MODULE)
    for name in ("first.csv", "second.jsonl", "vi.json", "en.json"):
        Path(name).touch()
    Path("block.yaml").write_text(block.text)
    if "train_sets" in block.text:  # which stand in the place of the base's file
        block_data = yaml.safe_load(base)
        del block_data["data"]["train_file"]
        base = yaml.safe_dump(block_data)
    trainer = build_trainer(["--config", base, "--config", "block.yaml", "--run_dir", "run"])
    asked = yaml.safe_load(block.text)
    for kind in ("callbacks", "logger"):
        built = {type(part).__name__ for part in (trainer.callbacks if kind == "callbacks" else trainer.loggers)}
        parts = asked.get("trainer", {}).get(kind, [])
        assert {part["class_path"].rpartition(".")[2] for part in parts} <= built
