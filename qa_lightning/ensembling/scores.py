"""How well models answer the questions of a file."""

from __future__ import annotations

from dataclasses import dataclass

from qa_lightning.data.sources import read_examples
from qa_lightning.reader.reader import Reader
from qa_lightning.scoring.mlqa import check_language
from qa_lightning.scoring.rules import rule_name, scorer
from qa_lightning.scoring.squad import Scorer
from qa_lightning.utils.errors import UserError


@dataclass(frozen=True)
class AskedQuestions:
    """Questions with their golds.

    Attributes:
        source: The file that they are from.
        records: Each question with its context, as a Reader takes them.
        golds: The published answers of each; empty for one that is not answerable.
        language: That of MLQA's rule to score by; None: SQuAD's rule.
    """

    source: str
    records: list[dict[str, str]]
    golds: list[list[str]]
    language: str | None = None

    def scorer(self, *, null_allowed: bool) -> Scorer:
        """The rule by which answers are scored.

        Args:
            null_allowed: Whether a question may be left unanswered.
        """
        return scorer(rule_name(self.language, null_allowed=null_allowed))


def read_questions(file: str, language: str | None = None) -> AskedQuestions:
    """Reads the questions of a file that has golds, in any format that training reads.

    Args:
        file: The file.
        language: The language of MLQA's rule to score by; None: SQuAD's rule.

    Raises:
        UserError: Where the file is missing, not of that kind or holds no question, and for an unknown language.
    """
    check_language(language)
    table = read_examples(split="validation", files=file, training=False, version_2_with_negative=True).table
    if not len(table):
        raise UserError(f"{file}: there is no question to score")
    records = table.select(["question", "context"]).to_pylist()
    return AskedQuestions(file, records, table["gold_texts"].to_pylist(), language)


def f1_of(reader: Reader, asked: AskedQuestions) -> float:
    """Asks a model all questions and computes F1, in per cent.

    Args:
        reader: The model.
        asked: The questions.
    """
    score = asked.scorer(null_allowed=reader.settings.handle_impossible_answer)
    texts = (prediction.text for prediction in reader.predictions(asked.records))
    found = [score(text, golds)[1] for text, golds in zip(texts, asked.golds, strict=True)]
    return 100 * sum(found) / len(found)
