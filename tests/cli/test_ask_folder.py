"""``ask`` on a folder of texts, and on the paragraphs that BM25 picks."""

from __future__ import annotations

import builtins
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from qa_lightning import Reader
from qa_lightning.cli import file_progress
from qa_lightning.cli.main import main
from qa_lightning.utils.pace import Interval
from tests import forked
from tests.cli.mistakes import error_of
from tests.tiny import PASSAGES, tiny_folder

TEXTS = {
    "ada.txt": f"{PASSAGES[0][0]}\n\nLondon had a house.",
    "notes/grace.md": PASSAGES[1][0],
    "notes/deep/alan.TXT": f"\ufeff{PASSAGES[2][0]} Ada wrote in London.",
}
IGNORED = {
    "empty.txt": " \n",
    "picture.png": "\x89PNG",
    ".hidden.txt": "Ada hid.",
    ".git/notes.txt": "Ada hid.",
    "page.html": "<p>Ada",
}
FITTING: dict[str, Any] = {"max_seq_len": 48, "max_question_len": 12, "doc_stride": 8}
QUESTIONS = ["Who wrote the program?", "What did Grace build?"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def reader(model: Path) -> Reader:
    return Reader.from_pretrained(model, **FITTING)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (TEXTS | IGNORED).items():
        file = tmp_path / "texts" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path / "texts"


def asked(model: Path, folder: Path, *arguments: str) -> list[str]:
    flags = [word for name, value in FITTING.items() for word in (f"--{name}", str(value))]
    return ["ask", "--model", str(model), "--context", str(folder), *flags, *arguments]


def lines_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[Any]:
    assert main([*arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("top_k", [1, 5])
def test_a_folder_is_asked_as_its_texts_are(
    model: Path, reader: Reader, folder: Path, capsys: pytest.CaptureFixture[str], top_k: int
) -> None:
    found = lines_of(asked(model, folder, *QUESTIONS, "--top_k", str(top_k)), capsys)
    contexts = {name: text.removeprefix("\ufeff") for name, text in TEXTS.items()}
    ordered = {name: contexts[name] for name in sorted(contexts)}
    for line, question, answer in zip(
        found, QUESTIONS, reader(question=QUESTIONS, contexts=ordered, top_k=top_k), strict=True
    ):
        assert line == {"question": question} | ({"answers": answer} if top_k > 1 else answer)
    for answer in found if top_k == 1 else found[0]["answers"]:
        assert contexts[answer["document"]][answer["start"] : answer["end"]] == answer["answer"]


def test_people_see_the_file_and_the_sentence(
    model: Path, reader: Reader, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(model, folder, QUESTIONS[0], "--top_k", "2")) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2
    for line in printed:
        score, name, sentence = line.split("  ", 2)
        assert re.fullmatch(r"0\.\d{3}", score)
        assert name in TEXTS
        assert sentence.replace("**", "") in " ".join(TEXTS[name].split())


def test_people_see_which_other_files_hold_the_answer(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that a terminal would obey is only shown."""
    for number in range(5):
        (tmp_path / f"copy\x1b{number}.txt").write_text(PASSAGES[2][0], encoding="utf-8")
    assert main(asked(model, tmp_path, "Who lived in Rome?", "--n_best_size", "200")) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "  copy 0.txt  " in line
    assert line.endswith("  (also in copy 1.txt, copy 2.txt, copy 3.txt and 1 more)")


def test_null_is_said_of_all_texts(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    always = ("--handle_impossible_answer", "--null_score_diff_threshold", "-1000")
    assert main(asked(model, folder, QUESTIONS[0], *always)) == 0
    assert capsys.readouterr().out.endswith("  no answer in these texts\n")
    (line,) = lines_of(asked(model, folder, QUESTIONS[0], *always), capsys)
    assert (line["answer"], line["document"], line["places"]) == ("", None, [])


def test_only_the_paragraphs_that_bm25_ranks_first_are_read(
    model: Path, reader: Reader, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = lines_of(asked(model, folder, "Who built a compiler?", "--retrieve", "1"), capsys)
    answer = reader(question="Who built a compiler?", context=PASSAGES[1][0])
    assert line["document"] == "notes/grace.md"
    assert {name: line[name] for name in answer} == answer
    # A paragraph's places are those in its file; all of them are what there is to be read.
    (line,) = lines_of(asked(model, folder, "Who had a house?", "--retrieve", "1", "--top_k", "3"), capsys)
    for answer in line["answers"]:
        for place in answer["places"]:
            cut = TEXTS["ada.txt"][place["start"] : place["end"]]
            assert place["start"] >= len(PASSAGES[0][0]) + 2
            assert (place["document"], cut.lower()) == ("ada.txt", answer["answer"].lower())
    every = lines_of(asked(model, folder, "who wrote a compiler in Rome ?", "--retrieve", "99"), capsys)
    assert every[0]["score"] <= 1
    file = folder / "ada.txt"
    (line,) = lines_of(asked(model, file, "Who had a house?", "--retrieve", "1"), capsys)
    assert line["document"] == str(file)


def test_files_that_are_read_again_are_not_counted_again(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(file_progress, "Interval", lambda: Interval(0.0))
    assert main(asked(model, folder, *QUESTIONS, "--retrieve", "2")) == 0
    shown = [line for line in capsys.readouterr().err.splitlines() if "files read" in line]
    assert [line.split("files read ")[1][:3] for line in shown] == ["1/3", "2/3", "3/3"]


@pytest.mark.filterwarnings("default")
def test_a_question_without_a_word_in_the_texts_is_not_answered(
    model: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(model, folder, "zzz?", "Who built a compiler?", "--retrieve", "1", "--json")) == 0
    written = capsys.readouterr()
    nothing, found = map(json.loads, written.out.splitlines())
    assert (nothing["answer"], nothing["score"], nothing["document"]) == ("", 0, None)
    assert found["answer"]
    assert written.err == "warning: no paragraph has a word of the question 'zzz?'\n"


def test_mistakes_are_refused_in_one_line(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    none = Path("none")  # looked for after the texts only
    (tmp_path / "empty").mkdir()
    assert "empty: no text files; a text is a file whose name ends in .txt, .text, .md, .rst" in error_of(
        asked(none, tmp_path / "empty", "Who?"), capsys
    )
    (tmp_path / "empty/a.txt").touch()
    assert "empty: the only text file is empty" in error_of(asked(none, tmp_path / "empty", "Who?"), capsys)
    (tmp_path / "empty/b.txt").write_text(" ")
    assert "empty: all 2 text files are empty" in error_of(asked(none, tmp_path / "empty", "Who?"), capsys)
    (folder / "notes/latin.txt").write_bytes("Füße".encode("latin-1"))
    assert "notes/latin.txt: not UTF-8 at byte 1; save it" in error_of(asked(none, folder, "Who?"), capsys)
    (folder / "notes/latin.txt").unlink()
    if os.name != "nt":
        named = os.path.join(os.fsencode(folder), b"notes/F\xfc\xdfe.txt")
        Path(os.fsdecode(named)).write_text("Ada")
        assert "the name of the file 'notes/F\\udcfc\\udcdfe.txt' is not UTF-8" in error_of(
            asked(none, folder, "Who?"), capsys
        )
        os.unlink(named)
    assert "--retrieve must be at least 1, not 0" in error_of(asked(none, folder, "Who?", "--retrieve", "0"), capsys)
    assert "question 2: its question is empty" in error_of(asked(model, folder, "Who?", " "), capsys)
    assert "legacy=True answers as" in error_of(asked(model, folder, "Who?", "--legacy"), capsys)
    (tmp_path / "dots.txt").write_text("... !")
    assert "the texts have no words" in error_of(asked(model, tmp_path / "dots.txt", "?", "--retrieve", "1"), capsys)
    real = builtins.__import__

    def missing(name: str, *arguments: Any) -> Any:
        if name == "bm25s":
            raise ModuleNotFoundError("No module named 'bm25s'", name=name)
        return real(name, *arguments)

    monkeypatch.setattr("importlib.import_module", missing)
    monkeypatch.setattr("qa_lightning.cli.main._run_verb", _run_ask)
    message = error_of(asked(none, folder, "Who?", "--retrieve", "1"), capsys)
    assert "bm25s is not installed: pip install 'qa_lightning[retrieval]'" in message


def _run_ask(_: str, *arguments: str) -> int:
    from qa_lightning.cli import ask

    ask.run(list(arguments))
    return 0


def test_a_file_that_vanishes_meanwhile_is_named(
    model: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from qa_lightning.cli import ask

    def load_and_delete(*arguments: Any) -> Reader:
        (folder / "ada.txt").unlink()
        return real(*arguments)

    real = ask.load_reader
    monkeypatch.setattr(ask, "load_reader", load_and_delete)
    assert "ada.txt: no such file" in error_of(asked(model, folder, "Who?"), capsys)


SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may have it ignored
from qa_lightning.cli import file_progress
from qa_lightning.cli.main import main
from qa_lightning.utils.pace import Interval
file_progress.Interval = lambda: Interval(0.0)
sys.exit(main())
"""


@pytest.mark.slow
def test_ctrl_c_ends_it_in_one_line(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(5000):
        (folder / f"{number}.txt").write_text("Ada wrote the first program in London. " * 10, encoding="utf-8")
    process = forked.Forked(["-c", SCRIPT, *asked(model, folder, "Who wrote?")], env=dict(os.environ))
    try:
        assert process.stderr is not None
        line = ""
        while "files read" not in line:
            line = process.stderr.readline()
            assert line or process.poll() is None
        assert re.search(r"files read \d+/5,000 \(\d+%\)", line), line
        process.send_signal(signal.SIGINT)
        printed, complaints = process.communicate(120)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, printed) == (130, "")
    last = complaints.splitlines()[-1]
    assert re.fullmatch(r"stopped after reading [\d,]+ of 5,000 files; no answers", last), last
    assert "Traceback" not in complaints
