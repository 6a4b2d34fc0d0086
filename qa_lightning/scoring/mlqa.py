"""EM and F1 as the official MLQA evaluation script computes them, for seven languages.

The script is ``mlqa_evaluation_v1.py`` of Lewis, Oğuz, Rinott, Riedel and Schwenk, "MLQA: Evaluating Cross-lingual
Extractive Question Answering" (2020). It takes off each language's own articles and Unicode's punctuation, and
takes every Chinese character as a token. It knows no unanswerable questions; those are scored as SQuAD 2.0 does.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from functools import lru_cache, partial

from qa_lightning.scoring import squad
from qa_lightning.utils.errors import UserError

LANGUAGES = ("en", "es", "de", "ar", "hi", "vi", "zh")
"""Codes of the languages that have a rule; every other one takes the plain rule."""

_CODES = frozenset(
    "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo "
    "es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka "
    "kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng "
    "nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su "
    "sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu".split()
)
"""Every language of ISO 639-1."""

_ARTICLES = {
    "en": re.compile(r"\b(?:a|an|the)\b"),
    "es": re.compile(r"\b(?:un|una|unos|unas|el|la|los|las)\b"),
    "de": re.compile(r"\b(?:ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "ar": re.compile("ال"),  # wherever it stands in a word, as in the script
    "vi": re.compile(r"\b(?:của|là|cái|chiếc|những)\b"),
}
_CHINESE = re.compile(r"([\u4e00-\u9fa5])")


class _WithoutPunctuation(dict[int, str | None]):
    """A table for ``str.translate``, filled as characters are met: Unicode has a million, texts use few."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        punctuation = character in string.punctuation or unicodedata.category(character).startswith("P")
        self[code] = None if punctuation else character
        return self[code]


_WITHOUT_PUNCTUATION = _WithoutPunctuation()


@lru_cache(maxsize=1 << 17)
def normalize(text: str, language: str) -> str:
    """Normalises a text: lower case, without punctuation, articles and surplus white space.

    Args:
        text: Any text.
        language: A code, in lower case. One that is not of `LANGUAGES` has no articles.
    """
    text = text.lower().translate(_WITHOUT_PUNCTUATION)
    if language in _ARTICLES:
        text = _ARTICLES[language].sub(" ", text)
    elif language == "zh":
        text = _CHINESE.sub(r" \1 ", text)
    return " ".join(text.split())


def score_question(prediction: str, golds: Sequence[str], language: str) -> tuple[float, float]:
    """Computes EM and F1 of one prediction, each the maximum over its golds.

    A gold that normalises to nothing is one like any other: EM is 1 where the prediction does too, and F1 is 0,
    since no token is shared.

    Args:
        prediction: The predicted text; empty for "no answer".
        golds: The published answers; empty for an unanswerable question, where a prediction that normalises to
            nothing is right and every other one is wrong.
        language: A code, as `normalize` takes it.

    Returns:
        Exact match, 0.0 or 1.0, and F1 over bags of tokens, 0.0 to 1.0.
    """
    return squad.score_with_normalizer(partial(normalize, language=language), prediction, golds)


def check_language(language: str | None) -> None:
    """Checks the code of a language.

    Args:
        language: A code of ISO 639-1, in any case; None: no language is meant.

    Raises:
        UserError: For anything else.
    """
    if language is not None and language.lower() not in _CODES:
        raise UserError(
            f"language {language!r:.80} is not known: give a two-letter code of ISO 639-1; "
            f"{', '.join(LANGUAGES)} have rules of their own"
        )


def has_own_rule(language: str | None) -> bool:
    """Whether a language has a rule of its own; where it has not, users are warned."""
    return language is None or language.lower() in LANGUAGES
