"""Model soups: the mean of the weights of several runs, as one model (Wortsman et al., 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qa_lightning.ensembling.scores import AskedQuestions, f1_of, read_questions
from qa_lightning.modeling.network import quiet_transformers
from qa_lightning.pretrained.head import HEAD_KEY
from qa_lightning.pretrained.loading import load_config, load_settings, load_tokenizer, same_tokenizer
from qa_lightning.pretrained.settings import CALIBRATION, CONFIG_OVERRIDES, SETTINGS_FILE, null_at_end, shorten
from qa_lightning.reader.loading import load_trained_network
from qa_lightning.reader.onnx_runner import holds_onnx
from qa_lightning.reader.reader import Reader
from qa_lightning.reader.settings import Settings
from qa_lightning.runs.folder import display_name, resolve_model
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import whole_folder, write_json

SOUP_FILE = "soup.json"
"""File in a soup's folder that says what is in it."""

THRESHOLD = "null_score_diff_threshold"

_OWN_SETTINGS = (CALIBRATION, CONFIG_OVERRIDES)
"""Settings of a model alone: the mean of weights has other probabilities than any of them."""

_NO_ARCHITECTURE = ("architectures", "dtype", "torch_dtype", "transformers_version", "use_cache")
"""Entries of configurations that may differ where weights may be averaged."""


@dataclass(frozen=True)
class Soup:
    """What became of the runs.

    Attributes:
        kept: Names of the runs whose weights were averaged, in the order in which they were added.
        left_out: Names of the others.
        f1_of_runs: F1 of each run alone on the validation data, by its name; None where there were none.
        f1: That of the soup.
    """

    kept: list[str]
    left_out: list[str]
    f1_of_runs: dict[str, float] | None = None
    f1: float | None = None


@dataclass(frozen=True)
class Ingredients:
    """Models whose weights may be averaged.

    Attributes:
        names: What they are loaded from.
        tokenizer: The tokenizer of all.
        settings: What all were trained with; empty for models that are not ours.
    """

    names: list[str]
    tokenizer: Any
    settings: dict[str, Any]

    def load(self, name: str) -> Any:
        """Loads the network of a model; adapters are added to the weights of their base."""
        return load_trained_network(name, self.tokenizer)

    def f1_of(self, network: Any, asked: AskedQuestions) -> float:
        """Computes F1 of a network on questions, in per cent."""
        settings = vars(Settings.of_model(self.settings))
        at_end = null_at_end(self.tokenizer, self.settings, training=False)
        return f1_of(Reader(network, self.tokenizer, null_at_end=at_end, **settings), asked)


@dataclass(frozen=True)
class MeanWeights:
    """The mean of sets of weights that have the same names and shapes.

    What are no floating-point numbers, such as a buffer of positions, is that of the first set.

    Attributes:
        sums: The sums, in float64.
        dtypes: The dtypes of the first set.
        count: How many sets there are.
    """

    sums: dict[str, Tensor]
    dtypes: dict[str, torch.dtype]
    count: int = 1

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> MeanWeights:
        """That of one set."""
        return cls(
            {name: _summand(value) for name, value in weights.items()},
            {name: value.dtype for name, value in weights.items()},
        )

    def plus(self, weights: Mapping[str, Tensor]) -> MeanWeights:
        """That with one set more; this one stays as it is."""
        sums = {
            name: value + _summand(weights[name]) if value.is_floating_point() else value
            for name, value in self.sums.items()
        }
        return MeanWeights(sums, self.dtypes, self.count + 1)

    def weights(self) -> dict[str, Tensor]:
        """The mean, in the dtypes of the first set."""
        return {
            name: (value / self.count if value.is_floating_point() else value).to(self.dtypes[name])
            for name, value in self.sums.items()
        }


def make_soup(
    runs: Sequence[str], output: Path, *, data: str | None = None, greedy: bool = False, language: str | None = None
) -> Soup:
    """Averages the weights of runs, and writes the model as a plain folder, which is whole or not there.

    Args:
        runs: At least two: folders of runs, whose best models are taken, model folders, checkpoints, or names on the
            Hub; of one architecture, with one tokenizer and the same settings.
        output: The folder, which is new or empty.
        data: A file of questions with golds, on which runs and soup are scored.
        greedy: Whether a run is added only where F1 of the soup on the data does not fall by it. Runs are tried from
            the best to the worst; the first is always in.
        language: The language of MLQA's rule to score by; default: SQuAD's rule.

    Raises:
        UserError: Where weights cannot be averaged, or a file cannot be read or written.
    """
    if len(runs) < 2:
        raise UserError("a soup is made of two runs or more; name another one")
    if greedy and data is None:
        raise UserError("a greedy soup needs questions by which runs are chosen; give --data")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} is there already; name another folder, or delete it first")
    ingredients = check_ingredients([resolve_model(run) for run in runs])
    asked = None if data is None else read_questions(data, language)
    shown = _shown_names(runs)
    order = list(range(len(runs)))
    alone: list[float] | None = None
    if asked is not None:
        alone = [ingredients.f1_of(ingredients.load(name), asked) for name in ingredients.names]
        order = np.argsort(-np.array(alone), kind="stable").tolist()
    network, kept, f1 = _stir(ingredients, order, asked, alone, greedy)
    result = Soup(
        [shown[i] for i in kept],
        [shown[i] for i in order if i not in kept],
        None if alone is None else dict(zip(shown, alone, strict=True)),
        f1,
    )
    with whole_folder(output) as folder:
        with quiet_transformers():
            network.save_pretrained(folder)
            ingredients.tokenizer.save_pretrained(folder)
        if ingredients.settings:
            write_json(folder / SETTINGS_FILE, ingredients.settings)
        write_json(folder / SOUP_FILE, vars(result))
    return result


