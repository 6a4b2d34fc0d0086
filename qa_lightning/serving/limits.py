"""What a request may bring at most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice

from qa_lightning.reader.inputs import Pair
from qa_lightning.utils.errors import UserError


@dataclass(frozen=True)
class Limits:
    """What a request may bring at most.

    Attributes:
        max_body_bytes: Bytes of its body.
        max_context_characters: Characters of one context, and of one question.
        max_questions: Questions.
    """

    max_body_bytes: int = 1 << 20
    max_context_characters: int = 100_000
    max_questions: int = 128

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise UserError(f"{name} must be at least 1, not {value}")

    def check(self, pairs: Iterator[Pair]) -> list[Pair]:
        """Checks questions with their contexts, and returns them.

        Raises:
            UserError: Where they are too many, or one of them is too long.
        """
        some = list(islice(pairs, self.max_questions + 1))
        if len(some) > self.max_questions:
            raise UserError(f"more than {self.max_questions:,} questions in one request (--max_questions); send fewer")
        for number, pair in enumerate(some, 1):
            for name, text in (("question", pair.question), ("context", pair.context)):
                if len(text) > self.max_context_characters:
                    raise UserError(
                        f"question {number}: its {name} has {len(text):,} characters, and "
                        f"{self.max_context_characters:,} are the most allowed (--max_context_characters)"
                    )
        return some
