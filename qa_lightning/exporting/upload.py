"""Puts a model folder on the Hub."""

from __future__ import annotations

from pathlib import Path

from qa_lightning.errors import UserError
from qa_lightning.pretrained import in_one_line


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
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        model = api.create_repo(name, private=not public, exist_ok=True)
        if not public and not api.model_info(model.repo_id).private:
            raise UserError(
                f"{model.repo_id} is on the Hub already and is public: add --public to upload there, or choose "
                f"another name; the folder is in {folder}"
            )
        api.upload_folder(repo_id=model.repo_id, folder_path=folder, commit_message="Upload by qa_lightning")
    except UserError:
        raise
    except Exception as error:  # of whichever library it speaks to the Hub with
        raise UserError(f"cannot upload {folder} as {name}: {in_one_line(error)}; the folder is whole") from error
    return str(model)
