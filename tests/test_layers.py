"""Imports run downwards only, nothing heavy is imported before it is needed, and nobody reaches across."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import qa_lightning

PACKAGE = Path(qa_lightning.__file__).parent

LAYERS = (
    ("utils",),
    ("records", "pretrained", "trainer_settings"),
    ("scoring", "decoding"),
    ("data", "modeling"),
    ("runs", "pretraining"),
    ("reader",),
    ("inspection", "report", "exporting", "serving", "ensembling"),
    ("callbacks", "demo", "experiments"),
    ("cli",),
    ("__main__",),
)
"""Every room of the package, the lowest first; a room may import those of the rows above its own."""

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


def room_of(name: str) -> str:
    """The room that a module stands in: ``data`` for ``data.windows``."""
    return name.partition(".")[0]


def ours_of(name: str) -> set[str]:
    """The modules of the package that a module imports, wherever in it."""
    names = {whole for node in ast.walk(MODULES[name]) for whole in imported(node)}
    return {whole.removeprefix("qa_lightning.") for whole in names if whole.startswith("qa_lightning.")}


def roots(names: Iterator[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_every_room_has_a_place() -> None:
    assert {"utils.errors", "cli.main", "data.windows", "modeling.module"} <= set(PLAIN)
    rooms = [room for row in LAYERS for room in row]
    assert len(rooms) == len(set(rooms))
    assert set(rooms) == {room_of(name) for name in PLAIN}


def test_rooms_import_downwards() -> None:
    row_of = {room: i for i, row in enumerate(LAYERS) for room in row}
    arrows = {(name, other) for name in PLAIN for other in ours_of(name) if room_of(name) != room_of(other)}
    assert not {(name, other) for name, other in arrows if row_of[room_of(other)] >= row_of[room_of(name)]}


def test_no_room_runs_in_a_circle() -> None:
    for room in {room_of(name) for name in PLAIN}:
        graph = {
            name: {other for other in ours_of(name) if room_of(other) == room}
            for name in PLAIN
            if room_of(name) == room
        }
        list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_decoding_and_scoring_know_neither_lightning_nor_transformers() -> None:
    for name in PLAIN:
        if room_of(name) in ("decoding", "scoring"):
            names = roots(whole for node in ast.walk(MODULES[name]) for whole in imported(node))
            assert not names & {"lightning", "pytorch_lightning", *HEAVY}, name


def test_nothing_heavy_is_imported_with_a_module() -> None:
    for name in PLAIN:
        names = roots(whole for statement in run_on_import(MODULES[name].body) for whole in imported(statement))
        assert not names & set(HEAVY), name


@pytest.mark.slow
def test_importing_the_command_line_imports_nothing_heavy() -> None:
    # Torchmetrics, and with it Lightning, imports some of transformers by itself; more than that is ours.
    code = (
        "import sys, lightning.pytorch.cli, torchmetrics\n"
        "before = set(sys.modules)\n"
        "import qa_lightning.cli.main\n"
        f"print(*(m for m in set(sys.modules) - before if m.split('.')[0] in {HEAVY}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.split() == []


def test_nobody_touches_what_is_not_theirs() -> None:
    for name in PLAIN:
        for node in ast.walk(MODULES[name]):
            if isinstance(node, ast.Attribute):
                where = f"{name}, line {node.lineno}: {ast.unparse(node)}"
                owner, private = ast.unparse(node.value), node.attr.startswith("_") and not node.attr.endswith("__")
                assert not private or owner in ("self", "cls", "super()"), where
                its = owner == "self" or (name, owner) == ("callbacks.run_files", "trainer")  # writes down what it is
                assert node.attr != "datamodule" or its, where
