"""Uploads each new best model to the Hub while the training goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_info

from qa_lightning.exporting.background import BackgroundUploads
from qa_lightning.exporting.upload import create, upload
from qa_lightning.pretrained.loading import load_settings
from qa_lightning.runs.folder import RunFolder
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import link_or_copy


class PushToHub(pl.Callback):
    """Uploads ``best_model/`` with a model card in the background, each time that it is another one.

    What is uploaded is a copy (of links, where the file system knows them), so that the next best model may take the
    folder's place meanwhile. A failure is said at the time and stops nothing; `finish` tries again. Only the first
    process uploads.

    Args:
        name: The model's name on the Hub, ``USER/NAME``.
        private: Whether a new one is private.
    """

    def __init__(self, name: str, private: bool = True) -> None:
        self.name = name
        self.private = private
        self.address = ""
        self._uploads = BackgroundUploads(self._upload, self._say)
        self._run: RunFolder | None = None
        self._seen: tuple[int, int] | None = None
        self._copies = 0
        self._error: UserError | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Makes the model on the Hub, so that a training without a place to go to does not begin.

        Raises:
            UserError: Where the Hub cannot be reached or refuses it; on every process.
        """
        if stage != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        refusal = None
        if trainer.is_global_zero:
            from huggingface_hub.utils import disable_progress_bars, logging

            disable_progress_bars()  # they would run through the training's own
            logging.set_verbosity_error()  # each try again would be a line
            self._run = RunFolder(Path(trainer.default_root_dir))
            shutil.rmtree(self._run.uploads, ignore_errors=True)  # of a training that was killed
            try:
                self.address = create(self.name, public=not self.private, how="set hub_private_repo to false")
            except UserError as error:
                refusal = str(error)
        refusal = trainer.strategy.broadcast(refusal)
        if refusal is not None:
            raise UserError(refusal)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Uploads the best model of a training that goes on, which may have ended before it could be."""
        self._look()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Uploads a new best model."""
        self._look()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Uploads the model of a training that validated nothing."""
        self._look()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leaves what was not uploaded to a training that goes on."""
        if self._run is not None and self._uploads.busy:
            rank_zero_info(f"The upload to {self.name} is left unfinished; going on with training begins it again")
        self._uploads.give_up()
        self._clear()

    def finish(self) -> None:
        """Waits for the last upload, which is tried once more where it failed, and says where the model is.

        Raises:
            UserError: Where it failed again.
        """
        if self._run is None:
            return
        if self._uploads.busy:
            print(f"The best model is on its way to {self.name}", flush=True)
        try:
            if (self._uploads.wait() or self._error) is not None:
                self._upload(self._copy(self._run))
        except (UserError, OSError) as error:
            folder = self._run.best_model
            raise UserError(f"{error}; it is in {folder}: `hf upload {self.name} {folder} .` uploads it") from error
        finally:
            self._uploads.give_up()  # nothing waits any more, unless this was interrupted
            self._clear()
        print(f"The best model is at {self.address}")

    def _look(self) -> None:
        """Uploads the best model where it is not the one that was there before."""
        if self._run is None:
            return
        try:
            found = self._run.best_model.stat()
        except FileNotFoundError:
            return
        # Each is a new folder, which takes the other's place, whoever writes it.
        if self._seen != (seen := (found.st_ino, found.st_mtime_ns)):
            self._seen, self._error = seen, None
            try:
                self._uploads.put(self._copy(self._run))
            except (UserError, OSError) as error:
                self._error = UserError(f"cannot upload the best model as {self.name}: {error}")
                self._say(self._error)

    def _copy(self, run: RunFolder) -> Path:
        """Copies the best model, with its card, into a folder of its own."""
        # Imported here, since they bring much that a training without uploads never needs.
        from qa_lightning.exporting.card import CARD, render
        from qa_lightning.runs.provenance import provenance_of

        self._copies += 1
        folder = run.uploads / str(self._copies)
        shutil.copytree(run.best_model, folder, copy_function=link_or_copy)
        card = render(self.name, provenance_of(str(run.path)), load_settings(str(folder)), None, self.name)
        (folder / CARD).write_text(card, encoding="utf-8", newline="\n")
        return folder

    def _upload(self, folder: Path) -> None:
        upload(folder, self.name, "Best model so far", what="the best model")

    def _say(self, error: UserError) -> None:
        rank_zero_info(f"{error}; it is tried again with the next best model, or when training ends")

    def _clear(self) -> None:
        if self._run is not None:
            shutil.rmtree(self._run.uploads, ignore_errors=True)
