"""Text files become documents, and what is no text is refused with its file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from qa_lightning.pretraining.corpus import Documents, read_corpus
from qa_lightning.utils.errors import UserError

TEXT = "First line.\nSecond line.\n\n \nThird.\r\n\r\n\r\nLast one\n"


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ("file", {"": TEXT.replace("\r\n", "\n").strip()}),
        ("line", {":1": "First line.", ":2": "Second line.", ":5": "Third.", ":8": "Last one"}),
        ("blank_line", {":1": "First line.\nSecond line.", ":5": "Third.", ":8": "Last one"}),
    ],
)
def test_documents_of_a_file(tmp_path: Path, documents: Documents, expected: dict[str, str]) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT.encode())
    corpus = read_corpus(str(path), documents, None, "data.train_file")
    assert dict(zip(corpus.names, corpus.texts, strict=True)) == {
        f"{path}{end}": text for end, text in expected.items()
    }


def test_folders_and_compressed_files(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "b.txt").write_text("b")
    (tmp_path / "more/a.txt.gz").write_bytes(gzip.compress(b"a"))
    (tmp_path / "c.json").write_text("{}")
    corpus = read_corpus([str(tmp_path), str(tmp_path / "c.json")], "file", None, "data.train_file")
    assert corpus.texts == ["b", "a", "{}"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"good\n\nbad \xff\n", "a.txt, line 3: not UTF-8 at byte 10; save the file as UTF-8"),
        (b" \n\n", "a.txt: there is no text in it; leave it out of data.train_file"),
        (None, "a.txt: no such file"),
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError) as error:
        read_corpus(str(tmp_path / "a.txt"), "blank_line", None, "data.train_file")
    assert str(error.value).startswith(f"{tmp_path}/{message}")


def test_a_folder_without_texts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.train_file: there is no file \*.txt or \*.txt.gz in"):
        read_corpus(str(tmp_path), "file", None, "data.train_file")
