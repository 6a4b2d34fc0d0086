from __future__ import annotations

import errno
import fcntl
import itertools
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import T5TokenizerFast

from qa_lightning.data import text_chunks, token_cache
from qa_lightning.data.text_chunks import split_into_blocks
from qa_lightning.data.token_cache import CHECKSUMS, remove_leftovers
from qa_lightning.data.tokens import (
    TokenIds,
    Tokens,
    default_cache_dir,
    plain_backend,
    tokenize,
    tokenize_ids,
    tokenize_pairs,
)
from tests import forked
from tests.data.tokenizers import characters, word_level

ROOT = Path(__file__).parents[2]


def column(*texts: str) -> pa.StringArray:
    return pa.array(texts, pa.string())


TEXTS = column("ada wrote", "", "  grace ")


def words(*more: str, **settings: Any) -> Any:
    return word_level(["ada", "wrote", "grace", *more], **settings)


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "tokens").iterdir())


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("lightning")]


class Spy:
    """A backend that counts what it encodes, and may do something in between."""

    def __init__(self, backend: Any, before: Callable[[], object] = lambda: None) -> None:
        self.backend = backend
        self.before = before
        self.encoded = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def encode_batch(self, texts: list[Any], **options: Any) -> Any:
        self.before()
        self.encoded += len(texts)
        return self.backend.encode_batch(texts, **options)

    def encode_batch_fast(self, texts: list[Any], **options: Any) -> Any:
        self.encoded += len(texts)
        return self.backend.encode_batch_fast(texts, **options)


def same(first: TokenIds, second: TokenIds) -> bool:
    assert vars(first).keys() == vars(second).keys()
    return all(np.array_equal(value, getattr(second, name)) for name, value in vars(first).items())


# What is made


def test_texts_stand_one_after_the_other_without_special_tokens(tmp_path: Path) -> None:
    tokens = tokenize(TEXTS, plain_backend(words()), tmp_path)
    assert tokens.ids.tolist() == [4, 5, 6]
    assert tokens.offsets.tolist() == [[0, 3], [4, 9], [2, 7]]
    assert tokens.bounds.tolist() == [0, 2, 2, 3]
    assert tokens.lengths.tolist() == [2, 0, 1]
    assert (tokens.ids.dtype, tokens.offsets.dtype, tokens.bounds.dtype) == (np.int32, np.int32, np.int64)


def test_ids_alone(tmp_path: Path) -> None:
    backend = plain_backend(words())
    found, whole = tokenize_ids(TEXTS, backend, tmp_path), tokenize(TEXTS, backend, tmp_path)
    assert same(found, TokenIds(whole.ids, whole.bounds))
    assert (found.ids.dtype, found.bounds.dtype) == (np.int32, np.int64)


@given(st.lists(st.integers(0, 9), max_size=9), st.integers(1, 12))
def test_blocks_are_consecutive_and_no_larger_than_need_be(sizes: list[int], limit: int) -> None:
    found = list(split_into_blocks(np.array(sizes, dtype=np.int32), limit))
    assert [item for begin, end in found for item in range(begin, end)] == list(range(len(sizes)))
    assert all(begin < end for begin, end in found)
    assert all(sum(sizes[begin + 1 : end]) < limit for begin, end in found)
    # Two next to each other are not both small.
    assert all(sum(sizes[begin:end]) >= limit for (begin, _), (_, end) in itertools.pairwise(found))


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(st.sampled_from("aé \u0947🏽"), max_size=6), max_size=8), chunk=st.integers(1, 30))
def test_what_is_encoded_at_a_time_changes_nothing(
    texts: list[str], chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backend = plain_backend(characters())

    def made(size: int) -> list[TokenIds]:
        cache = tmp_path_factory.mktemp("cache")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text_chunks, "CHUNK", size)
            pairs = tokenize_pairs(column(*texts), column(*reversed(texts)), True, backend, cache)
            return [tokenize(column(*texts), backend, cache), tokenize_ids(column(*texts), backend, cache), *pairs]

    assert all(itertools.starmap(same, zip(made(chunk), made(10**9), strict=True)))


