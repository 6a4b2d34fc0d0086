"""What each training method brings: EM and F1 beside those of plain training, over several seeds.

Trains a pretrained encoder with each method and each seed, by the command line, and compares the answers to the same
questions as `compare` does. A training that is there in the output folder is not done again, so that one that was
interrupted goes on, and methods or seeds can be added. The table is printed and written to ``methods.md``.

    python -m benchmarks.methods --model path/to/encoder --output path/to/folder
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.harness import SHARED
from benchmarks.method_settings import (
    ADDED_FILE,
    ALL,
    METHODS,
    METHODS_WITH_NULL,
    OF_SEVERAL,
    PLAIN,
    PRETRAINING,
    TRAIN_FILE,
    WITHOUT_NULL,
    RunsOf,
    nested,
)
from qa_lightning.cli.arguments import at_least
from qa_lightning.data.sources import read_examples
from qa_lightning.ensembling.ensemble import make_ensemble
from qa_lightning.ensembling.soup import make_soup
from qa_lightning.experiments.devices import recorded_devices
from qa_lightning.experiments.folder import ExperimentFolder
from qa_lightning.experiments.trainings import Training, run_trainings
from qa_lightning.pretraining import TextDataModule
from qa_lightning.reader.examples import predict_examples
from qa_lightning.reader.reader import Reader
from qa_lightning.runs.comparison import Comparison, compare
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.questions import read_questions, tabulate, write_table
from qa_lightning.scoring.rules import rule_name
from qa_lightning.utils.files import write_json


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
        added: The file that is mixed in; None: PolicyQA's questions.
    """

    model: str
    train: Path
    validation: Path
    output: Path
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    added: Path | None = None

    @property
    def null_allowed(self) -> bool:
        """Whether questions may be left unanswered."""
        return ".v2." in self.train.name

    @property
    def mixed_in(self) -> Path:
        """The file that is mixed in."""
        return self.added or SHARED / f"data/policyqa{'.v2' if self.null_allowed else ''}.dev.json"

    def settings_of(self, method: str) -> dict[str, Any]:
        """The settings of a method beside the common ones, by their dotted names."""
        known = METHODS | METHODS_WITH_NULL if self.null_allowed else METHODS_WITH_NULL | METHODS
        return known.get(method, {})

    def config(self, method: str) -> dict[str, Any]:
        """The config of a method, as ``fit`` reads it."""
        common = {
            "trainer.max_epochs": 5,
            **_QUIET,
            "model.model_name_or_path": self.model,
            "model.learning_rate": 2e-4,
            "model.warmup_ratio": 0.1,
            "data.train_file": str(self.train),
            "data.validation_file": str(self.validation),
            "data.version_2_with_negative": self.null_allowed,
        }
        settings = {**common, **self.settings, **self.settings_of(method)}
        if method in PRETRAINING:
            settings["model.model_name_or_path"] = str(self.pretraining(method).best_model)
        files = {TRAIN_FILE: str(self.train), ADDED_FILE: str(self.mixed_in)}

        def meant(value: Any) -> Any:
            if isinstance(value, RunsOf):
                return [str(self.run(value.method, seed).best_model) for seed in self.seeds]
            return files.get(value, value) if isinstance(value, str) else value

        return nested({name: meant(value) for name, value in settings.items()})

    def pretraining_config(self, method: str) -> dict[str, Any]:
        """The config of a training on the contexts, as ``fit`` reads it."""
        common = {
            "trainer.max_epochs": 20,
            **_QUIET,
            "model.init_args.model_name_or_path": self.model,
            "model.init_args.learning_rate": 2e-4,
            "model.init_args.warmup_ratio": 0.1,
            "data.class_path": "qa_lightning.pretraining.TextDataModule",
            "data.init_args.train_file": str(self.contexts(self.train)),
            "data.init_args.validation_file": str(self.contexts(self.validation)),
        }
        # What is said of the trainings on questions, such as the data's max_length, goes for those on text, too.
        said = {_with_init_args(name): value for name, value in self.settings.items() if _goes_for_text(name)}
        return nested({**common, **said, **PRETRAINING[method]})

    def run(self, method: str, seed: int) -> RunFolder:
        """The folder of a training."""
        return RunFolder(self._folder(method) / f"seed-{seed}")

    def pretraining(self, method: str) -> RunFolder:
        """The folder of a training on the contexts, with which all seeds of a method begin."""
        return RunFolder(self._folder(method) / "on-contexts")

    def contexts(self, questions: Path) -> Path:
        """The file of the texts that a file's questions are about; it is written where it is not there."""
        path = self.output / "contexts" / f"{questions.stem}.txt"
        if not path.is_file():
            table = read_examples(
                split="train", files=str(questions), training=True, version_2_with_negative=True
            ).table
            texts = dict.fromkeys(" ".join(text.split()) for text in table["context"].to_pylist())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n\n".join(texts), encoding="utf-8")
        return path

    def _folder(self, method: str) -> Path:
        return self.output / method.replace(", ", "+").replace(" ", "_")


_QUIET = {
    "trainer.enable_progress_bar": False,
    "trainer.enable_model_summary": False,
    "trainer.num_sanity_val_steps": 0,
    "trainer.logger": False,
}


