"""Runs teachers over the windows of training data, each once, and keeps what they predict on disk.

This is done before the first epoch, by one process of each machine, and not in it: so every epoch, and a training that
is resumed in the middle of one, has the same numbers, whatever the order of windows and the number of processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.encode import encode_pairs
from qa_lightning.data.splits import Split, SplitConfig
from qa_lightning.data.teacher_alignment import align_probabilities, context_offsets, windows_over_same_characters
from qa_lightning.data.token_cache import ColumnTypes, EntryColumns, kept_columns
from qa_lightning.data.window_logits import WindowLogits
from qa_lightning.pretrained.loading import same_tokenizer
from qa_lightning.records import Teacher
from qa_lightning.utils.arrays import IntArray
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.pace import with_progress

_FORMAT = "1"
"""Part of every key; raised when what is stored changes."""

_COLUMNS: ColumnTypes = {"start": np.dtype(np.float32), "end": np.dtype(np.float32)}

_CHUNK = 2048
"""Windows that are written at a time."""

_TOKENS = 16384
"""Tokens of the batches that a teacher is given, padding among them."""

_ANY_LENGTH = (1 << 31) - 1

WindowPair = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Log-probabilities of a window's tokens as start and as end; ``[tokens]`` each."""


def attach_teachers(
    split: Split, teachers: Sequence[Teacher], tokenizer: Any, config: SplitConfig, device: torch.device
) -> None:
    """Gives the batches of a split what teachers predict for its windows, which is computed unless it is on disk.

    Args:
        split: The training data.
        teachers: The teachers; none takes earlier ones away.
        tokenizer: The tokenizer of the split.
        config: Its settings.
        device: Where teachers are run.

    Raises:
        UserError: Where a teacher sees fewer tokens than one of the windows has in its own.
    """
    known = {logits.fingerprint: logits for logits in split.dataset.teachers}
    split.dataset.teachers = tuple(
        known.get(each.fingerprint) or _predictions(split, each, tokenizer, config, device) for each in teachers
    )
    for each in teachers:
        each.release()


def _predictions(
    split: Split,
    teacher: Teacher,
    tokenizer: Any,
    config: SplitConfig,
    device: torch.device,
) -> WindowLogits:
    ours = split.dataset
    theirs = None
    if teacher.null_at_end != config.null_at_end or not same_tokenizer(tokenizer, teacher.tokenizer):
        theirs = _in_tokens_of(teacher, split, config)
    folder = None if config.cache_dir is None else Path(config.cache_dir, "teachers")
    entry = _entry_name(teacher, ours, theirs)
    columns = kept_columns(
        folder, entry, _COLUMNS, lambda: _chunks(teacher, ours, theirs, device), "predictions of the teacher"
    )
    teacher.release()  # before the next one is run
    bounds = np.concatenate([[0], np.cumsum(ours.lengths)])
    return WindowLogits(columns["start"], columns["end"], bounds, teacher.fingerprint)


def _in_tokens_of(teacher: Teacher, split: Split, config: SplitConfig) -> WindowDataset:
    """The windows of a split in a teacher's own tokens, in the same order: over the same characters."""
    contexts = split.table["context"].combine_chunks()
    encoded = encode_pairs(
        split.table["question"].combine_chunks(),
        contexts,
        teacher.tokenizer,
        max_question_length=_ANY_LENGTH,
        cache_dir=config.cache_dir,
        null_at_end=teacher.null_at_end,
    )
    # A question that is whole for the student is so for the teacher, and one that is cut is not much longer.
    ours, ids = split.dataset.encoded, split.dataset.ids
    cut = ours.questions.lengths[ours.question_index] > ours.question_lengths
    of_questions = np.minimum(encoded.question_lengths, np.where(cut, config.max_question_length, _ANY_LENGTH))
    encoded = replace(encoded, question_lengths=of_questions)
    theirs = WindowDataset(encoded, windows_over_same_characters(split.dataset, encoded, contexts), ids)
    longest = int(theirs.lengths.max(initial=0))
    if teacher.longest is not None and longest > teacher.longest:
        question = ids[theirs.windows.example[int(theirs.lengths.argmax())]]
        raise UserError(
            f"a window of question {question} has {longest} tokens of the teacher {teacher.source}, which has "
            f"{teacher.longest} positions; lower max_length, or choose another teacher"
        )
    return theirs


