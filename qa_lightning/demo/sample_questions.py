"""Questions that the page offers, so that a model can be tried at once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from qa_lightning.data.synthetic import SyntheticCorpus
from qa_lightning.runs.folder import QUESTIONS
from qa_lightning.runs.questions import read_questions

OWN = 4
"""Questions of a run's own validation data that the page offers at most."""

_LONGEST = 5_000  # characters of a context that is still easily looked through


class SampleQuestion(NamedTuple):
    """A question and the text that its answer stands in, or does not."""

    question: str
    context: str


_TOWER = (
    "The Eiffel Tower stands on the Champ de Mars in Paris. It is named after the engineer Gustave Eiffel, whose "
    "company built it from 1887 to 1889 for the World's Fair. The idea came from Maurice Koechlin and Émile Nouguier, "
    "two engineers of the company, and the architect Stephen Sauvestre gave it its arches. It was meant to stand for "
    "twenty years only; radio saved it. The tower is 330 metres high, and for forty-one years no building in the world "
    "was higher."
)
_PROGRAM = (
    "In 1842 Luigi Menabrea described Charles Babbage's Analytical Engine in an article in French. Ada Lovelace "
    "translated it into English and added notes of her own, which were three times as long. In the last of them she "
    "set out, step by step, how the engine would compute Bernoulli numbers. It is often called the first computer "
    "program, although the engine was never finished."
)
_JAPANESE = (
    "富士山は静岡県と山梨県にまたがる活火山である。標高は3776メートルで、日本で最も高い。最後の噴火は1707年に起きた宝永大噴火であり、"
    "江戸の町にも火山灰が降った。2013年に世界文化遺産に登録された。"
)
_ARABIC = (
    "نهر النيل من أطول أنهار العالم، ويبلغ طوله نحو 6650 كيلومترا. يلتقي النيل الأبيض بالنيل الأزرق في مدينة الخرطوم، "
    "ثم يجري النهر شمالا عبر مصر ويصب في البحر المتوسط."
)


def sample_questions() -> list[SampleQuestion]:
    """Lists questions in some languages, one without an answer, and one of the corpus that quick starts train on."""
    rows = SyntheticCorpus(validation_passages=2).rows("validation")
    made = next(row for row in rows if row["answers"]["text"])
    return [
        SampleQuestion("Who gave the tower its arches?", _TOWER),
        SampleQuestion("How many people climb the tower every year?", _TOWER),
        SampleQuestion("What did Ada Lovelace add to the article?", _PROGRAM),
        SampleQuestion("富士山の標高は何メートルですか？", _JAPANESE),
        SampleQuestion("أين يلتقي النيل الأبيض بالنيل الأزرق؟", _ARABIC),
        SampleQuestion(made["question"], made["context"]),
    ]


def own_questions(model: str) -> list[SampleQuestion]:
    """Draws questions, evenly, from the validation data of the run that a model is of; none where it is of no run.

    Args:
        model: The folder of a run, of its best model or of a checkpoint, or anything else that names a model.

    Raises:
        UserError: Where the run's table of questions cannot be read.
    """
    path = Path(model)
    folders = [folder for folder in (path, *path.resolve().parents[:2]) if (folder / "config.yaml").is_file()]
    tables = [table for folder in folders[:1] for table in (folder / QUESTIONS, *sorted(folder.glob(f"*/{QUESTIONS}")))]
    found = next((table.parent for table in tables if table.is_file()), None)
    if found is None:
        return []
    table = read_questions(found).select(["question", "context"])
    rows = [i * len(table) // OWN for i in range(OWN)] if len(table) > OWN else list(range(len(table)))
    drawn = [SampleQuestion(**row) for row in table.take(rows).to_pylist()]
    return [sample for sample in drawn if len(sample.context) <= _LONGEST]
