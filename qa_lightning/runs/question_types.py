"""What kind of question a question is, by its words."""

from __future__ import annotations

import re

_ENGLISH = re.compile(
    r"\b(how (?:many|much|long|old|often|far|big|large|tall|high|deep)"
    r"|who|whom|whose|what|which|when|where|why|how)\b"
)
_SAME = {"whom": "who", "whose": "who"}
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def question_type(question: str) -> str:
    """The English question word wherever it stands in the question ("In which year …": which), else its first word.

    Args:
        question: The question's text, in any language.

    Returns:
        In lower case: "who", "how many", "quando"; "" where the question has no word.
    """
    text = " ".join(question.lower().split())
    english = _ENGLISH.search(text)
    if english:
        return _SAME.get(english[1], english[1])
    word = _WORD.search(text)
    return word[0] if word else ""
