"""Private parts of other packages that this one uses or overrides: each is named here, and is still there.

What is private may go in any release, and then an override would silently do nothing. So each use is listed, and
``pyproject.toml`` bounds the versions of the packages from above.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache

import pytest
import torch

import qa_lightning
from tests.conftest import ROOT

FOREIGN = ("jsonargparse", "lightning", "torch", "torchmetrics", "transformers")

PRIVATES = {
    "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint": {"_last_global_step_saved", "_save_checkpoint"},
    "lightning.pytorch.callbacks.weight_averaging.WeightAveraging": {"_average_model"},
    "lightning.pytorch.cli.LightningCLI": {"_get", "_parse_ckpt_path"},
    "lightning.pytorch.core.module.LightningModule": {"_trainer"},
    "lightning.pytorch.trainer.connectors.signal_connector._SignalConnector": {"_register_signal"},
    "lightning.pytorch.trainer.trainer.Trainer": {"_signal_connector"},
}
"""Classes of other packages, and their private names that subclasses in this package use, set or override."""

IMPORTED = {
    "lightning.pytorch.trainer.connectors.signal_connector._SignalConnector",
    "torch._dynamo.config",
    "torch._functorch.config",
}
"""Private names, and names in private modules, that are imported from other packages."""

OF_PYTHON = {"_abc_impl", "_backward_cls"}
"""Names that every class of a kind has, which nobody uses."""


def modules() -> Iterator[str]:
    """The names of all modules of the package."""
    for module in pkgutil.walk_packages(qa_lightning.__path__, "qa_lightning."):
        if not module.name.endswith("__main__"):
            yield module.name


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_foreign(name: str) -> bool:
    return name.split(".")[0] in FOREIGN


@cache
def own_names(cls: type) -> frozenset[str]:
    """The private names that a class itself defines, or sets on ``self``."""
    names = {*vars(cls), *re.findall(r"self\.(_\w+)(?:: [^=\n]+)? = ", source(cls))}
    return frozenset(filter(is_private, names))


def source(cls: type) -> str:
    return textwrap.dedent(inspect.getsource(cls))


def found_privates() -> dict[str, set[str]]:
    """What `PRIVATES` must be, by the source of the package and of the packages it builds on."""
    found: dict[str, set[str]] = {}
    for name in modules():
        for cls in vars(importlib.import_module(name)).values():
            if not inspect.isclass(cls) or cls.__module__ != name:
                continue
            bases = [base for base in cls.__mro__ if is_foreign(base.__module__)]
            if not bases:
                continue
            used = set(re.findall(r"(?:self|super\(\))\.(_\w+)", source(cls))) | own_names(cls)
            used -= OF_PYTHON
            for private in filter(is_private, used):
                owner = next((base for base in bases if private in own_names(base)), None)
                if owner is not None:
                    found.setdefault(f"{owner.__module__}.{owner.__qualname__}", set()).add(private)
    return found


def found_imports() -> set[str]:
    """What `IMPORTED` must be."""
    found = set()
    for name in modules():
        tree = ast.parse(inspect.getsource(importlib.import_module(name)))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and is_foreign(node.module):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if any(map(is_private, name.split(".")))}


def test_each_private_that_is_used_is_named_and_exists() -> None:
    assert found_privates() == PRIVATES


def test_each_private_that_is_imported_is_named() -> None:
    assert found_imports() == IMPORTED


def test_private_flags_of_optimizers() -> None:
    # By it, a step is known to be skipped where a loss is not a number.
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], fused=True)
    assert optimizer._step_supports_amp_scaling is True  # type: ignore[attr-defined]


@pytest.mark.parametrize("package", sorted({name.split(".")[0] for name in (*PRIVATES, *IMPORTED)}))
def test_packages_whose_privates_are_used_are_bounded_from_above(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (line,) = (line for line in project["dependencies"] if re.match(rf"{package}\b", line))
    assert "<" in line
