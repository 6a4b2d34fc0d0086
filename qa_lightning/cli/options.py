"""The short ``--help`` of the verbs that take settings, read from the source of their classes without importing it."""

from __future__ import annotations

import ast
import re
import shutil
import textwrap
from functools import cache
from pathlib import Path

from qa_lightning.cli.overview import PROGRAM, TRAINER_VERBS, VERBS
from qa_lightning.cli.shared_values import SHARED_VALUES

CLASSES = {
    "model": ("modeling/module.py", "QALightningModule"),
    "data": ("data/datamodule.py", "QADataModule"),
    "checkpoint": ("callbacks/checkpoint.py", "RunCheckpoint"),
    "results": ("callbacks/results.py", "Results"),
}
"""The sections of the settings, and where the class is whose arguments each of them holds."""

RUN_OPTIONS = {
    "run_dir": "Folder of the run; default: a new one below trainer.default_root_dir, or else below runs/.",
    "early_stopping_patience": "Stop after so many validations without a better score.",
    "push_to_hub": "Model on the Hub, USER/NAME, that gets each new best model while `fit` goes on.",
    "hub_private_repo": "Whether that model, if new there, is private.",
    "ema_decay": "Validate and save an exponential moving average of the weights, with this decay, such as 0.999.",
}
"""Options of ours that belong to no section."""

INSPECT_OPTIONS = {
    "samples": "How many examples to show.",
    "windows": "Of how many examples to show a window with its tokens.",
    "seed": "Of the examples.",
    "optimizer": "Show the optimizer's groups of parameters, and no data.",
    "html": "File to write the same to, as a page.",
}
"""Options of ``inspect`` besides those of ``fit``."""

_OF_LIGHTNING = {
    "config": "Settings as a YAML file, over which flags win.",
    "ckpt_path": "A checkpoint: a file, or with --run_dir `best` or `last`.",
    "seed_everything": "Seed of all that is random (0).",
    "print_config": "Print all settings as YAML instead of running.",
    "trainer.max_epochs": "How often to go through the data (3).",
    "trainer.precision": "Arithmetic: bf16-mixed, 16-mixed (32-true).",
    "trainer.accelerator": "What to compute on: cpu, gpu (what there is).",
    "trainer.devices": "How many of them, or which.",
    "trainer.logger": "Also logs scores there: WandbLogger, CSVLogger.",
    "trainer.callbacks": "What else happens: LearningRateMonitor, a class of yours.",
}
"""Options that Lightning defines, and what they do here."""

_IN_FEW_WORDS = {
    "data.validation_file": "File or files to validate on.",
    "model.language": "Scores answers as MLQA does in this language: en, es, de, ar, hi, vi, zh.",
}
"""What is said of options instead of their docstring's first sentence."""

_EVALUATION = ("config", "run_dir", "ckpt_path", "print_config", "model.model_name_or_path")
_OF_MODEL = ("model.null_score_diff_threshold", "model.max_answer_length", "model.language")
_OF_DATA = ("data.eval_batch_size", "trainer.accelerator", "trainer.precision")

SHOWN = {
    "fit": (
        *("config", "run_dir", "ckpt_path", "seed_everything", "early_stopping_patience", "print_config"),
        *("model.model_name_or_path", "model.learning_rate"),
        *("data.train_file", "data.validation_file", "data.dataset_name", "data.version_2_with_negative"),
        *("data.max_length", "data.doc_stride", "data.batch_size", "checkpoint.monitor", "results.samples"),
        *("trainer.max_epochs", "trainer.precision", "trainer.accelerator", "trainer.devices"),
        *("trainer.logger", "trainer.callbacks"),
    ),
    "validate": (*_EVALUATION, *_OF_MODEL, "data.validation_file", *_OF_DATA, "results.samples"),
    "test": (*_EVALUATION, *_OF_MODEL, "data.test_file", *_OF_DATA, "results.samples"),
    "predict": (*_EVALUATION, *_OF_MODEL, "data.predict_file", *_OF_DATA, "results.samples", "results.by_question"),
    "inspect": (
        *("config", *INSPECT_OPTIONS, "model.model_name_or_path", "data.train_file", "data.validation_file"),
        *("data.test_file", "data.dataset_name", "data.version_2_with_negative", "data.on_misaligned"),
        *("data.max_length", "data.doc_stride", "data.max_question_length"),
    ),
}
"""The options of each verb that have a line of their own; all others are named below them."""

