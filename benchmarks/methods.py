"""What each training method brings: EM and F1 beside those of plain training, over several seeds.

Trains a pretrained encoder with each method and each seed, by the command line, and compares the answers to the same
questions as `compare` does. A training that is there in the output folder is not done again, so that one that was
interrupted goes on, and methods or seeds can be added. The table is printed and written to ``methods.md``.

    python -m benchmarks.methods --model path/to/encoder --output path/to/folder
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.harness import SHARED
from qa_lightning.experiments.folder import ExperimentFolder
from qa_lightning.experiments.trainings import Training, run_trainings
from qa_lightning.runs.comparison import Comparison, compare
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.questions import read_questions
from qa_lightning.utils.files import write_json

PLAIN = "plain"

METHODS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "layer decay": {"model.optimization.layer_decay": 0.9},
    "head rate": {"model.optimization.head_learning_rate": 1e-3},
    "top layer anew": {"model.optimization.reinit_layers": 1},
    "gradual unfreezing": {"model.optimization.unfreeze_every_n_steps": 20},
    "mixout": {"model.optimization.mixout": 0.1},
    "decay to pretrained": {"model.optimization.pretrained_decay": 0.01},
    "Muon": {"model.optimization.optimizer_type": "muon"},
    "Lion": {"model.optimization.optimizer_type": "lion", "model.learning_rate": 4e-5},
    "WSD": {"model.lr_scheduler_type": "warmup_stable_decay", "model.warmup_ratio": 0.1},
    "EMA": {"ema_decay": 0.98},
    "label smoothing": {"model.loss.label_smoothing": 0.1},
    "focal null": {"model.loss.null_focal_gamma": 2.0},
    "spans": {"model.loss.normalization": "spans"},
    "null windows": {"data.null_windows": 0.2},
    "R-Drop": {"model.regularization.r_drop": 1.0},
    "FGM": {"model.regularization.fgm": 1.0},
    "AWP": {"model.regularization.awp": 1.0, "model.regularization.awp_start_epoch": 1},
    "SMART": {"model.regularization.smart": 1.0},
    "layer decay, EMA, null windows": {
        "model.optimization.layer_decay": 0.9,
        "ema_decay": 0.98,
        "data.null_windows": 0.2,
    },
}
"""The settings of each method, beside the common ones, by their dotted names."""


@dataclass(frozen=True)
class Setup:
    """What is common to all trainings.

    Attributes:
        model: The pretrained encoder.
        train: The file to train on.
        validation: The file whose scores are compared.
        output: The folder of runs.
        seeds: One training each.
        settings: More settings by their dotted names, such as ``trainer.max_epochs``.
    """

    model: str
    train: Path
    validation: Path
    output: Path
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]

    def config(self, method: str) -> dict[str, Any]:
        """The config of a method, as ``fit`` reads it."""
        common = {
            "trainer.max_epochs": 5,
            "trainer.enable_progress_bar": False,
            "trainer.enable_model_summary": False,
            "trainer.num_sanity_val_steps": 0,
            "trainer.logger": False,
            "model.model_name_or_path": self.model,
            "model.learning_rate": 2e-4,
            "model.warmup_ratio": 0.1,
            "data.train_file": str(self.train),
            "data.validation_file": str(self.validation),
            "data.version_2_with_negative": ".v2." in self.train.name,
        }
        return nested({**common, **self.settings, **METHODS[method]})

    def run(self, method: str, seed: int) -> RunFolder:
        """The folder of a training."""
        return RunFolder(self.output / method.replace(", ", "+").replace(" ", "_") / f"seed-{seed}")


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted names, as a YAML file has them."""
    config: dict[str, Any] = {}
    for name, value in settings.items():
        *sections, key = name.split(".")
        section = config
        for part in sections:
            section = section.setdefault(part, {})
        section[key] = value
    return config


def training_of(setup: Setup, method: str, seed: int) -> Training:
    """The training of a method with a seed, whose config is written."""
    run = setup.run(method, seed).path
    config = run.parent / "method.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(yaml.safe_dump(setup.config(method)), encoding="utf-8")
    fit = ("fit", "--config", str(config), "--seed_everything", str(seed))
    return Training(f"{run.parent.name}-seed-{seed}", run, (fit,))


def comparison_with_plain(setup: Setup, method: str) -> Comparison:
    """Compares the runs of a method with those of plain training."""
    plain, others = (
        {f"{name} {seed}": read_questions(setup.run(name, seed).path) for seed in setup.seeds}
        for name in (PLAIN, method)
    )
    return compare(plain, others)


def table(comparisons: Mapping[str, Comparison]) -> str:
    """The figures as a table of Markdown; the first row is plain training."""
    lines = [
        "| method | EM | F1 | F1 of each seed | F1 beside plain | p | p over seeds |",
        "| --- " + "| ---: " * 6 + "|",
    ]
    for method, comparison in comparisons.items():
        if len(lines) == 2:
            lines.append(_row(PLAIN, *(comparison.differences[name].a for name in ("exact_match", "f1"))))
        exact, f1 = (comparison.differences[name] for name in ("exact_match", "f1"))
        low, high = f1.interval
        over_seeds = "" if f1.p_over_seeds is None else f"{f1.p_over_seeds:.4f}"
        beside = f"{f1.difference:+.2f} [{low:+.2f}, {high:+.2f}]"
        lines.append(_row(method, exact.b, f1.b, beside, f"{f1.p_value:.4f}", over_seeds))
    return "\n".join(lines) + "\n"


def _row(method: str, exact: Sequence[float], f1: Sequence[float], *rest: str) -> str:
    means = [f"{sum(values) / len(values):.2f}" for values in (exact, f1)]
    cells = [method, *means, ", ".join(f"{value:.1f}" for value in f1), *(rest or ("", "", ""))]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs ``python -m benchmarks.methods``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the pretrained encoder: a folder, or a name on the Hub")
    parser.add_argument("--output", type=Path, required=True, help="the folder of runs and of the table")
    parser.add_argument("--train", type=Path, default=SHARED / "data/xquad.en.v2.train.json", help="what to train on")
    parser.add_argument("--validation", type=Path, default=SHARED / "data/xquad.en.v2.dev.json", help="what to score")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each method (default: 3)")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="METHOD")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="more settings of all trainings")
    options = parser.parse_args(arguments)
    settings = {name: yaml.safe_load(value) for name, _, value in (text.partition("=") for text in options.set)}
    seeds = tuple(range(options.seeds))
    setup = Setup(options.model, options.train, options.validation, options.output, seeds, settings)
    methods = [method for method in options.methods if method != PLAIN]
    experiment = ExperimentFolder(options.output, "methods")
    with experiment.at_work({"model": options.model, "train": str(options.train), **settings}):
        run_trainings(experiment, [training_of(setup, method, seed) for method in (PLAIN, *methods) for seed in seeds])
    comparisons = {method: comparison_with_plain(setup, method) for method in methods}
    figures = {
        method: {name: asdict(difference) for name, difference in found.differences.items()}
        for method, found in comparisons.items()
    }
    write_json(options.output / "methods.json", figures)
    text = table(comparisons)
    (options.output / "methods.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
