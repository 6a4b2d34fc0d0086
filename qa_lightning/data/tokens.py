"""Texts to token ids: each distinct text once, unpadded; where there is a cache, on disk and memory-mapped.

What is kept is a few flat columns (ids, character offsets, how many tokens each text has), so that a window is a
slice and nothing of it depends on ``max_length`` or ``doc_stride``. They are written as they come and never held
whole, so that memory does not grow with the data.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, compress, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from qa_lightning.data.offsets import add_marks, trim
from qa_lightning.errors import UserError

FORMAT = "3"
"""Part of every cache key: a change of what is stored gets new entries."""

CHUNK = 250_000
"""Bytes of text encoded at a time: enough for all cores, little enough that the tokenizer's objects stay small."""

Texts = Any
"""A ``pa.StringArray``, or a ``pa.DictionaryArray`` of strings."""

Columns = dict[str, NDArray[Any]]
"""The tokens of some texts: how many each has (``lengths``), and the ``ids`` and ``offsets`` of all of them."""

Stored = dict[str, np.dtype[Any]]
"""The columns of an entry of the cache, each of which is a file of raw values."""

_IDS: Stored = {"lengths": np.dtype(np.int64), "ids": np.dtype(np.int32)}
_TOKENS: Stored = _IDS | {"offsets": np.dtype((np.int32, 2))}


@dataclass(frozen=True)
class TokenIds:
    """The tokens of many texts, one after the other.

    Attributes:
        ids: Token ids; int32 ``[tokens]``.
        bounds: Text ``i`` has the tokens ``bounds[i]`` to ``bounds[i + 1]``; int64 ``[texts + 1]``.
    """

    ids: NDArray[np.int32]
    bounds: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens in each text; int64 ``[texts]``."""
        return np.diff(self.bounds)


@dataclass(frozen=True)
class Tokens(TokenIds):
    """Tokens that know their place in their text.

    Attributes:
        offsets: Characters of the text that each token covers, end exclusive, without white space at its edges
            (a token of nothing else is empty) and with the combining marks behind it that the tokenizer
            dropped; int32 ``[tokens, 2]``.
    """

    offsets: NDArray[np.int32]


def default_cache_dir() -> Path:
    """``qa_lightning`` in the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qa_lightning"


