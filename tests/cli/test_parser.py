"""Flags that are read before all others, and messages that are cut down to one line."""

from __future__ import annotations

import pytest

from qa_lightning.cli.parser import named_places, short_message


@pytest.mark.parametrize(
    ("line", "run_dir", "ckpt_path", "configs"),
    [
        ("fit", None, None, []),
        ("fit --run_dir a --ckpt_path=last", "a", "last", []),
        ("fit --run_dir a --run_dir b", "b", None, []),
        ("fit -c a.yaml --config=b.yaml --data.batch_size 8", None, None, ["a.yaml", "b.yaml"]),
        ("fit --run_dir=", "", None, []),
        ("fit --run_dir", None, None, []),  # the whole line's parser says what is missing
        ("fit --run_dir --config a.yaml", None, None, ["a.yaml"]),
        ("fit --run_dirs a --run a --trainer.max_steps -1", None, None, []),  # no half-written flags
    ],
)
def test_flags_that_name_places(line: str, run_dir: str | None, ckpt_path: str | None, configs: list[str]) -> None:
    places = named_places(line.split())
    assert (places.run_dir, places.ckpt_path, places.config) == (run_dir, ckpt_path, configs)


@pytest.mark.parametrize(
    ("message", "short"),
    [
        (
            'Parser key "samples":\n  Not of type NonNegativeInt: -1 does not conform to restriction v>=0',
            "samples must be at least 0, not -1",
        ),
        (
            'Parser key "patience":\n  Not of type NonNegativeInt: does not conform to restriction v>=0',
            "patience must be at least 0",
        ),
        (
            "Parser key \"samples\":\n  Not of type NonNegativeInt: invalid literal for int() with base 10: 'x'",
            "samples: not a whole number: 'x'",
        ),
        ("Unrecognized arguments: --sampels 3", "unknown key 'sampels'; did you mean 'samples'?"),
        (
            "Unrecognized arguments: b.json c.json",
            "b.json c.json: which flag is this of? A flag takes one value; several are a list: '[a.json, b.json]'",
        ),
    ],
)
def test_messages_fit_in_one_line(message: str, short: str) -> None:
    assert short_message(message, ["samples", "patience"]) == short
