"""The LightningDataModule: which splits there are, and their loaders."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from qa_lightning.data.agreement import check_agreement, check_trainer
from qa_lightning.data.alignment import OnMisaligned
from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.encode import AnswerChoice
from qa_lightning.data.file_settings import Files, NamedFiles, check_files_named, check_set_names, file_names
from qa_lightning.data.loaders import Placement, evaluation_batch_sampler, make_loader, training_batch_sampler
from qa_lightning.data.sources import read_examples, rows_to_examples
from qa_lightning.data.splits import Split, SplitConfig, build_split
from qa_lightning.data.synthetic import SyntheticCorpus
from qa_lightning.data.textfiles import CSVFormat, TextFormat
from qa_lightning.data.tokens import default_cache_dir
from qa_lightning.pretrained import load_settings, load_tokenizer, null_at_end
from qa_lightning.records import Batch, WindowConfig
from qa_lightning.utils.bounds import MOST_WINDOWS, check_between
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.plain import as_text

_ANY_CSV = CSVFormat()
_SPLITS = {
    "fit": ("train", "validation"),
    "validate": ("validation",),
    "test": ("test",),
    "predict": ("predict",),
}


class QADataModule(pl.LightningDataModule):
    """Extractive question-answering data: files, a Hub data set or the built-in synthetic corpus.

    Args:
        model_name_or_path: The model whose tokenizer is used; linked to the model's.
        config_name: The folder of a random start, whose tokenizer is used likewise; linked to the model's.
        tokenizer_name: Another tokenizer: a name, a folder, or a checkpoint of ours.
        dataset_name: A data set on the Hub, for the splits for which no file is named.
        dataset_config_name: The configuration of the data set.
        dataset_revision: The revision of the data set, such as ``refs/convert/parquet``.
        train_file: File or files to train on: SQuAD JSON, JSON Lines, CSV, TSV (each of them also as ``.gz``),
            Parquet or an Arrow folder. An id that occurs twice in a file is given a number.
        validation_file: The same for validation; a mapping of names to files makes several validation sets,
            each with its own scores, of which the first is watched.
        test_file: File or files to test on; a mapping makes several test sets, as for validation.
        predict_file: File or files to predict; the questions need no answers.
        train_split: Which part to train on, in datasets' notation (``train[:5%]``); questions are counted.
        validation_split: Which part to validate on, likewise.
        test_split: Which part to test on, likewise.
        predict_split: Which part to predict, likewise.
        column_names: Our columns (id, question, context, answers, answer_start) by the names they have in the data.
            ``answer_start`` is for rows that have the answer's text in one column and its offset in another; a
            column of that name is used by default.
        csv: How CSV and TSV files are written, where it cannot be seen from their first line.
        encoding: The encoding of text files; default: UTF-8, or what a file's first bytes show.
        synthetic: The built-in corpus, for trying things without any data.
        version_2_with_negative: Whether some questions have no answer: their answers are null, empty, or empty texts.
            In training, ``is_impossible`` counts more than answers that are there; in evaluation they do.
        on_misaligned: What to do with answers that do not stand where the data says: ``repair`` looks for
            them, ``drop`` leaves them out of training, ``error`` stops.
        answers: Which of several gold answers to train on: ``first``, ``most_frequent`` or ``all``.
        allow_impossible_windows: Whether to train on windows of an answerable question that do not hold its
            answer (they count as having none).
        max_length: Most tokens of a window: question, context and special tokens.
        doc_stride: Context tokens that neighbouring windows share. In training, an answer that none of them holds
            whole gets a window of its own; where it is longer than a window, its question is left out.
        max_question_length: Most tokens of a question; longer ones are cut.
        batch_shapes: In how many shapes (windows × tokens) the batches of training, and those of evaluation, come at
            most, which are chosen for little padding; default: 12 on a GPU, to which each new shape is costly, while on
            a CPU each batch is as long as its longest window.
        batch_size: Windows in a training batch, on each device.
        tokens_per_batch: Fills training batches to about so many tokens instead, padding not counted, with any
            number of windows; each window counts the same in the loss. At least ``max_length``.
        eval_batch_size: Windows of ``max_length`` tokens in an evaluation batch, of shorter ones accordingly
            more; default: twice ``batch_size``.
        cache_dir: Where tokens are kept between runs; default: ``qa_lightning`` in the user's cache folder.
    """

    def __init__(
        self,
        model_name_or_path: str | None = None,
        config_name: str | None = None,
        tokenizer_name: str | None = None,
        dataset_name: str | None = None,
        dataset_config_name: str | None = None,
        dataset_revision: str | None = None,
        train_file: Files | None = None,
        validation_file: Files | NamedFiles | None = None,
        test_file: Files | NamedFiles | None = None,
        predict_file: Files | NamedFiles | None = None,
        train_split: str = "train",
        validation_split: str = "validation",
        test_split: str = "test",
        predict_split: str = "test",
        column_names: dict[str, str] | None = None,
        csv: CSVFormat = _ANY_CSV,
        encoding: str | None = None,
        synthetic: SyntheticCorpus | None = None,
        version_2_with_negative: bool = False,
        on_misaligned: OnMisaligned = "repair",
        answers: AnswerChoice = "first",
        allow_impossible_windows: bool = True,
        max_length: int = WindowConfig.max_length,
        doc_stride: int = WindowConfig.doc_stride,
        max_question_length: int = WindowConfig.max_question_length,
        batch_shapes: int | None = None,
        batch_size: int = 16,
        tokens_per_batch: int | None = None,
        eval_batch_size: int | None = None,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        model_name_or_path, config_name, tokenizer_name = map(
            as_text, (model_name_or_path, config_name, tokenizer_name)
        )
        train_file, validation_file = file_names("train", train_file), file_names("validation", validation_file)
        test_file, predict_file = file_names("test", test_file), file_names("predict", predict_file)
        self.save_hyperparameters(logger=False)  # a checkpoint holds plain data only
        if isinstance(synthetic, dict):  # as a checkpoint holds it
            synthetic = SyntheticCorpus(**synthetic)
        if synthetic is not None:
            self.hparams["synthetic"] = asdict(synthetic)
        if isinstance(csv, dict):  # as a checkpoint holds it
            csv = CSVFormat(**csv)
        self.hparams["csv"] = asdict(csv)
        for name, value in (
            ("batch_size", batch_size),
            ("eval_batch_size", eval_batch_size),
            ("batch_shapes", batch_shapes),
        ):
            if value is not None:
                check_between(name, value, 1, MOST_WINDOWS)
        check_between("max_length", max_length, 1, MOST_WINDOWS)
        check_between("tokens_per_batch", tokens_per_batch or 0, 0, MOST_WINDOWS * max_length)
        if tokens_per_batch is not None and tokens_per_batch < max_length:
            raise UserError(f"tokens_per_batch ({tokens_per_batch}) must be at least max_length ({max_length})")
        self.model_name = model_name_or_path
        self.tokenizer_name = tokenizer_name or model_name_or_path or config_name
        self.dataset_name = dataset_name
        self.dataset_config_name = dataset_config_name
        self.dataset_revision = dataset_revision
        self.files: Mapping[str, Files | NamedFiles | None] = {
            "train": train_file,
            "validation": validation_file,
            "test": test_file,
            "predict": predict_file,
        }
        for split, files in self.files.items():
            check_files_named(f"data.{split}_file", files)
            if isinstance(files, dict):
                check_set_names(split, files)
        self.selections = {
            "train": train_split,
            "validation": validation_split,
            "test": test_split,
            "predict": predict_split,
        }
        self.column_names = column_names
        self.text_format = TextFormat(encoding, csv.delimiter)
        self.synthetic = synthetic
        self.batch_size = batch_size
        self.tokens_per_batch = tokens_per_batch
        self.batch_shapes = batch_shapes
        self._eval_batch_size = eval_batch_size
        self.cache_dir = Path(cache_dir) if cache_dir else default_cache_dir()
        self.split_config = SplitConfig(
            max_length=max_length,
            doc_stride=doc_stride,
            max_question_length=max_question_length,
            answers=answers,
            allow_impossible_windows=allow_impossible_windows,
            version_2_with_negative=version_2_with_negative,
            on_misaligned=on_misaligned,
            cache_dir=self.cache_dir,
        )
        self.splits: dict[str, list[Split]] = {}
        self._resume_position: dict[str, int] | None = None
        self._training = False

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

    def setup(self, stage: str) -> None:
        """Reads the splits and cuts them into windows: those of ``fit``, ``validate``, ``test`` or ``predict``.

        Raises:
            UserError: For every fault in the data or the settings, before anything is trained.
        """
        if stage == "fit" and not self._training:
            before = self.splits and self._null_at_end()
            self._training = True
            if self.splits and self._null_at_end() != before:
                self.splits.clear()  # made for a model that is not trained, which has null elsewhere
        if self.trainer is not None:
            check_trainer(self.trainer)
            check_agreement(self.trainer.lightning_module, self.split_config, self.tokenizer_name)
        self._check_sources(stage)
        with gc_paused():
            for split in _SPLITS[stage]:
                if split not in self.splits:
                    self.splits[split] = list(self._build(split, required=split != "validation" or stage != "fit"))
                    for part in self.splits[split]:
                        rank_zero_info(part.summary)

    def reports(self) -> dict[str, Any]:
        """Reports what was read, repaired, cut and dropped, by split, as plain data."""
        return {
            "/".join(filter(None, (split, part.dataset.name))): part.report
            for split, parts in self.splits.items()
            for part in parts
        }

    def train_dataloader(self) -> DataLoader[Batch]:
        """Makes the training loader: batches of windows of similar length, in a new order each epoch."""
        dataset = self.splits["train"][0].dataset
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        batches = training_batch_sampler(
            dataset,
            self._placement(),
            batch_size=self.batch_size,
            tokens_per_batch=self.tokens_per_batch,
            shapes=self.batch_shapes,
            seed=seed,
        )
        if self._resume_position is not None:
            batches.skip(**self._resume_position)
            self._resume_position = None
        return make_loader(dataset, batches, self._placement().device)

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Makes a loader for each validation set, the monitored one first."""
        return self._evaluation_loaders("validation")

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """Makes a loader for each test set, the one of ``test/f1`` first."""
        return self._evaluation_loaders("test")

    def predict_dataloader(self) -> list[DataLoader[Batch]]:
        """Makes a loader for each set of questions to predict."""
        return self._evaluation_loaders("predict")

    def _check_sources(self, stage: str) -> None:
        """Refuses splits that the synthetic corpus does not have, and logs which settings take precedence over it."""
        if self.synthetic is None:
            return
        chosen = {split: self._overriding_setting(split) for split in _SPLITS[stage]}
        for split, setting in chosen.items():
            if setting is None and split in ("test", "predict"):
                raise UserError(
                    f"the synthetic corpus has questions for training and validation only; set data.{split}_file to a "
                    "file, or evaluate on its validation questions with validate"
                )
            if setting is None and chosen.get("train") is not None:
                raise UserError(
                    f"training is on data.{chosen['train']}, and validation would be on the synthetic corpus; set "
                    "data.validation_file to a file, or data.synthetic to null"
                )
        for split, setting in chosen.items():
            if setting is not None and split not in self.splits:
                rank_zero_info(f"{split}: data.{setting} is taken, not data.synthetic")

    def _overriding_setting(self, split: str) -> str | None:
        """The setting that takes precedence over the synthetic corpus; None where the corpus is used."""
        if self.files[split] is not None:
            return f"{split}_file"
        return None if self.dataset_name is None else "dataset_name"

    def _build(self, split: str, required: bool) -> Iterator[Split]:
        files = self.files[split]
        if files is None and self.dataset_name is None and self.synthetic is None:
            if not required:
                return
            raise UserError(
                f"no data for {split}: set data.{split}_file to a file, or data.dataset_name to a data set on the Hub"
            )
        if self.tokenizer_name is None:
            raise UserError("no tokenizer: set data.tokenizer_name or model.model_name_or_path")
        tokenizer = load_tokenizer(self.tokenizer_name)
        config = replace(self.split_config, null_at_end=self._null_at_end())
        config.check(tokenizer.num_special_tokens_to_add(pair=True))
        for name, part in files.items() if isinstance(files, dict) else [("", files)]:
            training = split == "train"
            if part is None and self.dataset_name is None:
                assert self.synthetic is not None
                source = f"the synthetic corpus ({split})"
                loaded = rows_to_examples(self.synthetic.rows("train" if training else "validation"), source=source)
            else:
                source = f"{split} {name}".strip()
                loaded = read_examples(
                    split=split,
                    files=part,
                    dataset_name=self.dataset_name,
                    dataset_config_name=self.dataset_config_name,
                    dataset_revision=self.dataset_revision,
                    select=self.selections[split],
                    columns=self.column_names,
                    training=training,
                    labelled=split != "predict",
                    version_2_with_negative=config.version_2_with_negative,
                    text_format=self.text_format,
                )
            yield build_split(loaded, tokenizer, config, source=source, training=training, name=name)

    def _null_at_end(self) -> bool:
        tokenizer = load_tokenizer(self.tokenizer_name) if self.tokenizer_name is not None else None
        return null_at_end(tokenizer, load_settings(self.model_name), training=self._training)

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


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pauses the garbage collector, which takes half of the time while hundreds of thousands of objects are read."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
