"""What a training's data have beyond the windows that were read: augmented texts, mixed sets, and teachers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qa_lightning.data.augmentation import Augmentation, Augmenter
from qa_lightning.data.augmented_windows import AugmentedWindows
from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.loader_hooks import LoaderMixin
from qa_lightning.data.mix_sets import mix_sets
from qa_lightning.data.mixing import Mixing
from qa_lightning.data.mixture import Mixture
from qa_lightning.data.splits import SplitConfig
from qa_lightning.data.teacher_targets import attach_teachers
from qa_lightning.pretrained.loading import load_settings, load_tokenizer
from qa_lightning.pretrained.settings import null_at_end


class TrainingDataMixin(LoaderMixin):
    """The part of a `QADataModule` that says which windows are trained on.

    Attributes:
        null_windows: Share of an epoch's windows that hold no answer; None: as many as there are.
        mixing: How several training sets are mixed.
        weights: The weight of each named training set; empty where there is one without a name.
        augmentation: How the training questions are changed in each epoch.
        model_name: The name of the model.
        tokenizer_name: The name of the tokenizer.
    """

    split_config: SplitConfig
    null_windows: float | None
    mixing: Mixing
    weights: dict[str, float | None]
    augmentation: Augmentation
    model_name: str | None
    tokenizer_name: str | None
    _training: bool

    def training_sets(self, seed: int) -> list[WindowDataset]:
        """The windows of each training set; augmented if so set, in a way that depends on the seed."""
        self._attach_teachers()
        if not self.augmentation.is_on:
            return super().training_sets(seed)
        sets = self.splits["train"]
        table, tokenizer = self.augmentation.read_table(), load_tokenizer(str(self.tokenizer_name))
        contexts = [part.table["context"].combine_chunks().dictionary for part in sets]
        return [
            AugmentedWindows(part, Augmenter(self.augmentation, table, texts, seed), tokenizer)
            for part, texts in zip(sets, contexts, strict=True)
        ]

    def mixture(self, sets: Sequence[WindowDataset]) -> Mixture:
        """What draws the windows of each epoch from these sets, as they are to be mixed."""
        return mix_sets(sets, self.null_windows, self.mixing, self.weights)

    def _attach_teachers(self) -> None:
        """Adds to training data what the teachers of the model predict for it."""
        teachers = () if self.trainer is None else getattr(self.trainer.lightning_module, "teachers", ())
        if not teachers:
            for part in self.splits["train"]:
                part.dataset.teachers = ()
            return
        assert self.tokenizer_name is not None
        tokenizer = load_tokenizer(self.tokenizer_name)
        config = replace(self.split_config, null_at_end=self._null_at_end())
        for part in self.splits["train"]:
            attach_teachers(part, teachers, tokenizer, config, self._placement().device)

    def _null_at_end(self) -> bool:
        tokenizer = load_tokenizer(self.tokenizer_name) if self.tokenizer_name is not None else None
        return null_at_end(tokenizer, load_settings(self.model_name), training=self._training)
