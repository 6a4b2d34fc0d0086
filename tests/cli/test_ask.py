"""``ask`` as it is called: what it prints to people and to programs, and what it says to mistakes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from qa_lightning import Reader
from qa_lightning.cli.ask import show
from qa_lightning.cli.main import main
from tests.cli.mistakes import error_of
from tests.tiny import PASSAGES, tiny_folder

CONTEXT = f"{PASSAGES[0][0]} {PASSAGES[1][0]}"
QUESTIONS = ["Who wrote the program?", "What did Grace build?"]
FITTING = ["--max_seq_len", "48", "--max_question_len", "12", "--doc_stride", "8"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(CONTEXT, encoding="utf-8")
    return path


def asked(model: Path, context: Path | str, *arguments: str) -> list[str]:
    return ["ask", "--model", str(model), "--context", str(context), *FITTING, *arguments]


def found(start: int, end: int, score: float = 0.5, context: str = CONTEXT) -> dict[str, Any]:
    return {"score": score, "start": start, "end": end, "answer": context[start:end]}


def console(terminal: bool = False) -> Console:
    return Console(highlight=False, force_terminal=terminal, color_system="256" if terminal else None)


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def test_the_answer_stands_in_its_sentence(model: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(model, file, QUESTIONS[0])) == 0
    reader = Reader.from_pretrained(model, max_seq_len=48, max_question_len=12, doc_stride=8)
    answer = reader(question=QUESTIONS[0], context=CONTEXT)
    printed = capsys.readouterr().out
    assert printed.startswith(f"{answer['score']:.3f}  ")
    assert f"**{answer['answer']}**" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("top_k", [1, 3])
def test_programs_get_what_a_reader_returns(
    model: Path, file: Path, capsys: pytest.CaptureFixture[str], top_k: int
) -> None:
    assert main(asked(model, file, *QUESTIONS, "--json", "--top_k", str(top_k))) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    reader = Reader.from_pretrained(model, max_seq_len=48, max_question_len=12, doc_stride=8, top_k=top_k)
    for line, question, answer in zip(lines, QUESTIONS, reader(question=QUESTIONS, context=CONTEXT), strict=True):
        assert line == {"question": question} | ({"answers": answer} if top_k > 1 else answer)


def test_standard_input_is_read(
    model: Path, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(asked(model, file, QUESTIONS[0], "--json")) == 0
    # As many editors save it; the mark is no character of the text.
    stdin = SimpleNamespace(buffer=io.BytesIO(b"\xef\xbb\xbf" + CONTEXT.encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert main(asked(model, "-", QUESTIONS[0], "--json")) == 0
    of_file, of_input = capsys.readouterr().out.splitlines()
    assert of_input == of_file


def test_null_may_be_allowed_and_forbidden(model: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    always = ("--null_score_diff_threshold", "-1000", "--handle_impossible_answer")
    assert main(asked(model, file, QUESTIONS[0], *always)) == 0
    assert capsys.readouterr().out.endswith("  no answer in this text\n")
    assert main(asked(model, file, QUESTIONS[0], *always[:2], "--no_handle_impossible_answer")) == 0
    assert "no answer" not in capsys.readouterr().out


def test_elsewhere_than_on_a_terminal_asterisks_mark_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    show(console(), QUESTIONS, [[found(0, 3, 0.9871), found(31, 37, 0.01)], [found(0, 0, 0.75)]], lambda _: CONTEXT)
    assert capsys.readouterr().out.splitlines() == [
        "Who wrote the program?",
        "0.987  **Ada** wrote the first program in London.",
        "0.010  Ada wrote the first program in **London**.",
        "What did Grace build?",
        "0.750  no answer in this text",
    ]


def test_a_long_sentence_is_not_broken_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    context = "very " * 50 + "long"
    show(console(), ["Q?"], [[found(0, 4, context=context)]], lambda _: context)
    assert capsys.readouterr().out.count("\n") == 1


def test_a_terminal_shows_the_answer_in_bold_and_reversed(capsys: pytest.CaptureFixture[str]) -> None:
    show(console(terminal=True), QUESTIONS[:1], [[found(31, 37)]], lambda _: CONTEXT)
    printed = capsys.readouterr().out
    assert "Ada wrote the first program in \x1b[1;7mLondon\x1b[0m." in printed
    assert "**" not in printed


@pytest.mark.parametrize("terminal", [False, True])
def test_text_is_only_text(capsys: pytest.CaptureFixture[str], terminal: bool) -> None:
    context = "A \x1b]0;owned\x07 [bold red]mark[/] \x9b31m\u202e end\r\nof it :smile:"
    start = context.index("mark")
    answers: Any = [[found(start, start + 4, context=context)], []]
    show(console(terminal), ["\x1b[2J[link=x]one", "two"], answers, lambda _: context)
    printed = capsys.readouterr().out
    for obeyed in ("\x1b]", "\x07", "\x1b[2J", "\x9b", "\u202e", "\r"):
        assert obeyed not in printed
    for shown in ("[link=x]one", "[bold red]", "[/]", "of it :smile:"):
        assert shown in printed


def test_a_text_that_cannot_be_read_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    none = Path("none")  # looked for after the text only
    (tmp_path / "latin.txt").write_bytes("Füße".encode("latin-1"))
    (tmp_path / "empty.txt").write_text(" \n")
    assert "no such file" in error_of(asked(none, tmp_path / "missing.txt", "Who?"), capsys)
    assert "latin.txt: not UTF-8 at byte 1" in error_of(asked(none, tmp_path / "latin.txt", "Who?"), capsys)
    assert "empty.txt: empty" in error_of(asked(none, tmp_path / "empty.txt", "Who?"), capsys)
    assert "latin.txt/in.txt: cannot be read: Not a directory" in error_of(
        asked(none, tmp_path / "latin.txt/in.txt", "Who?"), capsys
    )


def test_mistakes_are_refused_in_one_line(
    model: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "QUESTION" in error_of(asked(model, file), capsys)
    assert "--context" in error_of(["ask", "--model", str(model), "Who?"], capsys)
    assert "question 2: its question is empty" in error_of(asked(model, file, "Who?", " "), capsys)
    assert "top_k must be at least 1, not 0" in error_of(asked(model, file, "Who?", "--top_k", "0"), capsys)
    assert "max_answer_len" in error_of(asked(model, file, "Who?", "--max_answer_len", "many"), capsys)
    assert "doc_stride" in error_of(asked(model, file, "Who?", "--doc_stride", "40"), capsys)
    assert "the device 'tpu0' cannot be used" in error_of(asked(model, file, "Who?", "--device", "tpu0"), capsys)
    assert "dtype cannot be 'int8'" in error_of(asked(model, file, "Who?", "--dtype", "int8"), capsys)
    headless = tiny_folder(tmp_path / "headless", head=False)
    capsys.readouterr()
    assert "no question-answering head; train it first" in error_of(asked(headless, file, "Who?"), capsys)


def test_help_is_the_settings_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ask", "--help"])
    help_text = " ".join(capsys.readouterr().out.split())
    assert "--max_answer_len N Most tokens of an answer; default: 15" in help_text
    assert "--no_handle_impossible_answer the opposite; the default" in help_text


@pytest.mark.filterwarnings("default")
def test_a_question_that_is_cut_is_reported_in_one_line(
    model: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(model, file, "who wrote the program ? " * 5, "who wrote the house ? " * 5)) == 0
    written = capsys.readouterr()
    assert written.err == "warning: 2 questions cut at max_question_len (12 tokens); raise it to have them whole\n"
    assert "warning" not in written.out