def test_texts_are_encoded_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_chunks, "CHUNK", 100)
    texts = ["ada wrote " * (i % 3) + f"{i}" for i in range(2345)]
    sizes: list[int] = []
    spy = Spy(plain_backend(words()))
    spy.before = lambda: sizes.append(spy.encoded)
    tokens = tokenize(column(*texts), spy, tmp_path)
    assert spy.encoded == 2345
    assert 3 <= max(np.diff(sizes)) < 100
    assert tokens.lengths.tolist() == [2 * (i % 3) + 1 for i in range(2345)]


def test_offsets_count_characters_without_white_space_at_the_edges(tmp_path: Path) -> None:
    # Bytes: "é" and the joined "👩🏽" have several each; " " and "\u2003" are tokens that cover nothing.
    text = "é a\u2003👩🏽"
    tokens = tokenize(column(text), plain_backend(characters()), tmp_path)
    assert len(tokens.ids) == len(text.encode())
    assert ["".join(text[a:b]) for a, b in tokens.offsets.tolist()] == [
        *"éé",
        "",
        "a",
        *[""] * 3,
        *"👩👩👩👩",
        *"🏽🏽🏽🏽",
    ]


def test_padding_and_truncation_are_left_to_the_tokenizers_calls(tmp_path: Path) -> None:
    tokenizer = words()

    def call() -> list[list[int]]:
        return tokenizer(
            ["ada", "ada wrote grace wrote"], truncation=True, max_length=4, padding="max_length"
        ).input_ids

    expected = call()
    assert expected == [[2, 4, 3, 0], [2, 4, 5, 3]]
    tokens = tokenize(column("ada wrote grace wrote", "ada"), plain_backend(tokenizer), tmp_path)
    assert tokens.ids.tolist() == [4, 5, 6, 5, 4]
    assert call() == expected


def test_ways_to_split_that_are_equally_likely_are_decided_as_the_tokenizer_does(tmp_path: Path) -> None:
    # "ab" + "c" and "a" + "bc" have the same sum of scores, to the last bit: any other bit decides otherwise.
    random = np.random.default_rng(0)
    pieces, texts = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", 0.0)], []
    for number in range(500):
        a, b, c = (chr(0x4E00 + 3 * number + i) for i in range(3))
        first, second, third = (-random.uniform(1, 10, 3)).tolist()
        pieces += [(a + b, first), (c, second), (a, third), (b + c, first + second - third)]
        texts.append(a + b + c)
    tokenizer = T5TokenizerFast(vocab=pieces, extra_ids=0)
    tokens = tokenize(column(*texts), plain_backend(tokenizer), tmp_path)
    assert tokens.lengths.tolist() == [3] * 500
    assert tokens.ids.reshape(-1, 3).tolist() == tokenizer(texts, add_special_tokens=False).input_ids


@pytest.mark.parametrize("split", [False, True])
def test_special_tokens_in_a_text_are_what_the_tokenizer_makes_of_them(split: bool, tmp_path: Path) -> None:
    tokenizer = words("[", "]", "SEP", split_special_tokens=split)
    text = "ada [SEP] wrote"
    tokens = tokenize(column(text), plain_backend(tokenizer), tmp_path)
    assert tokens.ids.tolist() == tokenizer(text, add_special_tokens=False).input_ids
    assert len(tokens.ids) == (5 if split else 3)


# The cache


def test_the_second_call_reads_what_the_first_wrote(tmp_path: Path) -> None:
    spy = Spy(plain_backend(words()))
    made = tokenize(TEXTS, spy, tmp_path)
    assert spy.encoded == 3
    assert same(tokenize(TEXTS, spy, tmp_path), made)
    assert spy.encoded == 3
    assert len(entries(tmp_path)) == 1


