"""Files of models on the Hub."""

from __future__ import annotations

from pathlib import Path


def hub_file(name: str, file: str, revision: str | None) -> Path | None:
    """Downloads a file from the Hub, or finds it in the cache; None where neither has it.

    Args:
        name: The model's name.
        file: The file's name.
        revision: The Hub revision.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError

    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except (EntryNotFoundError, HFValidationError, OSError):  # what needs the name says what is wrong with it
        return None
