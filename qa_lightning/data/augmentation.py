"""Which augmentation a training's questions have, by the section ``data.augmentation``, and what it makes of one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from qa_lightning.data.replacement_table import read_replacements
from qa_lightning.data.sentence_moves import insert_sentence, shuffle_sentences
from qa_lightning.data.text_edits import SpannedText
from qa_lightning.data.word_noise import Casing, Typo, add_typos, change_casing, replace_words
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.sentences import sentence_borders

PLACEHOLDER = "{question}"
"""What a template has in the place of the question."""

LONGEST_DISTRACTOR = 500
"""Most characters of a distractor sentence; what is longer is a text without full stops."""

MOST_DISTRACTORS = 100

_TRIES = 8
"""How many contexts are looked at for a distractor sentence."""

_OPERATIONS = ("typos", "casing", "text_casing", "replacements", "shuffle_sentences", "distractors", "templates")
_OF_WORDS = ("typos", "casing", "text_casing", "replacements")
_PARTS_OF = {
    "parts": _OF_WORDS,
    "typo_kinds": ("typos",),
    "casings": ("casing", "text_casing"),
    "replacement_rate": ("replacements",),
}
"""Settings that say more of others, of which at least one must be on."""


@dataclass(frozen=True)
class Augmentation:
    """Changes of the training questions and their contexts, new in each epoch; off unless one of them is set.

    Args:
        probability: Share of the questions that are changed in an epoch.
        parts: Which text gets typos, casing and replacements: the question, the context, or both.
        typos: Share of the letters with a typo, in words that no answer touches.
        typo_kinds: Which typos: ``swap`` (with the next letter), ``drop``, ``insert``, ``replace``.
        casing: Share of the words whose casing is changed, those of answers among them.
        text_casing: How often the casing of question and context is changed as a whole.
        casings: Which casings: ``lower``, ``upper``, ``title``.
        replacements: A file of words and their replacements: JSON, such as ``{"big": ["large", "huge"]}``, or TSV.
            Words that an answer touches stay.
        replacement_rate: Share of the words of that file that are replaced.
        shuffle_sentences: How often the sentences of the context are shuffled.
        distractors: Sentences of other contexts that are inserted before or behind the answer's sentence.
        templates: Patterns of questions, one of which is drawn, such as ``"Please tell me: {question}"``.

    Raises:
        UserError: Where a value is out of bounds, or contradicts another one.
    """

    probability: float = 0.5
    parts: Literal["both", "question", "context"] = "both"
    typos: float = 0.0
    typo_kinds: list[Typo] = field(default_factory=lambda: ["swap", "drop", "insert", "replace"])
    casing: float = 0.0
    text_casing: float = 0.0
    casings: list[Casing] = field(default_factory=lambda: ["lower", "upper", "title"])
    replacements: str | None = None
    replacement_rate: float = 0.1
    shuffle_sentences: float = 0.0
    distractors: int = 0
    templates: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("probability", "typos", "casing", "text_casing", "replacement_rate", "shuffle_sentences"):
            check_between(f"data.augmentation.{name}", getattr(self, name), 0, 1)
        check_between("data.augmentation.distractors", self.distractors, 0, MOST_DISTRACTORS)
        for name in ("typo_kinds", "casings"):
            if not getattr(self, name):
                raise UserError(f"data.augmentation.{name} is empty; name at least one, or leave it out")
        for template in self.templates:
            if PLACEHOLDER not in template:
                raise UserError(f"data.augmentation.templates: {template!r:.60} has no {PLACEHOLDER} in it")
        values, defaults = asdict(self), _plain_defaults()
        if not self.is_on and values != defaults:
            changed = ", ".join(name for name in values if values[name] != defaults[name])
            raise UserError(
                f"data.augmentation has nothing on, but sets {changed}; set one of {', '.join(_OPERATIONS)}, too"
            )
        for name, operations in _PARTS_OF.items():
            if values[name] != defaults[name] and not any(values[operation] for operation in operations):
                raise UserError(
                    f"data.augmentation.{name} is set, but not {' or '.join(operations)}, which it is about"
                )
        for name in ("probability", "replacement_rate"):
            if not values[name]:
                raise UserError(f"data.augmentation.{name} is 0, so that nothing is changed; raise it, or leave it out")

    @property
    def is_on(self) -> bool:
        """Whether anything is changed."""
        return any(getattr(self, name) for name in _OPERATIONS)

    def read_table(self) -> dict[str, list[str]]:
        """Reads the file of replacements; empty where there is none.

        Raises:
            UserError: Where it cannot be read.
        """
        return {} if self.replacements is None else read_replacements(self.replacements)


def _plain_defaults() -> dict[str, Any]:
    fields = Augmentation.__dataclass_fields__.values()
    return {f.name: f.default_factory() if callable(f.default_factory) else f.default for f in fields}


class Augmenter:
    """Changes questions and contexts, each in a way that depends on the seed, the epoch and the question's id alone.

    Args:
        config: What is changed.
        table: Replacements of words; see `replacement_table.read_replacements`.
        contexts: The contexts that distractor sentences are taken from.
        seed: The seed of all that is drawn.
    """

    def __init__(
        self, config: Augmentation, table: Mapping[str, Sequence[str]], contexts: Sequence[Any], seed: int
    ) -> None:
        self._config = config
        self._table = table
        self._contexts = contexts
        self._seed = seed

    def random(self, id_: str, epoch: int | None) -> np.random.Generator:
        """The source of chance for a question in an epoch; None: for a trial before the first."""
        name = int.from_bytes(hashlib.blake2b(id_.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
        return np.random.default_rng((self._seed, 0 if epoch is None else epoch + 1, name))

    def is_drawn(self, random: np.random.Generator) -> bool:
        """Whether a question is augmented; the first that is drawn for it in an epoch."""
        return bool(random.random() < self._config.probability)

    def __call__(self, question: str, passage: SpannedText, random: np.random.Generator) -> tuple[str, SpannedText]:
        """Augments a question and its context.

        Args:
            question: The question.
            passage: The context, and the spans of the answers that are trained on.
            random: What `random` gave for the question.

        Returns:
            The question, and the context with the spans of the same answers; but for casing, these have the same texts.
        """
        config, asked = self._config, SpannedText(question)
        if random.random() < config.shuffle_sentences:
            passage = shuffle_sentences(passage, random)
        answers = [text.casefold() for text in passage.texts()]
        own = passage.text if config.distractors else ""
        for _ in range(config.distractors):
            sentence = self._distractor(own, answers, random)
            if sentence is not None:
                passage = insert_sentence(passage, sentence, random)
        whole = random.random() < config.text_casing
        kinds = [config.casings[random.integers(len(config.casings))]] if whole else config.casings
        casing = 1.0 if whole else config.casing
        if config.parts != "context":
            asked = self._change_words(asked, casing, kinds, random)
        if config.parts != "question":
            passage = self._change_words(passage, casing, kinds, random)
        text = asked.text
        if config.templates:
            text = config.templates[random.integers(len(config.templates))].replace(PLACEHOLDER, text)
        return text, passage

    def _change_words(
        self, text: SpannedText, casing: float, casings: Sequence[Casing], random: np.random.Generator
    ) -> SpannedText:
        if self._table:
            text = replace_words(text, self._table, self._config.replacement_rate, random)
        if casing:
            text = change_casing(text, casing, casings, random)
        if self._config.typos:
            text = add_typos(text, self._config.typos, self._config.typo_kinds, random)
        return text

    def _distractor(self, own: str, answers: Sequence[str], random: np.random.Generator) -> str | None:
        """A sentence of another context that holds no answer; None where none is found."""
        for place in random.integers(len(self._contexts), size=_TRIES).tolist():
            text = str(self._contexts[place])
            borders = sentence_borders(text)
            number = random.integers(len(borders) - 1)
            sentence = text[borders[number] : borders[number + 1]].strip()
            folded = sentence.casefold()
            fits = 0 < len(sentence) <= LONGEST_DISTRACTOR and sentence not in own
            if fits and not any(answer in folded for answer in answers):
                return sentence
        return None
