"""The help of a whole section of the settings, such as ``fit --trainer.help``."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.callbacks.results import Results
from qa_lightning.cli.options import linked_arguments
from qa_lightning.cli.overview import PROGRAM
from qa_lightning.cli.trainer import Trainer
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.modeling.module import QALightningModule

SECTIONS: dict[str, type] = {
    "model": QALightningModule,
    "data": QADataModule,
    "checkpoint": RunCheckpoint,
    "results": Results,
    "trainer": Trainer,
}
"""The sections of the settings, and the class whose arguments each of them holds unless another is named."""

TRAINER_DEFAULTS: dict[str, Any] = {"use_distributed_sampler": False, "max_epochs": 3}
"""Arguments of Lightning's trainer that have another default here."""


def run(arguments: list[str]) -> None:
    """Prints what there is to say of the section that the last argument names.

    Args:
        arguments: A verb, and one of `qa_lightning.cli.overview.SECTION_HELP`.
    """
    section = arguments[-1].removeprefix("--").removesuffix(".help")
    usage = f"{PROGRAM} {arguments[0]} [--{section}.OPTION VALUE] ..."
    parser = LightningArgumentParser(prog=PROGRAM, usage=usage, description="", add_help=False)
    cls = SECTIONS[section]
    parser.add_class_arguments(cls, section, fail_untyped=False, skip=linked_arguments(section))
    if section == "trainer":
        parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})
    parser.print_help()
