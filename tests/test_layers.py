"""Imports run downwards only, nothing heavy is imported before it is needed, and nobody reaches across."""

from __future__ import annotations

import ast
import fnmatch
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import qa_lightning

PACKAGE = Path(qa_lightning.__file__).parent

LAYERS = (
    # 1: what crosses borders
    ("terminal", "sentences"),
    ("errors",),
    ("records", "files", "extras", "signals", "bounded_yaml", "bounds", "model_size", "refusals", "host_copies"),
    ("locks", "checkpoint_io", "processes", "trainer_settings"),
    ("trainer",),
    # 2: pure functions, and where pretrained things come from
    ("pretrained", "decoding.spans", "decoding.ranking", "scoring.squad"),
    ("decoding.answers", "decoding.words", "decoding.legacy", "scoring.mlqa", "scoring.intervals", "question_types"),
    ("decoding.decoder", "decoding.distinct", "scoring.rules", "scoring.metric"),
    ("per_question",),
    ("comparison",),
    # 2-3: data, from rows to windows, and models
    ("data.folding", "data.cells", "data.textfiles", "data.units", "data.token_cache"),
    ("data.values",),
    ("data.nested",),
    ("data.readers", "data.selection"),
    ("data.hub", "data.examples"),
    ("data.alignment", "data.sources", "data.synthetic"),
    ("data.offsets", "data.layout"),
    ("data.tokens",),
    ("data.windows", "data.words"),
    ("data.shapes", "data.prefetch"),
    ("data.batching", "data.collate"),
    ("data.encode",),
    ("data.reach", "data.splits"),
    ("data.inspection",),
    ("data.window_view",),
    ("modeling.loss", "modeling.network", "modeling.optim", "modeling.evaluation", "modeling.dropout"),
    ("modeling.finite",),
    ("modeling.weights",),
    ("modeling.attention",),
    ("modeling.packing",),
    ("modeling.acceleration",),
    # 4: Lightning's two modules
    ("data.datamodule", "modeling.module"),
    # 5: asking a model
    ("reader.former",),
    ("reader.inputs", "reader.listing", "reader.runners", "reader.onnx_runner", "reader.settings", "reader.tokens"),
    ("reader.loading", "reader.more", "reader.windows"),
    ("reader.reader",),
    ("reader.pipeline", "demo.examples"),
    ("serving.batching", "serving.bodies", "serving.docs", "serving.limits", "serving.messages", "serving.connections"),
    ("serving.run",),
    ("serving.app", "demo.app"),
    # 5: what is made of predictions
    ("report.analysis",),
    ("report.drawing", "report.browser", "report.run_files"),
    ("report.figures",),
    ("report.page",),
    ("callbacks.averaging", "callbacks.final_validation", "callbacks.found_settings"),
    ("callbacks.tables", "callbacks.checkpoint", "callbacks.data_report", "callbacks.parts", "callbacks.time_report"),
    ("callbacks.wandb_watch",),
    ("callbacks.pictures", "callbacks.prediction_files"),
    ("callbacks.results",),
    # 6: the command line
    ("parser", "commands"),
    ("runs", "overview"),
    ("commands.arguments", "commands.asking", "commands.prediction_files"),
    ("commands.inspection_tables",),
    ("exporting.check", "exporting.measure", "exporting.onnx", "exporting.provenance"),
    ("exporting.quantize", "exporting.upload", "exporting.card", "exporting.background"),
    ("callbacks.push_to_hub",),
    ("lightning_cli",),
    ("exporting.folders",),
    ("commands.score", "commands.compare", "commands.inspect", "commands.report"),
    ("commands.ask", "commands.demo", "commands.serve", "commands.export"),
    ("cli",),
    ("__main__",),
)
"""Every module of the package, the lowest first; a module may import those of the rows above its own."""

HEAVY = ("transformers", "datasets", "wandb", "tokenizers")
"""Packages that take seconds to import, so that they are imported in functions only."""


def name_of(path: Path) -> str:
    """A module's name within the package: ``data.windows``; a package's own is that of its folder."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").strip(".")


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}
PLAIN = [name for name, tree in MODULES.items() if len(tree.body) > 1 and name]
"""The modules that hold more than a docstring."""


def imported(node: ast.AST) -> Iterator[str]:
    """The full names that one statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: a relative import"
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield whole if whole.removeprefix("qa_lightning.") in MODULES else str(node.module)


def run_on_import(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that importing a module runs: all but those in functions and for type checkers."""
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test):
            continue
        yield statement
        for field in ("body", "orelse", "finalbody"):
            yield from run_on_import(getattr(statement, field, []))
        for handler in getattr(statement, "handlers", []):
            yield from run_on_import(handler.body)


def row_of(name: str) -> int:
    rows = [i for i, row in enumerate(LAYERS) if any(fnmatch.fnmatchcase(name, pattern) for pattern in row)]
    assert len(rows) == 1, f"{name} has no place, or several, in LAYERS: give it the lowest that its imports allow"
    return rows[0]


def roots(names: Iterator[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_every_module_is_looked_at() -> None:
    assert {"errors", "cli", "data.windows", "modeling.module"} <= set(PLAIN)
    for row in LAYERS:
        for pattern in row:
            assert fnmatch.filter(PLAIN, pattern), f"LAYERS tells of {pattern}, which is not there"


@pytest.mark.parametrize("name", PLAIN)
def test_imports_run_downwards(name: str) -> None:
    ours = {whole for node in ast.walk(MODULES[name]) for whole in imported(node) if whole.startswith("qa_lightning.")}
    upwards = {whole for whole in ours if row_of(whole.removeprefix("qa_lightning.")) >= row_of(name)}
    assert not upwards


@pytest.mark.parametrize("name", PLAIN)
def test_data_and_models_do_not_know_each_other(name: str) -> None:
    others = {"data": "qa_lightning.modeling", "modeling": "qa_lightning.data"}
    other = others.get(name.split(".")[0])
    names = {whole for node in ast.walk(MODULES[name]) for whole in imported(node)}
    assert other is None or not {whole for whole in names if whole.startswith(other)}


@pytest.mark.parametrize("name", [name for name in PLAIN if name.startswith(("decoding.", "scoring."))])
def test_decoding_and_scoring_know_neither_lightning_nor_transformers(name: str) -> None:
    names = roots(whole for node in ast.walk(MODULES[name]) for whole in imported(node))
    assert not names & {"lightning", "pytorch_lightning", *HEAVY}


@pytest.mark.parametrize("name", PLAIN)
def test_nothing_heavy_is_imported_with_a_module(name: str) -> None:
    names = roots(whole for statement in run_on_import(MODULES[name].body) for whole in imported(statement))
    assert not names & set(HEAVY)


@pytest.mark.slow
def test_importing_the_command_line_imports_nothing_heavy() -> None:
    # Torchmetrics, and with it Lightning, imports some of transformers by itself; more than that is ours.
    code = (
        "import sys, lightning.pytorch.cli, torchmetrics\n"
        "before = set(sys.modules)\n"
        "import qa_lightning.cli\n"
        f"print(*(m for m in set(sys.modules) - before if m.split('.')[0] in {HEAVY}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", PLAIN)
def test_nobody_touches_what_is_not_theirs(name: str) -> None:
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Attribute):
            owner, private = ast.unparse(node.value), node.attr.startswith("_") and not node.attr.endswith("__")
            assert not private or owner in ("self", "cls", "super()"), f"line {node.lineno}: {owner}.{node.attr}"
            assert node.attr != "datamodule" or owner == "self", f"line {node.lineno}: {owner}.datamodule"