def _stir(
    ingredients: Ingredients,
    order: Sequence[int],
    asked: AskedQuestions | None,
    alone: Sequence[float] | None,
    greedy: bool,
) -> tuple[Any, list[int], float | None]:
    """Averages weights in an order; returns the network, which models are in it, and its F1 where that is known."""
    network = ingredients.load(ingredients.names[order[0]]).eval()
    mean, kept = MeanWeights.of(network.state_dict()), [order[0]]
    f1 = None if alone is None else alone[order[0]]
    for i in order[1:]:
        tried = mean.plus(ingredients.load(ingredients.names[i]).state_dict())
        if greedy:
            assert asked is not None
            assert f1 is not None
            network.load_state_dict(tried.weights())
            reached = ingredients.f1_of(network, asked)
            if reached < f1:
                continue
            f1 = reached
        mean = tried
        kept.append(i)
    network.load_state_dict(mean.weights())
    if asked is not None and not greedy:
        f1 = ingredients.f1_of(network, asked)
    return network, kept, f1


def check_ingredients(names: Sequence[str]) -> Ingredients:
    """Checks that the weights of models may be averaged, before any is loaded.

    Args:
        names: Folders, checkpoints or names on the Hub; at least one.

    Raises:
        UserError: Where they differ in architecture, head, tokenizer or settings.
    """
    for name in names:
        if holds_onnx(name):
            raise UserError(f"{name} holds an ONNX model, whose weights cannot be averaged; name what it was made from")
    first = names[0]
    configs = [_architecture(name) for name in names]
    tokenizer = load_tokenizer(first)
    all_settings = [_comparable_settings(name) for name in names]
    for name, config, settings in zip(names[1:], configs[1:], all_settings[1:], strict=True):
        _check_equal(configs[0], config, first, name, "an ensemble takes models of any architecture")
        if not same_tokenizer(tokenizer, load_tokenizer(name)):
            raise UserError(
                f"{name} has another tokenizer than {first}: their weights cannot be averaged; an ensemble takes "
                "models with any tokenizers"
            )
        _check_equal(all_settings[0], settings, first, name, "a soup is of runs with the same settings")
    settings = {key: value for key, value in load_settings(first).items() if key not in _OWN_SETTINGS}
    thresholds = [load_settings(name)[THRESHOLD] for name in names if THRESHOLD in load_settings(name)]
    if len(thresholds) == len(names):
        settings[THRESHOLD] = sum(thresholds) / len(names)
    return Ingredients(list(names), tokenizer, settings)


def _architecture(name: str) -> dict[str, Any]:
    config = load_config(name)
    values = {**config.to_dict(), "model_type": config.model_type}
    kept = {key: value for key, value in values.items() if not key.startswith("_") and key not in _NO_ARCHITECTURE}
    # Settings of training, such as dropout, are no matter of what weights mean.
    return {key: value for key, value in kept.items() if "dropout" not in key and "pdrop" not in key}


def _comparable_settings(name: str) -> dict[str, Any]:
    return {key: value for key, value in load_settings(name).items() if key not in (THRESHOLD, *_OWN_SETTINGS)}


def _check_equal(values: Mapping[str, Any], others: Mapping[str, Any], first: str, name: str, advice: str) -> None:
    """Checks that two models agree in all entries of their configurations, or settings; the head's are read first."""
    differing = [key for key in {**values, **others} if values.get(key) != others.get(key)]
    if differing:
        key = HEAD_KEY if HEAD_KEY in differing else "model_type" if "model_type" in differing else differing[0]
        what = "head" if key == HEAD_KEY else key
        raise UserError(
            f"the weights of {first} and {name} cannot be averaged: {what} is {shorten(values.get(key))} in the first "
            f"and {shorten(others.get(key))} in the second; {advice}"
        )


def _shown_names(runs: Sequence[str]) -> list[str]:
    """Names without the places of the machine; numbered where two would be alike."""
    names = [display_name(run) for run in runs]
    return [name if names.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(names, 1)]


def _summand(value: Tensor) -> Tensor:
    return value.detach().double() if value.is_floating_point() else value.detach().clone()
