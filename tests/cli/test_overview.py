"""What the program says of itself: all verbs in one list, and at once."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from qa_lightning.cli.main import main
from qa_lightning.cli.overview import TAKES_SETTINGS, TRAINER_VERBS, VERBS
from tests import forked
from tests.cli.mistakes import error_of
from tests.conftest import ROOT

HEAVY = ("torch", "lightning", "transformers", "numpy", "pyarrow", "jsonargparse", "rich", "huggingface_hub")


def loaded_by(*arguments: str) -> tuple[int, str, set[str]]:
    """A command line's status in a process of its own, what it printed, and the packages that were imported."""
    code = (
        "import sys\nfrom qa_lightning.cli.main import main\n"
        f"status = main({list(arguments)!r})\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)\nsys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    *said, modules = done.stderr.splitlines()
    return done.returncode, done.stdout + "\n".join(said), set(modules.split())


GOOD = [
    ["--help"],
    ["-h"],
    ["--version"],
    *([verb, "--help"] for verb in TAKES_SETTINGS),
    ["fit", "--config", "x", "-h"],
]


@pytest.mark.parametrize("arguments", [*GOOD, [], ["inspct"], ["--fit"]])
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    status, said, modules = loaded_by(*arguments)
    assert status == (0 if arguments in GOOD else 2)
    assert said
    assert "qa_lightning" in modules
    assert not modules & set(HEAVY)


def test_help_says_what_it_is_and_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert "extractive question answering" in said
    lines = [line.split(maxsplit=1) for line in said.splitlines()]
    for verb, what in {**TRAINER_VERBS, **VERBS}.items():
        assert [verb, what] in lines
    assert main(["-h"]) == 0
    assert capsys.readouterr().out == said


def test_no_arguments_are_a_mistake_that_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    said = capsys.readouterr().out
    assert main([]) == 2
    written = capsys.readouterr()
    assert written.err == said
    assert written.out == ""


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("inspct", "unknown verb 'inspct'; did you mean 'inspect'? the verbs are fit, validate, "),
        ("socre", f"unknown verb 'socre'; did you mean 'score'? the verbs are {', '.join((*TRAINER_VERBS, *VERBS))}"),
        ("train", "unknown verb 'train'; the verbs are fit, validate, test, predict, inspect, "),
        ("FIT", "unknown verb 'FIT'; the verbs are "),
        ("", "unknown verb ''; the verbs are "),
        ("f\x1b[31mit", r"unknown verb 'f\\x1b[31mit'; "),
        ("x" * 5000, f"unknown verb '{'x' * 40}'; the verbs are "),
        ("--run_dir", "'--run_dir' stands where a verb should: python -m qa_lightning VERB [options]; "),
    ],
)
def test_an_unknown_verb(first: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of([first], capsys).removeprefix("error: ").startswith(message)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"qa_lightning {version('qa_lightning')}\n"


def test_a_config_may_still_stand_in_front_of_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--config", "absent.yaml", "fit"])
    assert "absent.yaml" in capsys.readouterr().err


SCRIPT = """
import os, sys
sys.path[:] = [place for place in sys.path if place not in ("", os.getcwd())]  # as for the command that pip installs
sys.argv[0] = "qa_lightning"
from qa_lightning.cli.main import main
sys.exit(main())
"""


def test_the_installed_command_finds_classes_of_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "classes_here.py").write_text(
        "import lightning\n\nclass Mine(lightning.Callback):\n    pass\n", "utf-8"
    )
    arguments = ["fit", "--trainer.callbacks", "classes_here.Mine", "--print_config"]
    done = forked.run([tmp_path / "script.py", *arguments], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "class_path: classes_here.Mine" in done.stdout
