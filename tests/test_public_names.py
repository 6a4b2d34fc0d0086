"""The names that the package itself has, which are imported when they are asked for."""

from __future__ import annotations

import subprocess
import sys

import qa_lightning
from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.callbacks.results import Results
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.data.synthetic import SyntheticCorpus
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.reader.pipeline import pipeline
from qa_lightning.reader.reader import Reader
from qa_lightning.utils.errors import UserError
from tests.conftest import ROOT


def test_public_names_are_what_their_modules_hold() -> None:
    names = {name: getattr(qa_lightning, name) for name in qa_lightning.__all__ if name != "__version__"}
    assert names == {
        "QADataModule": QADataModule,
        "QALightningModule": QALightningModule,
        "Reader": Reader,
        "Results": Results,
        "RunCheckpoint": RunCheckpoint,
        "SyntheticCorpus": SyntheticCorpus,
        "UserError": UserError,
        "pipeline": pipeline,
    }


def test_the_package_lists_what_it_offers() -> None:
    assert dir(qa_lightning) == sorted(qa_lightning.__all__)
    assert {"QADataModule", "QALightningModule"} <= set(dir(qa_lightning))


def test_the_package_itself_imports_nothing_of_others() -> None:
    code = "import sys; before = set(sys.modules); import qa_lightning; print('torch' in set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"
