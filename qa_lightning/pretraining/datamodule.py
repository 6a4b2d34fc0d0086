"""The LightningDataModule of plain text."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from lightning.pytorch.utilities import rank_zero_info

from qa_lightning.data.agreement import check_trainer
from qa_lightning.data.file_settings import Files, check_files_named, file_names
from qa_lightning.data.loader_hooks import LoaderMixin
from qa_lightning.data.splits import Split
from qa_lightning.data.textfiles import TextFormat
from qa_lightning.data.tokens import default_cache_dir
from qa_lightning.pretrained.loading import load_tokenizer
from qa_lightning.pretraining.corpus import Documents, read_corpus
from qa_lightning.pretraining.masked_data import MaskedDataset
from qa_lightning.pretraining.masking import Masking
from qa_lightning.pretraining.module import MaskedLanguageModule
from qa_lightning.pretraining.recurring_spans import RecurringSpans, find_recurring_spans
from qa_lightning.pretraining.span_data import MASK_TOKEN, SpanDataset, question_token
from qa_lightning.pretraining.text_windows import TextDataset, cut_documents, select_windows
from qa_lightning.records import WindowConfig
from qa_lightning.utils.bounds import MOST_WINDOWS, check_between
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.garbage import gc_paused
from qa_lightning.utils.plain import as_text, from_plain

_MASKING = Masking()
_RECURRING_SPANS = RecurringSpans()
_SPLITS = {"fit": ("train", "validation"), "validate": ("validation",), "test": ("test",)}


class TextDataModule(LoaderMixin):
    """Plain text to train on: masked tokens for a `MaskedLanguageModule`, recurring spans for a `QALightningModule`.

    Args:
        model_name_or_path: The model whose tokenizer is used; linked to the model's.
        config_name: The folder of a random start, whose tokenizer is used likewise; linked to the model's.
        tokenizer_name: Another tokenizer: a name, a folder, or a checkpoint of ours.
        train_file: Text files to train on, also as ``.gz``, and folders of ``.txt`` and ``.txt.gz`` files.
        validation_file: The same for validation: text that is held out.
        test_file: The same for a test.
        documents: What a document is, which no window goes beyond: a whole ``file``, a ``line``, or what stands between
            two blank lines (``blank_line``).
        encoding: The encoding of the files; default: UTF-8, or what a file's first bytes show.
        masking: How tokens are masked.
        recurring_spans: Which recurring spans are selected.
        question_token: What recurring spans are replaced by: a token of the vocabulary, in YAML as
            ``"[unused104]"``, or ``mask_token``: the tokenizer's own.
        max_length: Most tokens of a window.
        stride: Tokens that neighbouring windows share.
        batch_shapes: In how many shapes batches come at most; see `QADataModule`.
        batch_size: Windows in a training batch, on each device.
        tokens_per_batch: Fills training batches to about so many tokens instead; at least ``max_length``.
        eval_batch_size: Windows of ``max_length`` tokens in an evaluation batch; default: twice ``batch_size``.
        cache_dir: Where tokens are kept between runs; default: ``qa_lightning`` in the user's cache folder.
    """

    def __init__(
        self,
        model_name_or_path: str | None = None,
        config_name: str | None = None,
        tokenizer_name: str | None = None,
        train_file: Files | None = None,
        validation_file: Files | None = None,
        test_file: Files | None = None,
        documents: Documents = "blank_line",
        encoding: str | None = None,
        masking: Masking = _MASKING,
        recurring_spans: RecurringSpans = _RECURRING_SPANS,
        question_token: str = MASK_TOKEN,
        max_length: int = WindowConfig.max_length,
        stride: int = 0,
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
        files = {"train": train_file, "validation": validation_file, "test": test_file}
        files = {split: file_names(split, named) for split, named in files.items()}
        for split, named in files.items():
            check_files_named(f"data.{split}_file", named)
        train_file, validation_file, test_file = files.values()
        self.save_hyperparameters(logger=False)
        self.masking, self.recurring_spans = from_plain(Masking, masking), from_plain(RecurringSpans, recurring_spans)
        self.hparams["masking"], self.hparams["recurring_spans"] = asdict(self.masking), asdict(self.recurring_spans)
        for name in ("batch_size", "eval_batch_size", "batch_shapes"):
            if self.hparams[name] is not None:
                check_between(f"data.{name}", self.hparams[name], 1, MOST_WINDOWS)
        check_between("data.max_length", max_length, 1, MOST_WINDOWS)
        check_between("data.stride", stride, 0)
        if tokens_per_batch is not None:
            check_between("data.tokens_per_batch", tokens_per_batch, max_length, MOST_WINDOWS * max_length)
        self.tokenizer_name = tokenizer_name or model_name_or_path or config_name
        self.files: dict[str, Files | None] = files
        self.documents = documents
        self.encoding = TextFormat(encoding).encoding
        self.question_token = question_token
        self.split_config = WindowConfig(max_length=max_length, doc_stride=stride)
        self.batch_size = batch_size
        self.tokens_per_batch = tokens_per_batch
        self.batch_shapes = batch_shapes
        self._eval_batch_size = eval_batch_size
        self.cache_dir = Path(cache_dir) if cache_dir else default_cache_dir()
        self.splits: dict[str, list[Split]] = {}
        self._built_for_masks = False

    def setup(self, stage: str) -> None:
        """Reads the texts of ``fit``, ``validate`` or ``test``, and cuts them into windows.

        Raises:
            UserError: For every fault in the texts or the settings, before anything is trained.
        """
        if stage not in _SPLITS:
            raise UserError(f"{stage}: plain text asks no questions; train on it with fit, or use QADataModule")
        if self.trainer is not None:
            check_trainer(self.trainer)
        if self.splits and self._built_for_masks != self._masks():
            self.splits.clear()  # made for a module of the other kind
        self._built_for_masks = self._masks()
        with gc_paused():
            for split in _SPLITS[stage]:
                if split not in self.splits:
                    optional = stage == "fit" and split == "validation"
                    self.splits[split] = [] if optional and not self.files[split] else [self._build(split)]
                    for part in self.splits[split]:
                        rank_zero_info(part.summary)

    def reports(self) -> dict[str, Any]:
        """Reports what was read, by split, as plain data."""
        return {split: part.report for split, parts in self.splits.items() for part in parts}

    def _masks(self) -> bool:
        """Whether masked tokens are to be predicted, rather than recurring spans."""
        return self.trainer is not None and isinstance(self.trainer.lightning_module, MaskedLanguageModule)

    def _build(self, split: str) -> Split:
        setting, files = f"data.{split}_file", self.files[split]
        if not files:
            raise UserError(f"no text: set {setting} to a text file, several, or a folder of them")
        if self.tokenizer_name is None:
            raise UserError("no tokenizer: set data.tokenizer_name or model.model_name_or_path")
        tokenizer = load_tokenizer(self.tokenizer_name)
        masks = self._masks()
        question_id = None if masks else question_token(tokenizer, self.question_token)
        corpus = read_corpus(files, self.documents, self.encoding, setting)
        encoded, windows = cut_documents(
            corpus,
            tokenizer,
            self.split_config,
            self.cache_dir,
            words=not masks or self.masking.whole_words,
            setting=setting,
        )
        tokens = int(np.sum(windows.last.astype(np.int64) - windows.first))
        report = {"documents": len(corpus.texts), "windows": len(windows), "tokens": tokens}
        summary = f"{split}: {len(corpus.texts):,} documents, {len(windows):,} windows, {tokens:,} tokens"
        dataset: TextDataset
        if question_id is None:
            dataset = MaskedDataset(encoded, windows, corpus, self.masking, tokenizer)
        else:
            found = find_recurring_spans(encoded, windows, tokenizer, self.recurring_spans)
            spans = np.diff(found.spans)
            encoded, windows = select_windows(encoded, windows, spans > 0)
            if not len(windows):
                raise UserError(
                    f"{setting}: no window has a span that recurs in it; make documents or max_length longer"
                )
            report |= {"windows": len(windows), "windows_dropped": int(np.sum(spans == 0)), "spans": int(spans.sum())}
            summary += f"; {report['spans']:,} recurring spans in {len(windows):,} windows, the others are left out"
            found = found.of_windows_with_spans()
            dataset = SpanDataset(encoded, windows, corpus, found, question_id, training=split == "train")
        table = pa.table({"id": dataset.ids})
        return Split(dataset, table, report, summary)