def _entry_name(teacher: Teacher, *datasets: WindowDataset | None) -> str:
    """The name of the entry of a teacher's predictions for some windows."""
    digest = hashlib.blake2b(f"{_FORMAT} {teacher.fingerprint}".encode(), digest_size=20)
    for dataset in datasets:
        columns = None if dataset is None else dataset.columns.to(torch.device("cpu"))
        for name in ("windows", "question_ids", "context_ids", "offsets", "special_ids", "special_types"):
            column = None if columns is None else getattr(columns, name).contiguous().numpy()
            digest.update(f"{name} {None if column is None else (column.shape, column.dtype)}".encode())
            if column is not None and column.size:
                digest.update(column.data)
        digest.update(repr(None if dataset is None else dataset.encoded.layout).encode())
    return digest.hexdigest()


def _chunks(
    teacher: Teacher, ours: WindowDataset, theirs: WindowDataset | None, device: torch.device
) -> Iterator[EntryColumns]:
    """The columns of all windows in their order, some windows at a time."""
    asked = theirs or ours
    asked = WindowDataset(asked.encoded, asked.windows, asked.ids)  # as it is before it has shapes

    def compute(rows: IntArray) -> EntryColumns:
        windows = _run(teacher, asked, rows, device)
        if theirs is not None:
            windows = [_aligned(pair, theirs, ours, row) for pair, row in zip(windows, rows.tolist(), strict=True)]
        return {name: np.concatenate([pair[i] for pair in windows]) for i, name in enumerate(_COLUMNS)}

    count = len(ours)
    chunks = (np.arange(begin, min(begin + _CHUNK, count)) for begin in range(0, count, _CHUNK))
    return map(compute, with_progress(chunks, f"asking the teacher {teacher.source}", "window", len, count))


def _run(teacher: Teacher, dataset: WindowDataset, rows: IntArray, device: torch.device) -> list[WindowPair]:
    """Runs a teacher over some windows, those of similar length together."""
    found: dict[int, WindowPair] = {}
    order = rows[np.argsort(dataset.lengths[rows], kind="stable")[::-1]]
    while len(order):
        batch_rows, order = np.split(order, [max(1, _TOKENS // int(dataset.lengths[order[0]]))])
        batch = dataset[batch_rows].to(device)
        mask = batch.inputs["attention_mask"] > 0
        logits = torch.stack(teacher.logits(batch, device)).masked_fill(~mask, -torch.inf).log_softmax(-1).cpu().numpy()
        real = mask.cpu().numpy()
        for place, row in enumerate(batch_rows.tolist()):
            start, end = logits[:, place, real[place]]
            found[row] = (start, end)
    return [found[row] for row in rows.tolist()]


def _aligned(pair: WindowPair, theirs: WindowDataset, ours: WindowDataset, row: int) -> WindowPair:
    """Carries a teacher's log-probabilities over to the tokens of another data set's window."""
    (their_at, their_null), (our_at, our_null) = (_places(dataset, row) for dataset in (theirs, ours))
    offsets = [context_offsets(dataset.encoded, dataset.windows, row) for dataset in (theirs, ours)]
    carried = []
    for which, values in enumerate(pair):
        probabilities = np.exp(values.astype(np.float64))
        of_null = probabilities[their_null] if min(their_null, our_null) >= 0 else 0.0
        of_context = probabilities[their_at : their_at + len(offsets[0])]
        aligned = align_probabilities(np.append(of_context, of_null), *offsets, ends=which == 1)
        dense = np.zeros(int(ours.lengths[row]))
        dense[our_at : our_at + len(offsets[1])] = aligned[:-1]
        if our_null >= 0:
            dense[our_null] = aligned[-1]
        with np.errstate(divide="ignore"):
            carried.append(np.log(dense).astype(np.float32))
    return carried[0], carried[1]


def _places(dataset: WindowDataset, row: int) -> tuple[int, int]:
    """The places of the first token of a window's context, and of null or -1, from the window's first token."""
    cuts = dataset.columns.windows[row].tolist()
    return cuts[3], cuts[7]
