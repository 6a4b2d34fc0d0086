"""Pages that MkDocs makes at build time: every option, from the code, and those of files outside ``docs/``."""

from __future__ import annotations

import ast
import contextlib
import html
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

COPIES = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "reference/benchmarks.md": "benchmarks/RESULTS.md",
}
"""Pages that are copies of files, which stand where people look for them in a repository."""

LIGHTNING_VERBS = ("fit", "validate", "test", "predict")

Option = tuple[str, str, str, str]
"""Name, type, default and help."""

_pages: dict[str, str] = {}


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are made, once per process: the options do not change while it runs."""
    if not _pages:
        _pages["reference/options.md"] = options_page()
        _pages["reference/tree.md"] = tree_page()
    for page, source in COPIES.items():
        _pages[page] = (ROOT / source).read_text(encoding="utf-8")
    for page, content in _pages.items():
        files.append(File.generated(config, page, content=content))
    return files


def options_page() -> str:
    """Every option of every verb, as Markdown."""
    from qa_lightning.cli.options import INSPECT_OPTIONS

    lines = [
        "# Every option",
        "",
        "This page lists every option of every verb. It is made from the code when the documentation is built.",
        "",
        "`fit`, `validate`, `test` and `predict` take the same options. A flag such as `--model.learning_rate 3e-5` is "
        "the line `learning_rate: 3e-5` below `model:` in a config. Flags win over configs, and later configs over "
        "earlier ones.",
        "",
    ]
    outside = options_outside_sections()
    of_run = [option for option in outside if option[0] not in INSPECT_OPTIONS]
    for title, options in [("Run", of_run), *sections()]:
        lines += [f"## {title}", "", *listed(options), ""]
    for verb, what in re.findall(r"^  ([a-z]+) +(.+)$", help_of("--help"), re.MULTILINE):
        if verb in LIGHTNING_VERBS:
            continue
        lines += [f"## {verb}", "", f"{what[0].upper()}{what[1:]}.", ""]
        if verb == "inspect":
            lines += ["It takes the options of `fit`, and:", ""]
            lines += [*listed([option for option in outside if option not in of_run]), ""]
        else:
            lines += ["```text", help_of(verb, "--help"), "```", ""]
    return "\n".join(lines)


def sections() -> Iterator[tuple[str, list[Option]]]:
    """The sections of a config: title, and name, type, default and help of each option."""
    from jsonargparse import SUPPRESS, ArgumentParser
    from lightning.pytorch import Trainer

    from qa_lightning.callbacks.checkpoint import RunCheckpoint
    from qa_lightning.callbacks.results import Results
    from qa_lightning.data.datamodule import QADataModule
    from qa_lightning.modeling.module import QALightningModule

    for section, cls in {
        "model": QALightningModule,
        "data": QADataModule,
        "checkpoint": RunCheckpoint,
        "results": Results,
        "trainer": Trainer,
    }.items():
        parser = ArgumentParser()
        parser.add_class_arguments(cls, section, fail_untyped=False)
        rows = []
        for action in parser._actions:
            name = str(action.dest)
            if not name.startswith(f"{section}.") or name.endswith(".help") or action.default == SUPPRESS:
                continue
            kind = re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(getattr(action, "_typehint", None) or action.type or ""))
            kind = re.sub(r"<class '(.*)'>", r"\1", kind)
            rows.append((name, kind, repr(action.default), str(action.help or "")))
        yield f"`{section}`", rows


def options_outside_sections() -> list[Option]:
    """The options of ``fit`` and ``inspect`` that belong to no section, from the whole help of their parser."""
    from qa_lightning.cli.inspect import DataCLI

    found: list[str] = []

    class Help(DataCLI):
        def parse_arguments(self, parser: Any, args: Any) -> None:
            found.append(parser.format_help())
            raise SystemExit

    os.environ["COLUMNS"] = "90"
    with contextlib.suppress(SystemExit):
        Help([])
    pattern = (
        r" --([a-z_]+) (?!CONFIG )(?:[A-Z_]+|\{[a-z,]+\}) ((?:(?! --).)+?) ?\(type: (.+?), default: ([^()]*)\)(?= |$)"
    )
    text = " ".join(found[0].split())
    return [(name, kind, default, what) for name, what, kind, default in re.findall(pattern, text)]


def listed(options: list[Option]) -> list[str]:
    """Options as a definition list in HTML, which a phone shows without scrolling sideways."""
    lines = ["<dl>"]
    for name, kind, default, what in options:
        what = re.sub(r"``?(.+?)``?", r"<code>\1</code>", html.escape(" ".join(what.split())))
        lines.append(f"<dt><code>--{name}</code></dt>")
        default = f"<code>{html.escape(default)}</code>"
        lines.append(f"<dd>{what}<br><small>{html.escape(kind)}; default: {default}</small></dd>")
    return [*lines, "</dl>"]


def tree_page() -> str:
    """Every module of the package with the first line of its docstring, as Markdown."""
    package = ROOT / "qa_lightning"
    lines = ["# Every module", "", "Each module of the package, with what it says of itself.", ""]
    for folder in [package, *sorted(path.parent for path in package.glob("*/__init__.py"))]:
        name = "" if folder == package else f"{folder.name}/"
        lines += [f"## qa_lightning/{name}", "", first_line(folder / "__init__.py"), ""]
        modules = (path for path in sorted(folder.glob("*.py")) if path.stem != "__init__")
        lines += [f"- `{name}{path.name}`: {first_line(path)}" for path in modules]
        lines.append("")
    return "\n".join(lines)


def first_line(path: Path) -> str:
    """The first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n", 1)[0]


def help_of(*arguments: str) -> str:
    """What a command line that asks for help prints."""
    from qa_lightning.cli.main import main

    os.environ["COLUMNS"] = "90"
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        main([*arguments])
    return out.getvalue().strip()
