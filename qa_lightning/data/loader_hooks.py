"""The hooks of data modules of ours that make loaders, and that resume a training in the middle of an epoch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.loaders import Placement, evaluation_batch_sampler, make_loader, training_batch_sampler
from qa_lightning.data.mixed_windows import join_sets
from qa_lightning.data.mixture import AllWindows, Mixture
from qa_lightning.data.splits import Split
from qa_lightning.records import Batch, WindowConfig


class LoaderMixin(pl.LightningDataModule):
    """The part of a data module that says how windows come in batches.

    Attributes:
        splits: The sets that were read, by split.
        split_config: How they were cut into windows.
        batch_size: Windows in a training batch, on each device.
        tokens_per_batch: Tokens in a training batch, instead.
        batch_shapes: In how many shapes batches come at most.
    """

    splits: dict[str, list[Split]]
    split_config: WindowConfig
    batch_size: int
    tokens_per_batch: int | None
    batch_shapes: int | None
    _eval_batch_size: int | None

    def __init__(self) -> None:
        super().__init__()
        self._resume_position: dict[str, int] | None = None

    @property
    def eval_batch_size(self) -> int:
        """Windows of ``max_length`` tokens in an evaluation batch."""
        return self._eval_batch_size or 2 * self.batch_size

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches were trained (worker processes may have loaded more)."""
        assert self.trainer is not None
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return {"epoch": self.trainer.current_epoch, "trained": progress.processed}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Resumes training with the next batch."""
        self._resume_position = dict(state_dict)
        # Lightning looks for a loader that is resumed by itself; it has this one made before it would resume it.
        warnings.filterwarnings("ignore", ".*your dataloader is not resumable")

    def prepare_data(self) -> None:
        """Fills the token cache, on one process of each machine, so that the others only read it."""
        assert self.trainer is not None
        assert self.trainer.state.fn is not None
        self.setup(self.trainer.state.fn.value)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Makes the training loader: batches of windows of similar length, in a new order each epoch."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        sets = self.training_sets(seed)
        dataset = join_sets(sets)
        batches = training_batch_sampler(
            dataset,
            self.mixture(sets),
            self._placement(),
            batch_size=self.batch_size,
            tokens_per_batch=self.tokens_per_batch,
            shapes=self.batch_shapes,
            seed=seed,
        )
        for part in sets:
            part.follow(batches)
        if self._resume_position is not None:
            batches.skip(**self._resume_position)
            self._resume_position = None
        return make_loader(dataset, batches, self._placement().device)

    def training_sets(self, seed: int) -> list[WindowDataset]:
        """The windows of each training set."""
        return [part.dataset for part in self.splits["train"]]

    def mixture(self, sets: Sequence[WindowDataset]) -> Mixture:
        """What draws the windows of each epoch from these sets."""
        return Mixture([AllWindows(dataset.lengths) for dataset in sets])

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Makes a loader for each validation set, the monitored one first."""
        return self._evaluation_loaders("validation")

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """Makes a loader for each test set, the one of ``test/f1`` first."""
        return self._evaluation_loaders("test")

    def predict_dataloader(self) -> list[DataLoader[Batch]]:
        """Makes a loader for each set of questions to predict."""
        return self._evaluation_loaders("predict")

    def _evaluation_loaders(self, split: str) -> list[DataLoader[Batch]]:
        return [self._evaluation_loader(part.dataset) for part in self.splits[split]]

    def _evaluation_loader(self, dataset: WindowDataset) -> DataLoader[Batch]:
        place = self._placement()
        batches = evaluation_batch_sampler(
            dataset,
            place,
            batch_size=self.eval_batch_size,
            max_length=self.split_config.max_length,
            shapes=self.batch_shapes,
        )
        return make_loader(dataset, batches, place.device)

    def _placement(self) -> Placement:
        """Where batches are built: without a trainer, on the CPU of one process."""
        trainer = self.trainer
        if trainer is None:
            return Placement()
        return Placement(
            device=trainer.strategy.root_device,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            # A model that wants the windows of a batch in one row says so by this attribute.
            packs_windows=bool(getattr(trainer.lightning_module, "packs_windows", False)),
        )
