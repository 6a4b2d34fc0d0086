"""The page of a comparison: what it says, and that a browser shows all of it, offline and on a phone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from qa_lightning.cli.main import main
from qa_lightning.report.about import About
from qa_lightning.report.comparison_page import differing_settings
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.run_info import Command, RunInfo, write_run_info
from tests.report.chromium import OfflinePage, chromium
from tests.report.runs import HOSTILE, answered, make_run


def make_runs(folder: Path) -> list[str]:
    """Two runs that differ in one question each way, and in a setting; with text that would be markup."""
    context = f"Ada met Grace. {HOSTILE}"
    names = []
    for name, first, second, rate in (("plain", "Ada", "Ada", "1e-05"), ("packed", "Grace", "Grace", "3e-05")):
        run = make_run(
            folder / name,
            [
                answered(0, ["Ada"], first, context=context, question=f"Who? {HOSTILE}"),
                answered(1, ["Grace"], second, context=f"{context} 1", question="Whom?"),
                answered(2, [], "", context=f"{context} 2", question="When?"),
            ],
        )
        (run / "config.yaml").write_text(yaml.safe_dump({"model": {"model_name_or_path": "bert-<b>small"}}))
        changed = {"model": {"learning_rate": rate, "packing": HOSTILE}, "seed_everything": 7}
        command = Command("program fit", "2026-11-30T04:19:58+00:00", {})
        write_run_info(RunFolder(run), RunInfo([command], changed))
        names.append(str(run))
    return names


class Cells(HTMLParser):
    """The rows of a page's tables, and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


def write_page(folder: Path, *arguments: str) -> Path:
    page = folder / "new/page.html"
    assert main(["compare", *arguments, "--html", str(page)]) == 0
    return page


def test_the_page_says_what_the_terminal_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    page = write_page(tmp_path, *make_runs(tmp_path))
    shown = capsys.readouterr().out
    assert "The page is" in shown
    text = page.read_text(encoding="utf-8")
    rows = {row[0]: row[1:] for row in Cells(text).rows if len(row) == 6}
    (f1,) = (line for line in shown.splitlines() if line.startswith("│ f1 ") and "to" in line)
    assert rows["f1"] == [" ".join(cell.split()) for cell in f1.strip("│").split("│")][1:]
    assert "<title>plain versus packed</title>" in text
    assert "Right in A only: 1" in text
    assert "Right in B only: 1" in text
    assert "bert-&lt;b&gt;small, 30 November 2026" in text


def test_settings_that_differ_are_shown_and_no_others(tmp_path: Path) -> None:
    page = write_page(tmp_path, *make_runs(tmp_path))
    rows = Cells(page.read_text(encoding="utf-8")).rows
    assert ["model.learning_rate", "1e-05", "3e-05"] in rows
    assert "seed_everything" not in [row[0] for row in rows]
    changed = About(settings={"x": "1", "y": "2"}, all_known=True)
    other = About(settings={"x": "1"}, all_known=True)
    assert differing_settings({"a": changed, "b": other}) == [("y", ["2", "default"])]
    # What an older run did not record may as well be the same.
    assert differing_settings({"a": changed, "b": About()}) == []


def test_nothing_of_the_data_is_markup_and_nothing_is_loaded(tmp_path: Path) -> None:
    found = Cells(write_page(tmp_path, *make_runs(tmp_path)).read_text(encoding="utf-8"))
    assert not {"script", "img", "b"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert {value for name, value in found.attributes if name in ("href", "src")} <= {"data:,"}


def test_groups_and_several_runs(tmp_path: Path) -> None:
    a, b = make_runs(tmp_path)
    c, d = make_runs(tmp_path / "again")
    text = write_page(tmp_path, a, c, "--vs", b, d).read_text(encoding="utf-8")
    assert [row[1] for row in Cells(text).rows if row[0] in (a, b, c, d)] == ["A", "A", "B", "B"]
    assert "More often right in B: 1" in text
    text = write_page(tmp_path, a, b, c, "--show", "0").read_text(encoding="utf-8")
    assert "p (Holm)" in text
    assert "12 tests were made" in text
    assert text.count("How much B differs from A") == 2


def test_a_page_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = make_runs(tmp_path)
    (tmp_path / "file").touch()
    assert main(["compare", *runs, "--html", str(tmp_path / "file/page.html")]) == 2
    assert "page.html: cannot be written" in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_all_of_it_offline(browser: Any, tmp_path: Path, width: int) -> None:
    a, b = make_runs(tmp_path)
    c, d = make_runs(tmp_path / "again")
    url = write_page(tmp_path, a, c, "--vs", b, d).as_uri()
    opened = OfflinePage(browser, url, width)
    page = opened.page
    for part in page.locator(".scroll, main").all():
        scroll, client = part.evaluate("part => [part.scrollWidth, part.clientWidth]")
        assert scroll <= client, part.text_content()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".changes .card").first.is_visible()
    assert re.search("versus", page.title())
    assert (opened.complaints, opened.requests) == ([], [url])
    assert json.dumps(page.evaluate("window.hacked ?? null")) == "null"
    page.close()
