"""The LightningDataModule: its settings, and the splits that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info

from qa_lightning.data.agreement import check_agreement, check_teachers, check_trainer
from qa_lightning.data.alignment import OnMisaligned
from qa_lightning.data.augmentation import Augmentation
from qa_lightning.data.encode import AnswerChoice
from qa_lightning.data.file_settings import Files, NamedFiles, file_names
from qa_lightning.data.mix_sets import report_mixture
from qa_lightning.data.mixing import PLAIN_MIXING, Mixing, check_mixing
from qa_lightning.data.null_windows import check_null_windows
from qa_lightning.data.split_sources import SplitSources
from qa_lightning.data.splits import Split, SplitConfig, build_split
from qa_lightning.data.synthetic import SyntheticCorpus
from qa_lightning.data.textfiles import CSVFormat, TextFormat
from qa_lightning.data.tokens import default_cache_dir
from qa_lightning.data.train_sets import TrainSet, make_train_sets
from qa_lightning.data.training_data import TrainingDataMixin
from qa_lightning.pretrained.loading import load_tokenizer
from qa_lightning.records import WindowConfig
from qa_lightning.utils.bounds import MOST_WINDOWS, check_between
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.garbage import gc_paused
from qa_lightning.utils.plain import as_text, from_plain

_ANY_CSV = CSVFormat()
_NO_AUGMENTATION = Augmentation()
_SPLITS = {
    "fit": ("train", "validation"),
    "validate": ("validation",),
    "test": ("test",),
    "predict": ("predict",),
}


class QADataModule(TrainingDataMixin):
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
        train_sets: Several sets to train on instead of ``train_file``, by name, each with settings of its own.
        mixing: How these sets are mixed.
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
        null_windows: Share of the windows of each epoch that hold no answer, such as 0.3, drawn anew for each epoch;
            those that hold one are in every epoch. Default: all windows are. At least 0, below 1.
        augmentation: Changes of the training questions and their contexts, new in each epoch.
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
        train_sets: dict[str, TrainSet] | None = None,
        mixing: Mixing = PLAIN_MIXING,
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
        null_windows: float | None = None,
        augmentation: Augmentation = _NO_AUGMENTATION,
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
        train_file = file_names("train_file", train_file)
        validation_file = file_names("validation_file", validation_file)
        test_file, predict_file = file_names("test_file", test_file), file_names("predict_file", predict_file)
        self.save_hyperparameters(logger=False)  # a checkpoint holds plain data only
        if synthetic is not None:
            synthetic = from_plain(SyntheticCorpus, synthetic)
            self.hparams["synthetic"] = asdict(synthetic)
        csv = from_plain(CSVFormat, csv)
        self.hparams["csv"] = asdict(csv)
        sets = make_train_sets(train_sets, train_file=train_file, train_split=train_split)
        self.weights = {name: of_set.weight for name, of_set in sets.items()}
        self.mixing = from_plain(Mixing, mixing)
        check_mixing(self.mixing, self.weights)
        self.hparams["train_sets"] = {name: asdict(of_set) for name, of_set in sets.items()} or None
        self.hparams["mixing"] = asdict(self.mixing)
        self.augmentation = from_plain(Augmentation, augmentation)
        self.hparams["augmentation"] = asdict(self.augmentation)
        for name in ("batch_size", "eval_batch_size", "batch_shapes"):
            if self.hparams[name] is not None:
                check_between(name, self.hparams[name], 1, MOST_WINDOWS)
        check_between("max_length", max_length, 1, MOST_WINDOWS)
        check_null_windows(null_windows, allow_impossible_windows)
        check_between("tokens_per_batch", tokens_per_batch or 0, 0, MOST_WINDOWS * max_length)
        if tokens_per_batch is not None and tokens_per_batch < max_length:
            raise UserError(f"tokens_per_batch ({tokens_per_batch}) must be at least max_length ({max_length})")
        self.model_name = model_name_or_path
        self.tokenizer_name = tokenizer_name or model_name_or_path or config_name
        self.sources = SplitSources(
            files={
                "train": train_file,
                "validation": validation_file,
                "test": test_file,
                "predict": predict_file,
            },
            dataset_name=dataset_name,
            dataset_config_name=dataset_config_name,
            dataset_revision=dataset_revision,
            selections={
                "train": train_split,
                "validation": validation_split,
                "test": test_split,
                "predict": predict_split,
            },
            column_names=column_names,
            text_format=TextFormat(encoding, csv.delimiter),
            synthetic=synthetic,
            train_sets=sets,
        )
        self.batch_size = batch_size
        self.tokens_per_batch = tokens_per_batch
        self.batch_shapes = batch_shapes
        self.null_windows = null_windows
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
        self._training = False

    def prepare_data(self) -> None:
        """Fills the cache, of tokens and what teachers predict, on one process of each machine; the others read it."""
        super().prepare_data()
        assert self.trainer is not None
        if self.trainer.state.fn == TrainerFn.FITTING:
            self._attach_teachers()

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
            check_teachers(self.trainer.lightning_module, augments=self.augmentation.is_on)
        if stage == "fit":
            self.augmentation.read_table()  # to refuse it before data are read
        self.sources.check_synthetic(_SPLITS[stage])
        with gc_paused():
            for split in _SPLITS[stage]:
                if split not in self.splits:
                    optional = stage == "fit" and split == "validation"
                    self.splits[split] = [] if optional and not self.sources.has(split) else list(self._build(split))
                    for part in self.splits[split]:
                        rank_zero_info(part.summary)
                    if split == "train":
                        report_mixture(self.splits[split], self.null_windows, self.mixing, self.weights)

    def reports(self) -> dict[str, Any]:
        """Reports what was read, repaired, cut and dropped, by split, as plain data."""
        return {
            "/".join(filter(None, (split, part.dataset.name))): part.report
            for split, parts in self.splits.items()
            for part in parts
        }

    def _build(self, split: str) -> Iterator[Split]:
        """Reads and builds the set, or the sets, of a split."""
        raw_sets = self.sources.read(split, version_2_with_negative=self.split_config.version_2_with_negative)
        if self.tokenizer_name is None:
            raise UserError("no tokenizer: set data.tokenizer_name or model.model_name_or_path")
        tokenizer = load_tokenizer(self.tokenizer_name)
        config = replace(self.split_config, null_at_end=self._null_at_end())
        config.check(tokenizer.num_special_tokens_to_add(pair=True))
        for name, source, raw, choices in raw_sets:
            of_set = replace(config, **choices)
            yield build_split(raw, tokenizer, of_set, source=source, training=split == "train", name=name)
