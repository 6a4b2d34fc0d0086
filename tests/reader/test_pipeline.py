"""What transformers' former pipeline was given, given to ours."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from qa_lightning import Reader, pipeline
from qa_lightning.reader.former_arguments import IGNORED_ARGUMENTS, LOADING_ARGUMENTS, RENAMED_ARGUMENTS
from qa_lightning.utils.errors import UserError
from tests.tiny import tiny_folder

QUESTION, CONTEXT = "Who wrote?", "Ada wrote the first program in London."
ASKED = {"question": QUESTION, "context": CONTEXT}
OTHER = {"question": "Where?", "context": "Grace built a compiler in Paris."}
SETTINGS: dict[str, Any] = {"max_question_len": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def reader(folder: Path) -> Reader:
    return Reader.from_pretrained(folder, device="cpu", **SETTINGS)


@pytest.fixture
def made(folder: Path) -> Any:
    return pipeline("question-answering", str(folder), device=-1, **SETTINGS)


class Example:
    """What transformers' ``SquadExample`` had of a question."""

    def __init__(self, question: str, context: str) -> None:
        self.question_text, self.context_text = question, context


def warned(call: Any) -> tuple[Any, list[str]]:
    """What a call returns, and the warnings that it gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return call(), [str(warning.message) for warning in caught]


def test_what_concerns_speed_or_loading_changes_no_answer_and_is_reported_in_one_warning(
    folder: Path, reader: Reader
) -> None:
    given: dict[str, Any] = {
        **dict.fromkeys(IGNORED_ARGUMENTS, 8),
        "padding": "longest",
        "framework": "tf",
        "use_fast": False,
        **dict.fromkeys(["device_map", "torch_dtype", "dtype"], "auto"),
        "revision": None,
        "trust_remote_code": False,
        "model_kwargs": {"low_cpu_mem_usage": True, "attn_implementation": "eager", "use_cache": False},
    }
    made, messages = warned(lambda: pipeline("question-answering", str(folder), **given, **SETTINGS))
    assert len(messages) == 1
    assert "\n" not in messages[0]
    assert messages[0].startswith("pipeline: ")
    for name in (*IGNORED_ARGUMENTS, "low_cpu_mem_usage of model_kwargs"):
        assert f"{name} is ignored" in messages[0]
    for name in ("auto", "revision", "trust", "attn_implementation", "use_cache"):
        assert name not in messages[0]
    assert made.runner.network.config._attn_implementation == "eager"
    answer, messages = warned(lambda: made(**ASKED, batch_size=8, num_workers=2))
    assert answer == {**reader(**ASKED), "score": pytest.approx(reader(**ASKED)["score"])}
    assert messages == [
        "pipeline: batch_size is ignored (tokens_per_batch says how much the model is given at once); "
        "num_workers is ignored"
    ]
    # It is said once of each.
    assert warned(lambda: made(**ASKED, batch_size=8, num_workers=2))[1] == []
    assert warned(lambda: made(**ASKED, batch_size=8, padding=True))[1] == ["pipeline: padding is ignored"]


def test_what_asks_for_nothing_else_than_is_done_is_no_news(folder: Path, made: Any, reader: Reader) -> None:
    nothing = dict.fromkeys(
        [*IGNORED_ARGUMENTS, *LOADING_ARGUMENTS, *RENAMED_ARGUMENTS, "top_k", "max_seq_len", "align_to_words"]
    )
    usual = {"framework": "pt", "use_fast": True, "token": False, "trust_remote_code": False, "device": "cpu"}
    assert warned(lambda: pipeline(None, str(folder), **nothing | usual, **SETTINGS)(**ASKED, **nothing))[1] == []
    assert made(**ASKED, **nothing) == reader(**ASKED)


def test_inputs_in_every_form_that_it_took(made: Any, reader: Reader) -> None:
    first, second = reader(**ASKED), reader(**OTHER)
    assert made(QUESTION, CONTEXT) == made(QUESTION, context=CONTEXT) == made(ASKED) == made(inputs=ASKED) == first
    assert made([QUESTION, QUESTION], CONTEXT) == [first, first]
    assert made([QUESTION, OTHER["question"]], [CONTEXT, OTHER["context"]]) == [first, second]
    assert made(ASKED, OTHER) == made([ASKED, OTHER]) == [first, second]
    examples = [Example(**ASKED), Example(**OTHER)]
    assert made(examples[0]) == first
    assert made(*examples) == made(examples) == reader(examples) == [first, second]
    assert list(made(iter(examples))) == [first, second]
    for name in ("data", "X"):
        for given in (ASKED, [ASKED, OTHER], examples[0]):
            answer, messages = warned(lambda name=name, given=given: made(**{name: given}))
            assert answer == reader(given)
            assert messages in ([f"pipeline: {name} is called inputs"], [])


def test_topk_is_top_k(folder: Path, made: Any, reader: Reader) -> None:
    assert warned(lambda: made(**ASKED, topk=3)) == (reader(**ASKED, top_k=3), ["pipeline: topk is called top_k"])
    with pytest.warns(UserWarning, match="topk is called top_k"):
        assert pipeline(model=folder, topk=2, **SETTINGS)(ASKED) == reader(ASKED, top_k=2)


def test_types_and_devices(folder: Path, reader: Reader) -> None:
    for given in (
        {"torch_dtype": torch.bfloat16},
        {"dtype": "bfloat16"},
        {"torch_dtype": "torch.bfloat16"},
        {"model_kwargs": {"torch_dtype": torch.bfloat16}},
        {"torch_dtype": "bfloat16", "dtype": torch.bfloat16},
    ):
        made: Any = pipeline(model=str(folder), **given, **SETTINGS)
        assert {parameter.dtype for parameter in made.runner.network.parameters()} == {torch.bfloat16}
    network: Any = Reader.from_pretrained(folder, **SETTINGS).runner
    made = pipeline(model=network.network, tokenizer=str(folder), torch_dtype="float64", **SETTINGS)
    assert {parameter.dtype for parameter in made.runner.network.parameters()} == {torch.float64}
    for given in ({"device": -1}, {"device": torch.device("cpu")}, {"device_map": {"": "cpu"}}, {"device_map": "cpu"}):
        made = pipeline(model=str(folder), **given, **SETTINGS)
        assert made(ASKED) == reader(ASKED)
        assert made.runner.device.type == "cpu"


def test_a_configuration_in_the_third_place_is_set_aside(folder: Path, reader: Reader) -> None:
    with pytest.warns(UserWarning, match=r"^pipeline: config is ignored \(a model's own is taken\)$"):
        made = pipeline("question-answering", str(folder), str(folder), str(folder), **SETTINGS)
    assert made(ASKED) == reader(ASKED)


@pytest.mark.parametrize(
    ("positional", "named", "message"),
    [
        ((QUESTION, CONTEXT, CONTEXT), {}, "3 inputs that are not a question and its context: give question=… and con"),
        ((QUESTION, ASKED), {}, "2 inputs that are not a question and its context"),
        ((QUESTION,), {}, "questions cannot be read from str"),
        ((QUESTION, CONTEXT), {"context": CONTEXT}, "context is given twice, once by position"),
        ((ASKED,), {"inputs": ASKED}, "inputs is given twice, once by position"),
        ((), {"data": ASKED, "X": ASKED}, "inputs is given twice, also as X"),
        ((), {"topk": 2, "top_k": 3, **ASKED}, "top_k is given twice, also as topk"),
        ((ASKED,), {"trust_remote_code": True}, "code that comes with a model is never run here"),
        ((ASKED,), {"max_length": 3}, "unknown argument 'max_length'; there are top_k, doc_stride"),
        ((ASKED,), {"max_answer_length": 3}, "unknown argument 'max_answer_length'; did you mean 'max_answer_len'?"),
        ((ASKED,), {"n_best": 3}, "unknown argument 'n_best'; there are top_k"),
        ((ASKED,), {"top_k": 10**30}, "top_k cannot be 1000"),
        ((ASKED,), {"n_best_size": 10**9}, "n_best_size must be at most 10,000, not 1000000000"),
    ],
)
def test_what_cannot_be(positional: Any, named: dict[str, Any], message: str, made: Any) -> None:
    with pytest.raises(UserError) as error:
        made(*positional, **named)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trust_remote_code": True}, "code that comes with a model is never run here"),
        ({"model_kwargs": 3}, "model_kwargs cannot be 3"),
        ({"dtype": "float16", "torch_dtype": "float32"}, "dtype is given twice, as 'float"),
        ({"device_map": {"a": 0, "b": 1}}, "device_map: a model is on one device here; name it as device"),
        ({"device_map": "nonsense"}, "the device 'nonsense' cannot be used"),
        ({"torch_dtype": "int8"}, "dtype cannot be 'int8'"),
        ({"batchsize": 8}, "unknown argument 'batchsize'; there are top_k"),
    ],
)
def test_pipelines_that_cannot_be(given: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(UserError) as error:
        pipeline(model=str(folder), **given)
    assert message in str(error.value)


@pytest.mark.parametrize("name", sorted(IGNORED_ARGUMENTS | LOADING_ARGUMENTS | {"X", "data"}))
def test_a_reader_takes_none_of_it_and_suggests_nothing_that_changes_scores(name: str, reader: Reader) -> None:
    with pytest.raises(UserError) as error:
        reader(**ASKED, **{name: 8})
    assert "did you mean" not in str(error.value)
    if name not in RENAMED_ARGUMENTS:
        assert "leave it out here" in str(error.value)


@pytest.mark.parametrize("setting", ["top_k", "max_answer_len", "n_best_size"])
@pytest.mark.parametrize("legacy", [False, True])
def test_as_many_as_can_be_are_harmless(setting: str, legacy: bool, reader: Reader) -> None:
    many = 10_000 if setting == "n_best_size" else 10**9
    found = reader(question=QUESTION, context=CONTEXT * 2, legacy=legacy, **{"top_k": 2, setting: many})
    assert len(found) >= 2
