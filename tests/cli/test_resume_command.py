from __future__ import annotations

import shlex
import sys

import pytest

from qa_lightning.cli.resume_command import resume_command, resume_hint

PROGRAM = ["python", "-m", "qa_lightning"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fit", "--run_dir", "runs/a b"], ["fit", "--run_dir", "runs/a b", "--ckpt_path", "last"]),
        (["fit", "--run_dir=runs/x"], ["fit", "--run_dir=runs/x", "--ckpt_path", "last"]),
        (["fit", "-c", "it's.yaml"], ["fit", "-c", "it's.yaml", "--run_dir", "runs/new", "--ckpt_path", "last"]),
        (
            ["fit", "--ckpt_path", "best", "--run_dir", "r", "--data.batch_size", "4"],
            ["fit", "--run_dir", "r", "--data.batch_size", "4", "--ckpt_path", "last"],
        ),
        (["fit", "--ckpt_path=a.ckpt", "--run_dir", "r"], ["fit", "--run_dir", "r", "--ckpt_path", "last"]),
        (["fit", "--run_dir", "$HOME/r;x"], ["fit", "--run_dir", "$HOME/r;x", "--ckpt_path", "last"]),
    ],
)
def test_it_is_the_users_own_with_the_last_checkpoint(arguments: list[str], expected: list[str]) -> None:
    assert shlex.split(resume_command(arguments, "runs/new")) == [*PROGRAM, *expected]


def test_it_begins_as_the_user_began_it(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["fit", "--run_dir", "r"]
    monkeypatch.setattr(sys, "argv", ["main.py", *arguments])
    monkeypatch.setattr(sys, "orig_argv", ["/opt/py thon/bin/python3", "-X", "dev", "-m", "qa_lightning", *arguments])
    assert resume_command(arguments, "r") == (
        "'/opt/py thon/bin/python3' -X dev -m qa_lightning fit --run_dir r --ckpt_path last"
    )
    monkeypatch.setattr(sys, "argv", ["main.py", "--data.hub_token", "s3cret", *arguments])
    assert shlex.split(resume_command(arguments, "r"))[:3] == PROGRAM


@pytest.mark.parametrize(
    "arguments",
    [
        ["--trainer.logger.init_args.api_key", "s3cret"],
        ["--trainer.logger.init_args.api_key=s3cret"],
        ["--trainer.logger", "{class_path: NeptuneLogger, init_args: {api_key: s3cret, project: mine}}"],
        ["--trainer.logger", '{"init_args": {"api_key": "s3cret, and more", "project": "mine"}}'],
        ["--data.hub_token", "s3cret"],
        ["--data.password", "s3cret"],
        ["--trainer.logger.init_args.tracking_uri", "https://ada:s3cret@example.org/mlflow"],
        ["--model.token", "--s3cret"],
    ],
)
def test_it_has_no_secrets(arguments: list[str]) -> None:
    command = resume_command(["fit", *arguments, "--run_dir", "r"], "r")
    assert "s3cret" not in command
    assert "and more" not in command
    assert shlex.split(command)[-4:] == ["--run_dir", "r", "--ckpt_path", "last"]
    assert "; put the secrets in for ***:" in resume_hint(["fit", *arguments], "r")


def test_what_only_sounds_like_a_secret_stays() -> None:
    arguments = [
        "--data.tokenizer_name",
        "t",
        "--data.tokens_per_batch",
        "4096",
        "--data.x",
        "{pad_token: p, token_n: 3}",
    ]
    command = resume_command(["fit", *arguments], "r")
    assert shlex.split(command)[4:-4] == arguments
    assert "secrets" not in resume_hint(["fit", *arguments], "r")


def test_a_program_that_started_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_STEP_ID", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert resume_hint(["fit"], "r").startswith("Go on with:\n  python -m qa_lightning fit ")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert resume_hint(["fit"], "r").startswith("Go on with (by torchrun, as before):\n  ")
