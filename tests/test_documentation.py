"""Commands that README and docs/ show are run, and print what is shown beside them.

A page is followed as a reader would follow it: each ``bash`` block is run, each ``python`` block executed, and each
``text`` block compared with what the block before it printed. ``yaml`` blocks are built by
``tests/test_documented_configs.py``. An HTML comment above a block, which readers do not see, says what is special
about it:

- ``skip: REASON``: it needs the Hub, a GPU, an account or the like, and is not run;
- ``add: FLAGS``: flags that the test adds to each training, to keep it short;
- ``file: NAME``: a ``yaml`` block that readers save under this name, and that is no config of a training;
- ``illustration``: a ``text`` block that no command printed;
- ``output: HOW``: how a ``text`` block is compared, see `compare`.

The line ``[…]`` stands for anything.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import shlex
import shutil
import signal
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from qa_lightning.__main__ import main
from tests import forked
from tests.conftest import ROOT
from tests.experiments.processes import forked_trainings
from tests.training import trains

pytestmark = [pytest.mark.slow, *trains, pytest.mark.filterwarnings("ignore:.*questions cut at:UserWarning")]

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN_RUN = "runs/quickstart-20261122-073000"
"""The quickstart's folder in the pages, whose name holds a time."""

QUICKSTART = ["fit", "--config", "configs/quickstart.yaml"]
SHORT = ["--trainer.max_epochs", "2", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
"""Flags that the test adds to trainings: two epochs of the quickstart's three, after which F1 is above 90."""

EXPERIMENTS = ("seeds", "crossval", "curve")
"""The verbs that make many trainings, which get the same flags."""

NEAR = 15.0
"""How far a decimal may be from the one that is shown: machines round differently, and the training is shorter."""

REASONS = ("Hub", "GPU", "account", "network", "trainings", "of your own", "until it is stopped", "not a whole program")
REASONS += ("tests/test_examples.py", "that fails")
"""Why a block may be skipped: one of these stands in the reason that its comment gives."""

NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        line: The line where it begins.
        language: ``bash``, ``python``, ``yaml`` or ``text``.
        text: What it holds.
        note: What the comment above it is: ``skip``, ``add``, ``file``, ``output`` or ``illustration``; else empty.
        value: What the comment says after that.
    """

    line: int
    language: str
    text: str
    note: str = ""
    value: str = ""


def read_blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    blocks = []
    for match in pattern.finditer(text):
        comment, language, body = match.groups()
        note, _, value = (comment or "").partition(": ")
        blocks.append(Block(text.count("\n", 0, match.start()) + 1, language, body, note, value))
    return blocks


def read_commands(text: str) -> Iterator[list[str]]:
    """The commands of a ``bash`` block, word by word."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]
        if words:
            yield words


def output_of(arguments: list[str]) -> str:
    """What a command prints and logs; it must end well."""
    printed = io.StringIO()
    handler = logging.StreamHandler(printed)
    logger = logging.getLogger("lightning.pytorch")
    logger.addHandler(handler)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            status: Any = main(arguments)
    except SystemExit as error:  # --print_config
        status = error.code
    finally:
        logger.removeHandler(handler)
    assert status in (0, None), printed.getvalue()
    return printed.getvalue()


class Workplace:
    """The folder in which the commands of the pages run, each command once.

    Args:
        folder: The current folder; ``configs`` and ``sweeps`` lie in it, ``shared`` beside it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.quickstart = ""
        self.servers = contextlib.ExitStack()
        self._address = ""
        self._printed: dict[tuple[str, ...], str] = {}

    @property
    def run_folder(self) -> Path:
        """The folder of the quickstart's training."""
        (folder,) = (self.folder / "runs").glob("quickstart-*")
        return folder.relative_to(self.folder)

    def train_quickstart(self) -> None:
        """Trains the quickstart, which most pages ask or compare, and copies it for those that name its seed."""
        self.quickstart = output_of([*QUICKSTART, *SHORT]).replace(str(self.run_folder), SHOWN_RUN)
        shutil.copytree(self.run_folder, self.folder / "runs/seed0")

    def run(self, words: list[str], added: list[str]) -> str:
        """Runs a command and returns what it prints."""
        words = [word.replace(SHOWN_RUN, str(self.run_folder)) for word in words]
        if words[:2] == ["pip", "install"]:
            check_extras(words)
            return ""
        if words == ["pytest"]:
            return ""  # it is what runs
        if words[0] == "echo" and words[-2] == ">":
            (self.folder / words[-1]).write_text(" ".join(words[1:-2]) + "\n", encoding="utf-8")
            return ""
        if words[0] == "mkdir":
            (self.folder / words[1]).mkdir()
            return ""
        if words[0] == "curl":
            return self._ask_over_http(words)
        assert words[:3] == ["python", "-m", "qa_lightning"], f"this test cannot run {shlex.join(words)}"
        arguments = words[3:]
        if arguments in (QUICKSTART, [*QUICKSTART, "--seed_everything", "0", "--run_dir", "runs/seed0"]):
            return self.quickstart
        if arguments[0] == "serve":
            line = self.servers.enter_context(serving(arguments))
            self._address = next(word for word in line.split() if word.startswith("http://"))
            return line.replace(self._address, "http://127.0.0.1:8000")  # where it listens unless a port is given
        if arguments[0] in ("fit", *EXPERIMENTS) and "--print_config" not in arguments:
            arguments += [*SHORT, *added]
        key = tuple(arguments)
        if key not in self._printed:
            self._printed[key] = output_of(arguments)
        return self._printed[key]

    def execute(self, text: str) -> str:
        """Executes a ``python`` block and returns what it prints."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(text.replace(SHOWN_RUN, str(self.run_folder)), "block", "exec"), {})
        return printed.getvalue()

    def _ask_over_http(self, words: list[str]) -> str:
        """Sends the request of a ``curl`` command to the server that the page has started."""
        path = next(word for word in words if word.startswith("localhost:")).partition("/")[2]
        name, _, value = words[words.index("-H") + 1].partition(": ")
        body = words[words.index("-d") + 1]
        answer = httpx.post(f"{self._address}/{path}", content=body, headers={name: value}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.text


@contextlib.contextmanager
def serving(arguments: list[str]) -> Iterator[str]:
    """Runs a server on a free port; gives the line that it prints."""
    with forked.Forked(["-m", "qa_lightning", *arguments, "--port", "0"], cwd=Path.cwd()) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            yield line
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) in (0, 128 + signal.SIGTERM)
        finally:
            process.kill()


def check_extras(words: list[str]) -> None:
    """Looks whether the extras and the constraints that a ``pip install`` names are there."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    target = words[words.index("-e") + 1]
    named = re.fullmatch(r"\.(?:\[([\w,]+)\])?", target)
    assert named, f"pip install -e {target}"
    assert set((named[1] or "").split(",")) - {""} <= set(extras)
    assert (ROOT / words[words.index("-c") + 1]).is_file()


def compare(shown: str, printed: str, how: str) -> None:
    """Compares a ``text`` block with what was printed.

    Words, and by default whole numbers, must be the same and in the same order; white space and the lines of tables are
    set aside.

    Args:
        shown: The block; its lines ``[…]`` stand for anything.
        printed: What was printed.
        how: ``exact`` compares numbers by their digits, ``numbers vary`` not at all; ``answers vary`` compares the
            first and third columns of a table only. By default, decimals must be within `NEAR` of those shown.
    """
    if "answers vary" in how:
        columns = read_columns(printed[printed.index("Some answers") :])
        assert read_columns(shown)[::2] == columns[::2]
        return
    position, tokens = 0, split_words(printed)
    for part in re.split(r"^\[…\]$", shown, flags=re.MULTILINE):
        wanted = split_words(part)
        places = range(position, len(tokens) - len(wanted) + 1)
        place = next((i for i in places if all(map(is_like, wanted, tokens[i:], [how] * len(wanted)))), None)
        assert place is not None, f"not printed as shown ({how or 'decimals near'}):\n{part}\nprinted:\n{printed}"
        position = place + len(wanted)


def split_words(text: str) -> list[str]:
    """The words of a text without the lines of tables; a training's epoch and step, which is shorter here, left out."""
    text = re.sub(r"│ (epoch|step) +│ [\d,]+", r"\1", text)
    return re.sub(r"[\u2500-\u257f]", " ", text).split()


def is_like(wanted: str, word: str, how: str) -> bool:
    """Whether a printed word is like the one that is shown."""
    if "exact" in how or NUMBER.sub("#", wanted) != NUMBER.sub("#", word):
        return wanted == word
    if "numbers vary" in how:
        return True
    pairs = zip(NUMBER.findall(wanted), NUMBER.findall(word), strict=True)
    return all(abs(to_float(a) - to_float(b)) <= NEAR if {".", "e"} & {*a} else a == b for a, b in pairs)


def to_float(number: str) -> float:
    """A number as a table shows it."""
    return float(number.replace(",", "").replace("−", "-"))


def read_columns(text: str) -> list[str]:
    """The texts of the first table's columns, their cells joined."""
    body = text.partition("┡")[2].partition("└")[0]
    rows = [line.strip("│").split("│") for line in body.splitlines() if line.startswith("│")]
    return [" ".join(" ".join(cells).split()) for cells in zip(*rows, strict=True)]


@pytest.fixture(scope="module")
def workplace(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A folder beside the shared one, in which the quickstart has been trained."""
    folder = tmp_path_factory.mktemp("reader") / "qa_lightning"
    folder.mkdir()
    for name in ("configs", "sweeps"):
        (folder / name).symlink_to(ROOT / name)
    (folder.parent / "shared").symlink_to(shared)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "80")
        patch.setenv("PYTHONPATH", str(ROOT))
        place = Workplace(folder)
        place.train_quickstart()
        with forked_trainings():
            yield place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_is_what_happens(page: Path, workplace: Workplace) -> None:
    with workplace.servers:  # they end with the page
        follow(page, workplace)


def follow(page: Path, workplace: Workplace) -> None:
    """Runs a page's blocks, and compares what is shown with what they print."""
    printed: str | None = None  # None: the block before was skipped, or there was none
    for block in read_blocks(page):
        where = f"{page.name}, line {block.line}"
        if block.note == "skip":
            assert any(reason in block.value for reason in REASONS), f"{where}: skipped for no known reason"
            printed = None
        elif block.note == "file":
            (workplace.folder / block.value).write_text(block.text, encoding="utf-8")
        elif block.note == "illustration":
            assert block.language == "text", where
        elif block.language == "bash":
            added = shlex.split(block.value) if block.note == "add" else []
            printed = "".join(workplace.run(words, added) for words in read_commands(block.text))
        elif block.language == "python":
            printed = workplace.execute(block.text)
        elif block.language != "yaml":
            assert block.language == "text", f"{where}: a block without a language"
            source = workplace.quickstart if "fit quickstart" in block.value else printed
            assert source is not None, f"{where}: nothing was printed that it could be"
            compare(block.text, source, block.value)


def test_the_readme_has_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (
        "pip install -e . -c constraints.txt && python -m qa_lightning fit --config configs/quickstart.yaml\n" in text
    )
    assert "pip install -e '.[test]' -c constraints.txt && pytest\n" in text
    assert text.count("\n") < 180


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)", text)
    assert len(links) > 20
    assert not [link for link in links if not (ROOT / link).is_file()]