def _goes_for_text(name: str) -> bool:
    section, _, key = name.partition(".")
    return section != "data" or key in inspect.signature(TextDataModule).parameters


def _with_init_args(name: str) -> str:
    section, _, key = name.partition(".")
    return f"{section}.init_args.{key}" if section in ("model", "data") else name


def trainings_of(setup: Setup, methods: Sequence[str]) -> tuple[list[Training], list[Training]]:
    """The trainings of the plain method and of some others, whose configs are written: first those that others need."""
    texts = [_training(setup.pretraining(m), setup.pretraining_config(m), 0) for m in methods if m in PRETRAINING]
    values = (value for method in methods for value in setup.settings_of(method).values())
    needed = dict.fromkeys([PLAIN, *(value.method for value in values if isinstance(value, RunsOf))])
    others = [method for method in methods if method not in {*OF_SEVERAL, *needed}]
    first, then = ([each for name in names for each in _of_seeds(setup, name)] for names in (needed, others))
    return [*first, *texts], then


def _of_seeds(setup: Setup, method: str) -> list[Training]:
    return [_training(setup.run(method, seed), setup.config(method), seed) for seed in setup.seeds]


def _training(run: RunFolder, config: Mapping[str, Any], seed: int) -> Training:
    path = run.path.with_suffix(".yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    fit = ("fit", "--config", str(path), "--seed_everything", str(seed))
    return Training(f"{run.path.parent.name}-{run.path.name}", run.path, (fit,))


def put_together(setup: Setup, method: str, seed: int) -> None:
    """Makes one model of the plain runs of a seed and the next one, and writes what it answers, unless that was done.

    Raises:
        UserError: Where they do not go together.
    """
    if setup.run(method, seed).questions.is_file():
        return
    place = setup.seeds.index(seed)
    two = [str(setup.run(PLAIN, setup.seeds[(place + step) % len(setup.seeds)]).best_model) for step in (0, 1)]
    run = setup.run(method, seed)
    if not run.best_model.is_dir():
        run.path.mkdir(parents=True, exist_ok=True)
        (make_ensemble if method == "ensemble of two" else make_soup)(two, run.best_model)
    table = read_examples(
        split="validation", files=str(setup.validation), training=False, version_2_with_negative=setup.null_allowed
    ).table
    predictions = predict_examples(Reader.from_pretrained(str(run.best_model)), table)
    write_table(run.questions, tabulate(predictions, rule_name(None, null_allowed=setup.null_allowed)))


def comparison_with_plain(setup: Setup, method: str) -> Comparison:
    """Compares the runs of a method with those of plain training.

    What is made of two plain runs shares one with the next seed's, so that seeds say nothing of its spread.
    """
    plain, others = (
        {f"{name} {seed}": read_questions(setup.run(name, seed).path) for seed in setup.seeds}
        for name in (PLAIN, method)
    )
    found = compare(plain, others)
    if method not in OF_SEVERAL:
        return found
    differences = {
        name: replace(difference, p_over_seeds=None, interval_over_runs=None)
        for name, difference in found.differences.items()
    }
    return replace(found, differences=differences)


def table(comparisons: Mapping[str, Comparison]) -> str:
    """The figures as a table of Markdown; the first row is plain training."""
    lines = [
        "| method | EM | F1 | F1 of each seed | F1 beside plain | p | p over seeds |",
        "| --- " + "| ---: " * 6 + "|",
    ]
    for method, comparison in comparisons.items():
        if len(lines) == 2:
            lines.append(_row(PLAIN, comparison.differences["exact_match"].a, comparison.differences["f1"].a))
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
    parser.add_argument("--train", type=Path, default=SHARED / "data/xquad.en.train.json", help="what to train on")
    parser.add_argument("--added", type=Path, help="what mixing adds to it (default: PolicyQA's questions)")
    parser.add_argument("--validation", type=Path, default=SHARED / "data/xquad.en.dev.json", help="what to score")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each method (default: 3)")
    parser.add_argument(
        "--workers", type=at_least(1), default=1, help="trainings side by side, one GPU for each (default: 1)"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=ALL,
        metavar="METHOD",
        help="default: all, but for those of null where the file to train on is not called .v2.",
    )
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="more settings of all trainings")
    options = parser.parse_args(arguments)
    settings = {name: yaml.safe_load(value) for name, _, value in (text.partition("=") for text in options.set)}
    seeds = tuple(range(options.seeds))
    setup = Setup(options.model, options.train, options.validation, options.output, seeds, settings, options.added)
    named = options.methods or (ALL if setup.null_allowed else WITHOUT_NULL)
    methods = [method for method in dict.fromkeys(named) if method != PLAIN]
    experiment = ExperimentFolder(options.output, "methods")
    begun_with = {"model": options.model, "train": str(options.train), "added": str(setup.mixed_in), **settings}
    begun_with |= recorded_devices(setup.config(PLAIN), options.workers)
    with experiment.at_work(begun_with):
        for trainings in trainings_of(setup, methods):
            run_trainings(experiment, trainings, workers=options.workers)
        for method in (method for method in methods if method in OF_SEVERAL):
            for seed in seeds:
                put_together(setup, method, seed)
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
