"""Generates a synthetic reading corpus, and the tokenizer for it.

Each passage describes one place: when it opens, how high its tower is, what its kitchen serves. A small model
learns to read such passages from a random start in about a minute, but only if every stage between the rows and
the scores does its work; that makes the corpus a check of the whole pipeline, and it needs no network.

What lets so small a model learn so soon is that most values show their type ("pale green", "38 degrees"). What
keeps the task one of reading is that the passage states many values, of which the question wants one or none,
that a length may be the tower's or the hall's, and that most passages are longer than one window.
"""

from __future__ import annotations

import re
import string
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from transformers import BertTokenizer

TOWNS = "Alder Barrow Clifton Denby Elmore Farnham Grafton Halden Kelso Langley Marlow Norwick Oakham".split()
KINDS = "Abbey Castle Gallery Library Lighthouse Mill Museum Observatory Theatre".split()
MONTHS = "January February March April May June July August September October November December".split()
SHADES = "bright dark deep dull faded light pale soft strong warm".split()
COLOURS = "amber black blue brown cream green grey orange pink purple red turquoise white yellow".split()
FINISHES = "bare carved coarse glazed old painted polished rough smooth waxed".split()
MATERIALS = "ash brick cedar clay granite limestone marble oak pine sandstone slate walnut".split()
COOKING = "baked boiled cold fried grilled hot roasted smoked steamed stuffed".split()
DISHES = "beans cabbage chicken duck herring lamb onions peppers potatoes salmon trout turnips".split()

VALUES: dict[str, Callable[[Random], str]] = {
    "code": lambda rng: "".join(rng.choices(string.ascii_uppercase, k=2)) + f"-{rng.randrange(1000, 10000)}",
    "colour": lambda rng: f"{rng.choice(SHADES)} {rng.choice(COLOURS)}",
    "date": lambda rng: f"{rng.randrange(1, 29)} {rng.choice(MONTHS)} {rng.randrange(1500, 2000)}",
    "dish": lambda rng: f"{rng.choice(COOKING)} {rng.choice(DISHES)}",
    "duration": lambda rng: f"{rng.randrange(2, 10)} hours and {rng.randrange(10, 60)} minutes",
    "length": lambda rng: f"{rng.randrange(10, 1000)} metres",
    "material": lambda rng: f"{rng.choice(FINISHES)} {rng.choice(MATERIALS)}",
    "people": lambda rng: f"{rng.randrange(20, 1000)} people",
    "price": lambda rng: f"{rng.randrange(10, 1000)} euros",
    "share": lambda rng: f"{rng.randrange(10, 100)} percent",
    "steps": lambda rng: f"{rng.randrange(20, 1000)} steps",
    "temperature": lambda rng: f"{rng.randrange(5, 100)} degrees",
    "time": lambda rng: f"{rng.randrange(1, 13)}:{rng.randrange(10, 60)} {rng.choice(('am', 'pm'))}",
    "weight": lambda rng: f"{rng.randrange(20, 1000)} kilograms",
}
"""Draws a random value of each type."""


class Attribute(NamedTuple):
    """An attribute of a place: the type of its value, and the wordings of statements and questions about it."""

    type: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]


ATTRIBUTES = (
    Attribute(
        "time",
        ("{place} opens at {value}", "the doors of {place} open at {value}"),
        ("When does {place} open?", "At what time do the doors of {place} open?"),
    ),
    Attribute(
        "length",
        ("the tower of {place} is {value} high", "{place} has a tower that is {value} high"),
        ("How high is the tower of {place}?", "What is the height of the tower of {place}?"),
    ),
    Attribute(
        "length",
        ("the hall of {place} is {value} long", "{place} has a hall that is {value} long"),
        ("How long is the hall of {place}?", "What is the length of the hall of {place}?"),
    ),
    Attribute(
        "code",
        ("{place} is listed as {value} in the register", "the register keeps {place} under number {value}"),
        ("How is {place} listed in the register?", "Under which number does the register keep {place}?"),
    ),
    Attribute(
        "colour",
        ("the roof of {place} is {value}", "a {value} roof covers {place}"),
        ("What colour is the roof of {place}?", "Which colour has the roof that covers {place}?"),
    ),
    Attribute(
        "date",
        ("{place} was founded on {value}", "the first stone of {place} was laid on {value}"),
        ("When was {place} founded?", "On which day was the first stone of {place} laid?"),
    ),
    Attribute(
        "dish",
        ("the kitchen of {place} serves {value}", "{place} is famous for its {value}"),
        ("What does the kitchen of {place} serve?", "Which dish is {place} famous for?"),
    ),
    Attribute(
        "duration",
        ("a full visit to {place} takes {value}", "one needs {value} to see all of {place}"),
        ("How long does a full visit to {place} take?", "How much time does one need to see all of {place}?"),
    ),
    Attribute(
        "material",
        ("the floor of {place} is made of {value}", "the builders of {place} used {value} for the floor"),
        ("What is the floor of {place} made of?", "What did the builders of {place} use for the floor?"),
    ),
    Attribute(
        "people",
        ("{value} find a seat in {place}", "{place} can seat {value}"),
        ("How many people find a seat in {place}?", "How many people can {place} seat?"),
    ),
    Attribute(
        "price",
        ("a ticket to {place} costs {value}", "{place} charges {value} for a ticket"),
        ("How much is a ticket to {place}?", "What does {place} charge for a ticket?"),
    ),
    Attribute(
        "share",
        ("the town pays {value} of the costs of {place}", "{place} gets {value} of its money from the town"),
        ("Which part of the costs of {place} does the town pay?", "How much of its money does {place} get?"),
    ),
    Attribute(
        "steps",
        ("{value} lead to the top of {place}", "the stairs of {place} have {value}"),
        ("How many steps lead to the top of {place}?", "How many steps do the stairs of {place} have?"),
    ),
    Attribute(
        "temperature",
        ("the cellar of {place} is kept at {value}", "it is always {value} in the cellar of {place}"),
        ("How warm is the cellar of {place}?", "At what temperature is the cellar of {place} kept?"),
    ),
    Attribute(
        "weight",
        ("the great bell of {place} weighs {value}", "{place} owns a bell of {value}"),
        ("How much does the bell of {place} weigh?", "What is the weight of the great bell of {place}?"),
    ),
)
FILLERS = (
    "many people come here in spring",
    "the path along the river is worth a walk",
    "school classes are always welcome",
    "old photographs hang in the corridor",
    "there is a small garden with roses behind the house",
    "nobody knows the name of the first builder",
    "in winter the wind can be strong",
    "a letter in the archive tells more about those years",
    "painters have always liked the view",
    "parking is difficult on market days",
)
"""Sentences that state nothing."""