_SECTIONS = {"": "run", **{section: section for section in CLASSES}, "trainer": "trainer, which is Lightning's"}
_WIDEST = 110


def linked_arguments(section: str) -> set[str]:
    """The arguments of a section that are always those of another one."""
    return {target.rpartition(".")[2] for target in SHARED_VALUES.values() if target.startswith(f"{section}.")}


@cache
def arguments_of(section: str) -> dict[str, str]:
    """The arguments that a section takes, with what its class's docstring says of each.

    Args:
        section: ``model``, ``data``, ``checkpoint`` or ``results``.
    """
    file, name = CLASSES[section]
    tree = ast.parse((Path(__file__).parents[1] / file).read_text(encoding="utf-8"))
    (cls,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    (init,) = (node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    texts = _argument_texts(ast.get_docstring(cls) or "")
    names = [argument.arg for argument in (*init.args.args[1:], *init.args.kwonlyargs)]
    return {name: texts[name] for name in names if name not in linked_arguments(section)}


def short_help(verb: str) -> str:
    """Writes the help of a verb: what is used most in a line each, and the names of all else of ours.

    Args:
        verb: One of those in `SHOWN`.
    """
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    program = f"{PROGRAM} {verb}"
    what = {**TRAINER_VERBS, **VERBS}[verb]
    lines = [f"usage: {program} [--config FILE] [--OPTION VALUE] [--SECTION.OPTION VALUE]", ""]
    about = f"{what[0].upper()}{what[1:]}. Each flag is also a line of YAML: `learning_rate: 3e-5` below `model:`."
    lines += textwrap.wrap(about, width)
    known = _options(verb)
    column = max(map(len, SHOWN[verb])) + 6
    for section, title in _SECTIONS.items():
        rows = [key for key in SHOWN[verb] if key.rpartition(".")[0] == section]
        if not rows:
            continue
        lines += ["", f"{title} (in full: {verb} --{section}.help):" if section else f"{title}:"]
        for key in rows:
            lines += _hanging(f"  {f'--{key}':<{column - 2}}", _first_sentence(known[key]), width)
        names = [key.rpartition(".")[2] for key in known if key.rpartition(".")[0] == section and key not in rows]
        if verb == "fit" and names:
            lines += _hanging("  also: ", ", ".join(names), width)
    if verb != "fit":
        lines += ["", f"All other options of fit are taken, too: {PROGRAM} fit --help"]
    return "\n".join(lines)


def _options(verb: str) -> dict[str, str]:
    """Every option of ours that a verb takes, and those of Lightning's that are shown, with what each does."""
    of_run = {**_OF_LIGHTNING, **(INSPECT_OPTIONS if verb == "inspect" else {}), **RUN_OPTIONS}
    of_classes = {f"{section}.{name}": text for section in CLASSES for name, text in arguments_of(section).items()}
    return {**of_run, **of_classes, **_IN_FEW_WORDS}


def _argument_texts(docstring: str) -> dict[str, str]:
    """What a docstring in Google's style says of each argument, each text on one line."""
    block = docstring.partition("\nArgs:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", block, re.MULTILINE)
    return {name: " ".join(text.split()).replace("``", "`") for name, text in entries}


def _first_sentence(text: str) -> str:
    """The first sentence of a text, or what stands in front of its first semicolon."""
    return re.split(r"(?<=[.;])(?: |$)", text)[0].rstrip(".;")


def _hanging(start: str, text: str, width: int) -> list[str]:
    """A text in lines of a width, that of its first one beginning with something else."""
    room = max(width - len(start), 20)
    lines = textwrap.wrap(text, room, break_on_hyphens=False)
    return [(start if number == 0 else " " * len(start)) + line for number, line in enumerate(lines)]
