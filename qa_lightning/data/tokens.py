"""Tokenises texts: each distinct text once, unpadded; where there is a cache, on disk and memory-mapped.

What is kept is a few flat columns (ids, character offsets, how many tokens each text has), so that a window is a
slice and nothing of it depends on ``max_length`` or ``doc_stride``. They are written as they come and never held
whole, so that memory does not grow with the data.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa_lightning.data.offsets import include_combining_marks, trim_whitespace
from qa_lightning.data.text_chunks import Texts, byte_sizes, text_chunks
from qa_lightning.data.token_cache import kept_columns
from qa_lightning.utils.pace import with_progress

FORMAT = "4"
"""Part of every cache key; raised when the stored format changes."""

TokenColumns = dict[str, NDArray[Any]]
"""The tokens of some texts: how many each has (``lengths``), and the ``ids`` and ``offsets`` of all of them."""

StoredColumns = dict[str, np.dtype[Any]]
"""The columns of an entry of the cache, each of which is a file of raw values."""

_IDS: StoredColumns = {"lengths": np.dtype(np.int64), "ids": np.dtype(np.int32)}
_TOKENS: StoredColumns = _IDS | {"offsets": np.dtype((np.int32, 2))}


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
    """``qa_lightning`` in the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``).

    Users without a home, as in some containers, have it below the folder for temporary files.
    """
    try:
        home = Path.home()
    except RuntimeError:
        home = Path(tempfile.gettempdir())
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "qa_lightning"


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
    """Tokenises each text by itself, without special tokens.

    Args:
        texts: Distinct texts.
        backend: What `plain_backend` returned.
        cache_dir: Where to keep them; None: in memory only.
        raw_offsets: Whether offsets are those of the tokenizer, with white space and without dropped marks.
    """

    def make(chunk: list[str]) -> TokenColumns:
        encodings = backend.encode_batch(chunk, add_special_tokens=False)
        return _token_columns(
            [encoding.ids for encoding in encodings], [encoding.offsets for encoding in encodings], chunk, raw_offsets
        )

    kind = "texts, raw offsets" if raw_offsets else "texts"
    return Tokens(**_tokenize_cached(kind, [texts], make, _TOKENS, backend, cache_dir))


def tokenize_ids(texts: Texts, backend: Any, cache_dir: Path | None = None) -> TokenIds:
    """Tokenises texts without offsets, which are much of the work, for texts that no answer is cut from.

    Args:
        texts: Distinct texts.
        backend: What `plain_backend` returned.
        cache_dir: Where to keep them; None: in memory only.
    """

    def make(chunk: list[str]) -> TokenColumns:
        return _id_columns([encoding.ids for encoding in backend.encode_batch_fast(chunk, add_special_tokens=False)])

    return TokenIds(**_tokenize_cached("texts", [texts], make, _IDS, backend, cache_dir))


def tokenize_pairs(
    questions: Texts, contexts: Texts, question_first: bool, backend: Any, cache_dir: Path | None = None
) -> tuple[TokenIds, Tokens]:
    """Tokenises each question together with its context.

    This is slow and exact, for tokenizers that treat a text differently when another stands beside it.

    Args:
        questions: The question of each pair.
        contexts: The context of each pair.
        question_first: Whether the question is the first of the two texts.
        backend: What `plain_backend` returned.
        cache_dir: Where to keep them; None: in memory only.
    """
    sides = (questions, contexts) if question_first else (contexts, questions)

    def tokens(side: int, stored: StoredColumns) -> TokenColumns:
        def make(*chunk: list[str]) -> TokenColumns:
            ids, offsets = [], []
            for encoding in backend.encode_batch(list(zip(*chunk, strict=True))):
                kept = [of == side for of in encoding.sequence_ids]
                ids.append(list(compress(encoding.ids, kept)))
                offsets.append(list(compress(encoding.offsets, kept)))
            return _token_columns(ids, offsets, chunk[side])

        return _tokenize_cached(f"side {side} of pairs", sides, make, stored, backend, cache_dir)

    question, context = (0, 1) if question_first else (1, 0)
    return TokenIds(**tokens(question, _IDS)), Tokens(**tokens(context, _TOKENS))


def _bounds(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)])


def _id_columns(ids: Sequence[Sequence[int]]) -> TokenColumns:
    lengths = np.array([len(text_ids) for text_ids in ids], dtype=np.int64)
    return {"lengths": lengths, "ids": np.fromiter(chain.from_iterable(ids), np.int32, lengths.sum())}


def _token_columns(
    ids: Sequence[Sequence[int]],
    offsets: Sequence[Sequence[tuple[int, int]]],
    texts: Sequence[str],
    raw_offsets: bool = False,
) -> TokenColumns:
    columns = _id_columns(ids)
    bounds = _bounds(columns["lengths"])
    characters = chain.from_iterable(chain.from_iterable(offsets))
    flat = np.fromiter(characters, np.int32, 2 * bounds[-1]).reshape(-1, 2)
    return columns | {
        "offsets": flat if raw_offsets else include_combining_marks(trim_whitespace(flat, bounds, texts), bounds, texts)
    }


def _tokenize_cached(
    kind: str,
    texts: Sequence[Texts],
    make: Callable[..., TokenColumns],
    stored: StoredColumns,
    backend: Any,
    cache_dir: Path | None,
) -> TokenColumns:
    """The ``stored`` columns that ``make`` makes of the texts, with ``bounds`` in place of ``lengths``.

    With a folder, they are read from the entry of these texts and this tokenizer, made first where there is none or
    a damaged one. Where it cannot be kept, memory holds it.
    """

    def made() -> Iterator[TokenColumns]:
        chunks = with_progress(text_chunks(texts), "tokenising", "text", lambda chunk: len(chunk[0]), len(texts[0]))
        return (make(*chunk) for chunk in chunks)

    folder, name = None, ""
    if cache_dir is not None:
        folder, name = cache_dir / "tokens", _entry_name(kind, texts, stored, backend)
    columns = kept_columns(folder, name, stored, made, "tokens")
    return columns | {"bounds": _bounds(columns.pop("lengths"))}


def _entry_name(kind: str, texts: Sequence[Texts], stored: StoredColumns, backend: Any) -> str:
    """The name of the entry of these texts and this tokenizer."""
    import tokenizers

    digest = hashlib.blake2b(digest_size=20)
    made_by = (FORMAT, tokenizers.__version__, sys.byteorder, backend.to_str(), str(backend.encode_special_tokens))
    for part in (*made_by, kind, *stored):
        digest.update(len(part.encode()).to_bytes(8, "little") + part.encode())
    for column in texts:
        digest.update(len(column).to_bytes(8, "little") + byte_sizes(column).tobytes())
    for chunk in text_chunks(texts):
        digest.update("".join(chain.from_iterable(chunk)).encode())
    return digest.hexdigest()
