import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor
from torch.testing import assert_close

from qa_lightning.decoding.spans import Spans, best_spans, null_logits, to_characters

INF = float("inf")


def found(spans: Spans, row: int = 0) -> list[tuple[int, int, float, float]]:
    """The spans of one window as plain tuples."""
    return list(zip(*(column[row].tolist() for column in spans), strict=True))


def all_spans(start: list, end: list, mask: list, max_answer_length: int) -> list:
    """Every valid span by two loops, in the order that is promised."""
    spans = [
        (i, j, start[i], end[j])
        for i in range(len(mask))
        for j in range(len(mask))
        if mask[i] and mask[j] and i <= j < i + max_answer_length
        if abs(start[i]) < INF and abs(end[j]) < INF
    ]
    return sorted(spans, key=lambda span: (-(span[2] + span[3]), span[0], span[1]))


def test_by_hand() -> None:
    start = tensor([[9.0, 1.0, 3.0, 0.0]])
    end = tensor([[9.0, 4.0, 0.0, 2.0]])
    mask = tensor([[False, True, True, True]])
    spans = best_spans(start, end, mask, k=3, max_answer_length=2)
    # (1, 3) would score 3 too, but has three tokens; (2, 1) would score 7, but ends before it starts.
    assert found(spans) == [(1, 1, 1.0, 4.0), (2, 3, 3.0, 2.0), (2, 2, 3.0, 0.0)]
    assert spans.starts.dtype == spans.ends.dtype == torch.int64


# Integers and halves, so that sums are exact and ties are common; some logits that cannot be.
logit = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, -INF, INF])


@st.composite
def windows(draw: st.DrawFn) -> tuple[list, list, list]:
    batch, length = draw(st.integers(1, 3)), draw(st.integers(1, 12))

    def table(values: st.SearchStrategy) -> list:
        return [draw(st.lists(values, min_size=length, max_size=length)) for _ in range(batch)]

    return table(logit), table(logit), table(st.booleans())


@settings(deadline=None)
@given(windows(), st.integers(1, 30), st.integers(1, 15))
def test_equals_two_loops_over_all_spans(window: tuple, k: int, max_answer_length: int) -> None:
    start, end, mask = window
    spans = best_spans(tensor(start), tensor(end), tensor(mask), k, max_answer_length)
    for row in range(len(mask)):
        expected = all_spans(start[row], end[row], mask[row], max_answer_length)[:k]
        padding = [(-1, -1, -INF, -INF)] * (k - len(expected))
        assert found(spans, row) == expected + padding


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(1, 12))
def test_scores_of_real_numbers_equal_those_of_all_pairs(seed: int, k: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    start, end = torch.randn(2, 4, 40, generator=generator)
    mask = torch.rand(4, 40, generator=generator) < 0.8
    spans = best_spans(start, end, mask, k, width)

    table = start.unsqueeze(2) + end.unsqueeze(1)
    allowed = mask.unsqueeze(2) & mask.unsqueeze(1)
    allowed &= torch.ones(40, 40, dtype=torch.bool).triu() & torch.ones(40, 40, dtype=torch.bool).tril(width - 1)
    expected = table.masked_fill(~allowed, -INF).flatten(1).topk(k).values
    assert_close(spans.start_logits + spans.end_logits, expected, rtol=0, atol=0)


def test_the_best_pair_is_found_beyond_the_twenty_best_starts_and_ends() -> None:
    # 20 high starts stand after 20 high ends, so that none of them makes a span; the usual shortlist is empty.
    start = tensor([[0.0] * 20 + [5.0] * 20 + [0.0]])
    end = tensor([[5.0] * 20 + [0.0] * 20 + [1.0]])
    mask = tensor([[False] * 19 + [True] * 22])
    assert found(best_spans(start, end, mask, 1, 30)) == [(20, 40, 5.0, 1.0)]


def test_nothing_to_find() -> None:
    nothing = [(-1, -1, -INF, -INF)] * 2
    zeros = torch.zeros(1, 3)
    assert found(best_spans(zeros, zeros, torch.zeros(1, 3, dtype=torch.bool), 2, 5)) == nothing
    never = torch.full((1, 3), -INF)
    assert found(best_spans(never, zeros, torch.ones(1, 3, dtype=torch.bool), 2, 5)) == nothing
    not_a_number = torch.full((1, 3), float("nan"))
    assert found(best_spans(zeros, not_a_number, torch.ones(1, 3, dtype=torch.bool), 2, 5)) == nothing


def test_a_window_of_one_token() -> None:
    logits = torch.ones(1, 1)
    spans = best_spans(logits, 2 * logits, logits.bool(), k=3, max_answer_length=30)
    assert found(spans) == [(0, 0, 1.0, 2.0)] + [(-1, -1, -INF, -INF)] * 2


def test_a_tokenless_gap_in_the_mask_can_lie_inside_a_span() -> None:
    spans = best_spans(tensor([[5.0, 9.0, 0.0]]), tensor([[0.0, 9.0, 5.0]]), tensor([[True, False, True]]), 1, 3)
    assert found(spans) == [(0, 2, 5.0, 5.0)]


def test_sums_are_taken_in_float32() -> None:
    # In bfloat16, 256 + 1 is 256 again, and the two spans would tie.
    start = tensor([[256.0, 256.0]], dtype=torch.bfloat16)
    end = tensor([[0.0, 1.0]], dtype=torch.bfloat16)
    spans = best_spans(start, end, torch.ones(1, 2, dtype=torch.bool), 1, 1)
    assert found(spans) == [(1, 1, 256.0, 1.0)]
    assert spans.start_logits.dtype == spans.end_logits.dtype == torch.float32


def test_the_logits_given_are_left_as_they_are() -> None:
    start, end = torch.zeros(1, 4), torch.zeros(1, 4)
    best_spans(start, end, tensor([[False, True, True, False]]), 9, 9)
    assert start.eq(0).all()
    assert end.eq(0).all()


def test_null_logits() -> None:
    logits = torch.arange(12.0, dtype=torch.float16).view(3, 4)
    start, end = null_logits(logits, -logits, tensor([0, 3, -1]))
    assert start.tolist() == [0.0, 7.0, -INF]
    assert end.tolist() == [0.0, -7.0, -INF]
    assert start.dtype == end.dtype == torch.float32


def test_to_characters() -> None:
    #                  [CLS]   "ab"    "c"    " def"
    offsets = tensor([[[0, 0], [0, 2], [2, 3], [4, 7]]])
    spans = Spans(
        starts=tensor([[1, 2, 3, -1]]),
        ends=tensor([[3, 2, 3, -1]]),
        start_logits=torch.zeros(1, 4),
        end_logits=torch.zeros(1, 4),
    )
    starts, ends = to_characters(spans, offsets)
    assert starts.tolist() == [[0, 2, 4, -1]]
    assert ends.tolist() == [[7, 3, 7, -1]]


def test_rows_do_not_touch_each_other() -> None:
    start, end = torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(5, 9, dtype=torch.bool).tril(4)

    def decode(rows: slice) -> tuple[Tensor, ...]:
        return best_spans(start[rows], end[rows], mask[rows], 6, 4)

    together = decode(slice(None))
    for row in range(5):
        for ours, alone in zip(together, decode(slice(row, row + 1)), strict=True):
            assert_close(ours[row : row + 1], alone, rtol=0, atol=0)
