import pytest

from qa_lightning.runs.question_types import question_type


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who wrote it?", "who"),
        ("In which year was it built?", "which"),
        ("To whom was it given?", "who"),
        ("How  Many people live there?", "how many"),
        ("How was it made?", "how"),
        ("The tower was built when?", "when"),
        ("Name the tower.", "name"),
        ("Whatever happened there?", "whatever"),
        ("Quando foi construída a torre?", "quando"),
        ("¿Cuántos años tiene?", "cuántos"),
        ("L'auteur, qui est-ce?", "l'auteur"),
        ("متى بني البرج؟", "متى"),
        ("???", ""),
        ("", ""),
    ],
)
def test_question_type(question: str, kind: str) -> None:
    assert question_type(question) == kind