def test_an_entry_is_for_its_texts_in_their_order(tmp_path: Path) -> None:
    backend = plain_backend(words())
    many = [["ada wrote"], ["ada", " wrote"], ["ada ", "wrote"], ["wrote", "ada "], ["ada wrote", ""], []]
    for number, texts in enumerate(many, 1):
        tokenize(column(*texts), backend, tmp_path)
        assert len(entries(tmp_path)) == number


def test_an_entry_is_for_its_texts_wherever_they_lie(tmp_path: Path) -> None:
    spy = Spy(plain_backend(words()))
    made = tokenize(TEXTS, spy, tmp_path)
    longer = column("grace", *TEXTS.to_pylist(), "ada")
    scattered = pa.DictionaryArray.from_arrays(pa.array([2, 1, 3], pa.int32()), longer.take(pa.array([0, 2, 1, 3])))
    for texts in (longer[1:4], scattered):
        assert texts.to_pylist() == TEXTS.to_pylist()
        assert same(tokenize(texts, spy, tmp_path), made)
    assert spy.encoded == 3


def test_ids_and_tokens_have_entries_of_their_own(tmp_path: Path) -> None:
    spy = Spy(plain_backend(words()))
    for _ in range(2):
        tokenize(TEXTS, spy, tmp_path)
        tokenize_ids(TEXTS, spy, tmp_path)
    assert spy.encoded == 2 * 3
    assert len(entries(tmp_path)) == 2


def test_an_entry_is_for_its_tokenizer(tmp_path: Path) -> None:
    others = [words(), words("more"), characters(), words("[", "]"), words("[", "]", split_special_tokens=True)]
    for number, tokenizer in enumerate(others, 1):
        tokenize(TEXTS, plain_backend(tokenizer), tmp_path)
        assert len(entries(tmp_path)) == number
    # What does not change tokens changes no entry.
    tokenize(TEXTS, plain_backend(words(padding_side="left", model_max_length=7)), tmp_path)
    assert len(entries(tmp_path)) == len(others)


def test_the_default_folder_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "xdg" / "qa_lightning"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache_dir() == tmp_path / "home" / ".cache" / "qa_lightning"


def test_a_user_without_a_home_has_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_cache_dir() == tmp_path / ".cache" / "qa_lightning"


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    backend = plain_backend(words())
    assert same(tokenize(TEXTS, backend), tokenize(TEXTS, backend, tmp_path / "kept"))
    assert same(tokenize_ids(TEXTS, backend), tokenize_ids(TEXTS, backend, tmp_path / "kept"))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_another_process_may_finish_first(tmp_path: Path) -> None:
    backend = plain_backend(words())
    first = []
    spy = Spy(backend, before=lambda: first.append(tokenize(TEXTS, backend, tmp_path)))
    assert same(tokenize(TEXTS, spy, tmp_path), first[0])
    assert len(entries(tmp_path)) == 1


TOKENIZE = """
import pathlib, sys
from tokenizers import Tokenizer
import pyarrow as pa
from qa_lightning.data.tokens import tokenize
backend, cache = Tokenizer.from_file(sys.argv[1]), pathlib.Path(sys.argv[2])
print(tokenize(pa.array([f"ada {i}" for i in range(5000)]), backend, cache).ids.tolist() == [4, 1] * 5000)
"""


