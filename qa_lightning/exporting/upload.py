"""Uploads a model folder to the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qa_lightning.utils.errors import UserError, in_one_line


def check_name(name: str) -> None:
    """Refuses, before any work, what cannot be uploaded at all.

    Raises:
        UserError: For a name that the Hub does not take, or where there is no token.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"--push_to_hub {name}: {in_one_line(error)}") from None
    if "/" not in name:
        raise UserError(f"--push_to_hub {name}: say whose it is, as in USER/{name}")
    if get_token() is None:
        raise UserError(f"--push_to_hub {name} needs a token: log in with `hf auth login`, or set HF_TOKEN")


def push(folder: Path, name: str, *, public: bool = False) -> str:
    """Uploads a folder as a model, which is new or gets what is in the folder.

    Args:
        folder: The folder.
        name: What to call the model, ``USER/NAME``.
        public: Whether everybody may see it.

    Returns:
        Its address.

    Raises:
        UserError: Where the Hub cannot be reached or refuses it, or has a public model of that name already and
            ``public`` was not asked for.
    """
    try:
        address = create(name, public=public, how="add --public", what=str(folder))
        upload(folder, name, "Upload by qa_lightning", what=str(folder))
    except UserError as error:
        raise UserError(f"{error}; the folder is in {folder}") from error
    return address


def create(name: str, *, public: bool, how: str, what: str = "the model") -> str:
    """Makes a model on the Hub, unless it is there.

    Args:
        name: What to call it, ``USER/NAME``.
        public: Whether everybody may see it.
        how: How one says that everybody may, for the message.
        what: What is to be uploaded, for the message.

    Returns:
        Its address.

    Raises:
        UserError: As of `push`.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with _one_line(name, what):
        model = api.create_repo(name, private=not public, exist_ok=True)
        seen_by_all = not public and not api.model_info(model.repo_id).private
    if seen_by_all:
        raise UserError(
            f"{model.repo_id} is on the Hub already and is public: {how} to upload there, or choose another name"
        )
    return str(model)


def upload(folder: Path, name: str, message: str, *, what: str = "the model") -> None:
    """Uploads a folder into a model that `create` made, in one commit.

    Args:
        folder: The folder.
        name: The model's name, ``USER/NAME``.
        message: What the commit is called.
        what: What the folder is, for the message of an error.

    Raises:
        UserError: Where the Hub cannot be reached or refuses it.
    """
    from huggingface_hub import HfApi

    with _one_line(name, what):
        HfApi().upload_folder(repo_id=name, folder_path=folder, commit_message=message)


@contextmanager
def _one_line(name: str, what: str) -> Iterator[None]:
    """Makes a `UserError` of what goes wrong, in whichever library it speaks to the Hub with."""
    try:
        yield
    except Exception as error:
        raise UserError(f"cannot upload {what} as {name}: {in_one_line(error)}") from error