QUESTIONS = 4
"""Questions about each passage."""


@dataclass(frozen=True)
class SyntheticCorpus:
    """A synthetic reading corpus, for trying the whole pipeline without any data.

    Four questions are asked of each passage, and about a quarter of all has no answer there. The splits share no
    passage and no answer, whatever their seeds.

    Attributes:
        train_passages: How many passages to write for training.
        validation_passages: How many passages to write for validation.
        seed: The seed of the passages.
    """

    train_passages: int = 4000
    validation_passages: int = 120
    seed: int = 0

    def rows(self, split: Literal["train", "validation"]) -> list[dict[str, Any]]:
        """Generates the questions of one split, the same in every process.

        Args:
            split: The split.

        Returns:
            Flat rows ``{"id", "question", "context", "answers": {"text": [...], "answer_start": [...]}}`` with
            starts in characters; both lists are empty where there is no answer.
        """
        passages = {"train": self.train_passages, "validation": self.validation_passages}[split]
        rng = Random(f"{self.seed} {split}")  # noqa: S311 - nothing here is secret
        return [
            {"id": f"{split}-{passage}-{number}", **row}
            for passage in range(passages)
            for number, row in enumerate(_passage(rng, held_out=split == "validation"))
        ]


def build_tokenizer() -> BertTokenizer:
    """Builds a WordPiece tokenizer for the corpus, lower-casing and with BERT's special tokens.

    The corpus' words are whole, numbers are cut into pairs of digits, and any other word is spelled out, so no
    printable ASCII text is unknown to it. ``configs/quickstart_model`` holds what it saves.
    """
    from transformers import BertTokenizer

    rows = SyntheticCorpus(train_passages=1000).rows("train")
    text = " ".join(f"{row['question']} {row['context']}" for row in rows)
    words = {word.lower() for word in re.findall(r"\b[A-Za-z][a-z]+\b", text)}  # not the codes: they are capitals
    pieces = [*string.ascii_lowercase, *string.digits, *(f"{pair:02}" for pair in range(100))]
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    vocabulary = (*special, *string.punctuation, *pieces, *(f"##{piece}" for piece in pieces), *sorted(words))
    return BertTokenizer(vocab={token: index for index, token in enumerate(vocabulary)})


def _passage(rng: Random, held_out: bool) -> Iterator[dict[str, Any]]:
    """Writes one passage, with questions about facts that it states and facts that it does not."""
    kind = rng.choice(KINDS)
    names = (f"{rng.choice(TOWNS)} {kind}", f"the {kind.lower()}")
    attributes = rng.sample(ATTRIBUTES, len(ATTRIBUTES))
    stated = rng.randint(3, 7)
    sentences: list[Attribute | str] = [*attributes[:stated], *rng.sample(FILLERS, rng.randint(0, 4))]
    rng.shuffle(sentences)

    context = ""
    answers: dict[Attribute, dict[str, list[Any]]] = {}
    for sentence in sentences:
        context += " " if context else ""
        if isinstance(sentence, str):
            context += f"{_capitalised(sentence)}."
        else:
            statement = rng.choice(sentence.statements).replace("{place}", rng.choice(names))
            before, after = statement.split("{value}")
            value = _draw(rng, sentence.type, held_out)
            context += _capitalised(before)
            answers[sentence] = {"text": [value], "answer_start": [len(context)]}
            context += f"{value}{after}."

    answerable = min(stated, sum(rng.random() < 0.75 for _ in range(QUESTIONS)))
    asked = rng.sample(attributes[:stated], answerable)
    asked += rng.sample(attributes[stated:], QUESTIONS - answerable)
    for attribute in asked:
        question = rng.choice(attribute.questions).replace("{place}", rng.choice(names))
        answer = answers.get(attribute, {"text": [], "answer_start": []})
        yield {"question": question, "context": context, "answers": answer}


def _draw(rng: Random, kind: str, held_out: bool) -> str:
    """Draws a value of one type; a fifth of all values, chosen by their checksum, is held out for validation."""
    while True:
        value = VALUES[kind](rng)
        if (zlib.crc32(value.encode()) % 5 == 0) == held_out:
            return value


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