def test_two_processes_at_once(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    plain_backend(words()).save(str(file))
    both = [forked.Forked(["-c", TOKENIZE, file, tmp_path]) for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in both] == ["True\n", "True\n"]
    assert len(entries(tmp_path)) == 1


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_chunks, "CHUNK", 1)
    spy = Spy(plain_backend(words()))

    def interrupt() -> None:
        if spy.encoded:
            assert [name.startswith("unfinished-") for name in entries(tmp_path)] == [True]
            raise KeyboardInterrupt

    spy.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        tokenize(TEXTS, spy, tmp_path)
    assert entries(tmp_path) == []
    assert tokenize(TEXTS, spy.backend, tmp_path).ids.tolist() == [4, 5, 6]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_without_room_is_said_and_left_as_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    backend, texts = plain_backend(words()), column(*(f"ada {i}" for i in range(9000)))
    with files_of_at_most(4096):
        found = tokenize(texts, backend, tmp_path)
    assert found.ids.tolist() == [4, 1] * 9000
    assert messages(caplog) == [
        f"{tmp_path / 'tokens'}: tokens cannot be kept there (File too large); this run holds them in memory"
    ]
    assert entries(tmp_path) == []
    assert same(found, tokenize(texts, backend, tmp_path))
    assert len(entries(tmp_path)) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("refused", ["mkdir", "open", "write_text", "rename"])
def test_a_folder_that_cannot_be_written_stops_nothing(
    code: int, refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backend = plain_backend(words())

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(Path, refused, fail)
        found = tokenize(TEXTS, backend, tmp_path)
        tokenize_ids(TEXTS, backend, tmp_path)
    assert same(found, tokenize(TEXTS, backend))
    (line,) = messages(caplog)  # once, though nothing can be kept
    assert f"{tmp_path / 'tokens'}: tokens cannot be kept there ({os.strerror(code)})" in line
    assert not (tmp_path / "tokens").exists() or entries(tmp_path) == []


def test_no_folder_can_be_made_below_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert tokenize(TEXTS, plain_backend(words()), tmp_path / "file").ids.tolist() == [4, 5, 6]
    assert "tokens cannot be kept there (Not a directory)" in messages(caplog)[0]


LEAVE = """
import os, pathlib, signal, sys
from contextlib import ExitStack
from qa_lightning.data import text_chunks, token_cache
def chunks():
    print(*os.listdir(sys.argv[1]), flush=True)
    sys.stdin.read()
    yield {}
token_cache.write_entry(pathlib.Path(sys.argv[1]) / "entry", {}, chunks())
"""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    folder, backend = tmp_path / "tokens", plain_backend(words())
    command = [sys.executable, "-c", LEAVE, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        left = writer.stdout.readline().strip()
        assert left.startswith("unfinished-")
        tokenize(TEXTS, backend, tmp_path)
        assert left in entries(tmp_path)
        writer.kill()
    assert left in entries(tmp_path)
    (folder / "unfinished-0").mkdir()
    (folder / "unfinished-0" / "ids").write_bytes(b"half")
    assert tokenize(TEXTS, backend, tmp_path).ids.tolist() == [4, 5, 6]
    assert len(entries(tmp_path)) == 1


def test_a_folder_that_is_taken_for_a_leftover_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, taken = fcntl.flock, []

    def flock(descriptor: int, how: int) -> None:
        if not taken and not how & fcntl.LOCK_NB:  # another process is faster by a hair
            taken.append(descriptor)
            remove_leftovers(tmp_path / "tokens")
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert tokenize(TEXTS, plain_backend(words()), tmp_path).ids.tolist() == [4, 5, 6]
    assert taken
    assert [name.startswith("unfinished-") for name in entries(tmp_path)] == [False]


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def without_a_value(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-8])


def longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + file.read_bytes()[:8])


