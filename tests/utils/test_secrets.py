"""That secrets are taken out, and nothing else."""

from __future__ import annotations

import pytest

from qa_lightning.utils.secrets import HIDDEN, hide_in_arguments, hide_secrets


def test_secrets_are_known_by_their_names() -> None:
    settings = {
        "logger": [{"init_args": {"api_key": "abc", "project": "mine"}}],
        "hub_token": "hf_x",
        "password": None,
        "tracking_uri": "https://me:pw@example.org/x",
        "tokens_per_batch": 4096,
        "tokenizer_name": "bert",
    }
    assert hide_secrets(settings) == {
        "logger": [{"init_args": {"api_key": HIDDEN, "project": "mine"}}],
        "hub_token": HIDDEN,
        "password": None,
        "tracking_uri": f"https://{HIDDEN}@example.org/x",
        "tokens_per_batch": 4096,
        "tokenizer_name": "bert",
    }


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--trainer.logger.api_key", "abc", "--x", "y"], ["--trainer.logger.api_key", HIDDEN, "--x", "y"]),
        (["--trainer.logger.api_key=abc"], [f"--trainer.logger.api_key={HIDDEN}"]),
        (
            ["{class_path: C, init_args: {api_key: abc, n: 1}}"],
            [f"{{class_path: C, init_args: {{api_key: {HIDDEN}, n: 1}}}}"],
        ),
        (['{"hub_token": "a b", "n": 1}'], [f'{{"hub_token": {HIDDEN}, "n": 1}}']),
        (
            ["--data.tokenizer_name", "bert", "--data.tokens_per_batch=64"],
            ["--data.tokenizer_name", "bert", "--data.tokens_per_batch=64"],
        ),
    ],
)
def test_a_command_is_shown_without_them(arguments: list[str], shown: list[str]) -> None:
    assert hide_in_arguments(arguments) == shown
