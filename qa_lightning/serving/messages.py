"""What a server is sent and what it returns, as its OpenAPI document describes it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

_TEXT = {"type": "string"}
_TEXTS = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_MANY = {"anyOf": [{"type": "array", "items": _TEXT}, {"type": "object", "additionalProperties": _TEXT}]}
_RECORD = {
    "type": "object",
    "properties": {"question": _TEXT, "context": _TEXT, "contexts": _MANY},
    "required": ["question"],
}
_RECORDS = {"anyOf": [_RECORD, {"type": "array", "items": _RECORD}]}

MOST_ANSWERS = 100
"""How many answers to a question may be asked for."""


LONGEST_ANSWER = 100
"""How many tokens an answer may be asked to have."""


class PredictRequest(BaseModel):
    """A question with its context or contexts, or inputs; and settings, where they are not to be the server's."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "example": {"question": "Who wrote the program?", "context": "Ada wrote the first program in London."}
        },
    )

    # Checked by the Reader, as those of a call in Python are; here they are described.
    question: Annotated[Any, WithJsonSchema(_TEXTS)] = Field(None, description="A question, or a list of them.")
    context: Annotated[Any, WithJsonSchema(_TEXTS)] = Field(
        None, description="The context of all questions, or a list with that of each."
    )
    contexts: Annotated[Any, WithJsonSchema(_MANY)] = Field(
        None,
        description="In place of the context: the documents that every question is answered from, a list, or an object "
        "of texts by name.",
    )
    inputs: Annotated[Any, WithJsonSchema(_RECORDS)] = Field(
        None, description="Instead: a record with a question and its context or contexts, or a list of them."
    )
    top_k: int | None = Field(
        None, ge=1, le=MOST_ANSWERS, description="Answers to each question, best first; fewer where there are no more."
    )
    max_answer_len: int | None = Field(None, ge=1, le=LONGEST_ANSWER, description="Tokens of an answer at most.")
    handle_impossible_answer: bool | None = Field(
        None, description='Whether "no answer" may be the answer, which has an empty text.'
    )
    align_to_words: bool | None = Field(None, description="Whether answers are made of whole words.")

    def settings(self) -> dict[str, Any]:
        """The settings that were given."""
        return self.model_dump(exclude={"question", "context", "contexts", "inputs"}, exclude_none=True)


class AnswerSpan(BaseModel):
    """A span of the context."""

    score: float = Field(description="How likely it is among the best answers; from 0 to 1.")
    start: int = Field(description="The character of the context with which it begins.")
    end: int = Field(description="The character behind its last.")
    answer: str = Field(description='Its text; empty for "no answer".')


class Place(BaseModel):
    """Where in the documents an answer stands."""

    document: str | int = Field(description="The document's number from 0, or its name.")
    start: int = Field(description="The character of the document with which it begins.")
    end: int = Field(description="The character behind its last.")
    score: float = Field(description="How likely it is among the best answers of all documents; from 0 to 1.")


class DocumentSpan(AnswerSpan):
    """A span of one of several contexts."""

    document: str | int | None = Field(description='The document that it is a span of; null for "no answer".')
    places: list[Place] = Field(description="Where the same text stands among the best answers, best first.")


AnyAnswer = DocumentSpan | AnswerSpan

PredictResponse = AnyAnswer | list[AnyAnswer] | list[list[AnyAnswer]]
"""For one question its answer, or with ``top_k`` above 1 a list of answers; for several a list of these."""


class Health(BaseModel):
    """A server that answers."""

    status: str = Field(description="ok.")
    model: str = Field(description="The model's name.")
    settings: dict[str, Any] = Field(description="How questions are answered unless a request says otherwise.")


class ErrorResponse(BaseModel):
    """Why a request was not answered."""

    detail: str = Field(description="One line: what is wrong, and what to do.")