def flipped(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def replaced(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGE = [Path.unlink, truncated, without_a_value, longer, flipped, replaced]


@pytest.mark.parametrize("name", ["lengths", "ids", "offsets", CHECKSUMS])
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_entry_is_made_anew(
    damage: Callable[[Path], None], name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = plain_backend(words())
    found = Tokens(*(np.array(values) for values in vars(tokenize(TEXTS, backend, tmp_path)).values()))
    (entry,) = (tmp_path / "tokens").iterdir()
    damage(entry / name)
    assert same(found, tokenize(TEXTS, backend, tmp_path))
    (line,) = messages(caplog)
    assert line.startswith(f"{entry}: ")
    assert line.endswith("; it is made anew")
    assert entries(tmp_path) == [entry.name]
    spy = Spy(backend)
    assert same(found, tokenize(TEXTS, spy, tmp_path))
    assert spy.encoded == 0


def test_an_entry_of_one_empty_file_is_made_anew(tmp_path: Path) -> None:
    backend = plain_backend(words())
    tokenize(TEXTS, backend, tmp_path)
    (entry,) = (tmp_path / "tokens").iterdir()
    shutil.rmtree(entry)
    entry.touch()
    assert tokenize(TEXTS, backend, tmp_path).ids.tolist() == [4, 5, 6]
    assert tokenize(TEXTS, Spy(backend), tmp_path).ids.tolist() == [4, 5, 6]


def test_a_disk_that_damages_whatever_is_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(token_cache, "zlib", SimpleNamespace(crc32=lambda *_: object.__hash__(object())))
    assert tokenize(TEXTS, plain_backend(words()), tmp_path).ids.tolist() == [4, 5, 6]
    assert "this run holds them in memory" in messages(caplog)[-1]


def test_whoever_reads_an_entry_that_is_made_anew_goes_on(tmp_path: Path) -> None:
    backend = plain_backend(words())
    found = tokenize(TEXTS, backend, tmp_path)
    (entry,) = (tmp_path / "tokens").iterdir()
    flipped(entry / "offsets")
    tokenize(TEXTS, backend, tmp_path)
    assert found.ids.tolist() == [4, 5, 6]


# Pairs


@pytest.mark.parametrize("question_first", [True, False])
def test_pairs_keep_the_tokens_of_each_text(question_first: bool, tmp_path: Path) -> None:
    backend = plain_backend(words())
    texts = column("ada", "grace", ""), column("grace wrote", "", " ada")
    questions, contexts = tokenize_pairs(*texts, question_first, backend, tmp_path)
    assert same(questions, tokenize_ids(texts[0], backend, tmp_path))
    assert same(contexts, tokenize(texts[1], backend, tmp_path))


def test_pairs_of_distinct_texts(tmp_path: Path) -> None:
    backend = plain_backend(words())
    contexts = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1], pa.int32()), column("grace wrote", "ada"))
    _, found = tokenize_pairs(column("ada", "grace", ""), contexts, True, backend, tmp_path)
    assert same(found, tokenize(column("ada", "grace wrote", "ada"), backend, tmp_path))


def test_the_order_of_pairs_is_part_of_their_entry(tmp_path: Path) -> None:
    spy = Spy(plain_backend(words()))
    texts = column("ada", "grace"), column("grace wrote", "ada")
    for question_first in (True, False):
        questions, contexts = tokenize_pairs(*texts, question_first, spy, tmp_path)
        assert questions.ids.tolist() == [4, 6]
        assert contexts.ids.tolist() == [6, 5, 4]
    assert len(entries(tmp_path)) == 4
    encoded = spy.encoded
    tokenize_pairs(*texts, True, spy, tmp_path)
    assert spy.encoded == encoded


@pytest.mark.parametrize("cached", [True, False])
def test_tokenising_that_takes_long_says_how_far_it_is(
    cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = itertools.count(0, 10)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr(text_chunks, "CHUNK", 8)
    texts = column(*[f"ada {i}" for i in range(20)])
    with caplog.at_level("INFO"):
        tokenize(texts, plain_backend(words()), tmp_path if cached else None)
    said = [message[10:] for message in caplog.messages if "tokenising" in message]
    assert 2 < len(said) < 20
    assert all(message.startswith("tokenising: text ") and "/20 (" in message for message in said)
    assert all(message.endswith("left") for message in said)
    caplog.clear()
    tokenize(texts, plain_backend(words()), tmp_path)
    assert ("tokenising" in caplog.text) is not cached  # what is in the cache is only read
