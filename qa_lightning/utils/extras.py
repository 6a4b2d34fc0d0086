"""Packages that only some uses need."""

from __future__ import annotations

import importlib
from types import ModuleType

from qa_lightning.utils.errors import UserError


def require(module: str, extra: str) -> ModuleType:
    """Imports a module of an optional package.

    Args:
        module: What to import.
        extra: The extra of ours that installs it.

    Raises:
        UserError: Where it is not installed, with the line that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise UserError(f"{module} is not installed: pip install 'qa_lightning[{extra}]'") from error