def plain_backend(tokenizer: Any) -> Any:
    """The Rust part of a fast tokenizer, set neither to pad nor to truncate, which every call of it sets anew.

    It is not a copy, since copies go through JSON, whose reader misses some scores of a Unigram model by the
    last bit: where two ways to split a word are equally likely, the copy may take the other one.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    backend.encode_special_tokens = tokenizer.split_special_tokens
    return backend


def tokenize(texts: Texts, backend: Any, cache_dir: Path | None = None, raw_offsets: bool = False) -> Tokens:
    """The tokens of each text by itself, without special tokens.

    Args:
        texts: Distinct texts.
        backend: What `plain_backend` returned.
        cache_dir: Where to keep them; None: in memory only.
        raw_offsets: Whether offsets are those of the tokenizer, with white space and without dropped marks.
    """

    def make(chunk: list[str]) -> Columns:
        encodings = backend.encode_batch(chunk, add_special_tokens=False)
        return _columns([one.ids for one in encodings], [one.offsets for one in encodings], chunk, raw_offsets)

    kind = "texts, raw offsets" if raw_offsets else "texts"
    return Tokens(**_cached(kind, [texts], make, _TOKENS, backend, cache_dir))


def tokenize_ids(texts: Texts, backend: Any, cache_dir: Path | None = None) -> TokenIds:
    """The same without offsets, a good part of the work, for texts that no answer is cut from."""

    def make(chunk: list[str]) -> Columns:
        return _id_columns([one.ids for one in backend.encode_batch_fast(chunk, add_special_tokens=False)])

    return TokenIds(**_cached("texts", [texts], make, _IDS, backend, cache_dir))


def tokenize_pairs(
    questions: Texts, contexts: Texts, question_first: bool, backend: Any, cache_dir: Path | None = None
) -> tuple[TokenIds, Tokens]:
    """The tokens of questions and contexts as they are when each pair is encoded together.

    The slow, exact way, for tokenizers that treat a text differently when another stands beside it.
    """
    sides = (questions, contexts) if question_first else (contexts, questions)

    def tokens(side: int, stored: Stored) -> Columns:
        def make(*chunk: list[str]) -> Columns:
            ids, offsets = [], []
            for encoding in backend.encode_batch(list(zip(*chunk, strict=True))):
                kept = [of == side for of in encoding.sequence_ids]
                ids.append(list(compress(encoding.ids, kept)))
                offsets.append(list(compress(encoding.offsets, kept)))
            return _columns(ids, offsets, chunk[side])

        return _cached(f"side {side} of pairs", sides, make, stored, backend, cache_dir)

    question, context = (0, 1) if question_first else (1, 0)
    return TokenIds(**tokens(question, _IDS)), Tokens(**tokens(context, _TOKENS))


def blocks(sizes: Any, limit: int) -> Iterator[tuple[int, int]]:
    """Cuts items of these sizes into runs of about ``limit``; only its first item can take a run above it.

    Returns:
        The first item of each run and one past its last.
    """
    run = np.cumsum(sizes, dtype=np.int64) // limit
    return pairwise(np.flatnonzero(np.diff(run, prepend=-1, append=-1)).tolist())


def _chunks(columns: Sequence[Texts]) -> Iterator[list[list[str]]]:
    """The texts of some rows after the other, column by column."""
    for begin, end in blocks(sum(map(_sizes, columns)), CHUNK):
        yield [column[begin:end].to_pylist() for column in columns]


def _sizes(texts: Texts) -> NDArray[np.int32]:
    """Bytes of each text; int32 ``[texts]``."""
    if isinstance(texts, pa.DictionaryArray):
        return np.asarray(pc.binary_length(texts.dictionary))[texts.indices]
    return np.asarray(pc.binary_length(texts))


def _bounds(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)])


def _id_columns(ids: Sequence[Sequence[int]]) -> Columns:
    lengths = np.array([len(one) for one in ids], dtype=np.int64)
    return {"lengths": lengths, "ids": np.fromiter(chain.from_iterable(ids), np.int32, lengths.sum())}


def _columns(
    ids: Sequence[Sequence[int]],
    offsets: Sequence[Sequence[tuple[int, int]]],
    texts: Sequence[str],
    raw_offsets: bool = False,
) -> Columns:
    columns = _id_columns(ids)
    bounds = _bounds(columns["lengths"])
    characters = chain.from_iterable(chain.from_iterable(offsets))
    flat = np.fromiter(characters, np.int32, 2 * bounds[-1]).reshape(-1, 2)
    return columns | {"offsets": flat if raw_offsets else add_marks(trim(flat, bounds, texts), bounds, texts)}


def _cached(
    kind: str,
    texts: Sequence[Texts],
    make: Callable[..., Columns],
    stored: Stored,
    backend: Any,
    cache_dir: Path | None,
) -> Columns:
    """The ``stored`` columns that ``make`` makes of the texts, with ``bounds`` in place of ``lengths``.

    With a folder, they are read from the entry of these texts and this tokenizer, made first where there is none.
    Many processes may do so at once: an entry is written under a name of its own and then renamed, and whoever comes
    second keeps what is there.

    Raises:
        UserError: Where the folder cannot be written or an entry cannot be read.
    """
    import tokenizers

    if cache_dir is None:
        chunks = [make(*chunk) for chunk in _chunks(texts)]
        flat = {name: np.concatenate([np.empty(0, stored[name]), *(one[name] for one in chunks)]) for name in stored}
        return flat | {"bounds": _bounds(flat.pop("lengths"))}
    digest = hashlib.blake2b(digest_size=20)
    made_by = (FORMAT, tokenizers.__version__, sys.byteorder, backend.to_str(), str(backend.encode_special_tokens))
    for part in (*made_by, kind, *stored):
        digest.update(len(part.encode()).to_bytes(8, "little") + part.encode())
    for column in texts:
        digest.update(len(column).to_bytes(8, "little") + _sizes(column).tobytes())
    for chunk in _chunks(texts):
        digest.update("".join(chain.from_iterable(chunk)).encode())
    entry = cache_dir / "tokens" / digest.hexdigest()
    if not entry.is_dir():
        _write(entry, stored, (make(*chunk) for chunk in _chunks(texts)))
    try:
        bounds = _bounds(_map(entry / "lengths", stored["lengths"], len(texts[0])))
        flat = {name: _map(entry / name, stored[name], int(bounds[-1])) for name in stored if name != "lengths"}
    except (OSError, ValueError) as error:
        raise UserError(f"{entry}: damaged tokens ({error}); delete this folder, it will be made anew") from error
    return flat | {"bounds": bounds}


def _write(entry: Path, stored: Stored, chunks: Iterable[Columns]) -> None:
    """Writes the columns as they come, those of a chunk behind those of the one before."""
    unfinished = entry.with_name(f"unfinished-{uuid.uuid4().hex}")
    try:
        unfinished.mkdir(parents=True)
        with ExitStack() as stack:
            files = {name: stack.enter_context((unfinished / name).open("wb")) for name in stored}
            for chunk in chunks:
                for name, file in files.items():
                    file.write(chunk[name].data)
        unfinished.rename(entry)
    except OSError as error:
        if not entry.is_dir():
            raise UserError(f"{entry.parent}: cannot keep tokens there ({error}); set another cache_dir") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _map(file: Path, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """A raw column of so many items, mapped into memory; ValueError where its size is another."""
    size, wanted = file.stat().st_size, count * dtype.itemsize
    if size != wanted:
        raise ValueError(f"{file.name} has {size} bytes, not {wanted}")
    return np.memmap(file, dtype, "r", shape=(count,)) if count else np.zeros(0, dtype)
