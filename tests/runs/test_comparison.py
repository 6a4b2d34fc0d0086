import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qa_lightning.runs.comparison import clusters, compare, holm, intervals_of, score_columns
from qa_lightning.runs.questions import SCHEMA, read_table, write_table
from qa_lightning.utils.errors import UserError


def table_of(f1, paragraphs, **columns):
    """Questions q0, q1, … with these scores (right where F1 is 100) on these paragraphs, and other columns."""
    columns = {
        "row": range(len(f1)),
        "id": [f"q{place}" for place in range(len(f1))],
        "question": ["Who?"] * len(f1),
        "context": [f"paragraph {paragraph}" for paragraph in paragraphs],
        "golds": [[{"text": "gold"}]] * len(f1),
        "prediction": [f"answer of {value}" for value in f1],
        "f1": f1,
        "exact_match": [None if value is None else 100.0 * (value == 100) for value in f1],
    } | columns
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return pa.Table.from_pylist(rows, SCHEMA)


def compare_two(a, b, **options):
    return compare({"A": a}, {"B": b}, **options)


def enumerate_swaps(sums):
    """The p-value by going through every way to swap A and B on whole paragraphs."""
    totals = [
        abs(sum(sign * difference for sign, difference in zip(signs, sums, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(sums))
    ]
    return sum(total >= abs(sum(sums)) - 1e-9 for total in totals) / len(totals)


# --- scores of a table


def test_score_columns_of_both_kinds():
    golds = [[{"text": "a"}], [], None, [{"text": "b"}, {"text": "c"}]]
    columns = score_columns(table_of([100, 0, None, 50], [1, 1, 2, 2], golds=golds))
    nan = math.nan
    wanted = {
        "exact_match": [100, 0, nan, 0],
        "f1": [100, 0, nan, 50],
        "HasAns_exact": [100, nan, nan, 0],
        "HasAns_f1": [100, nan, nan, 50],
        "NoAns_exact": [nan, 0, nan, nan],
        "NoAns_f1": [nan, 0, nan, nan],
    }
    assert list(columns) == list(wanted)
    for name, column in columns.items():
        np.testing.assert_array_equal(column, wanted[name])


def test_score_columns_of_one_kind():
    assert list(score_columns(table_of([100, 0], [1, 1]))) == ["exact_match", "f1"]
    no_answer = score_columns(table_of([100, 0], [1, 1], golds=[[], []]))
    assert list(no_answer) == ["exact_match", "f1", "NoAns_exact", "NoAns_f1"]
    assert score_columns(table_of([None, None], [1, 1], golds=[None, None])) == {}
    assert score_columns(table_of([], [])) == {}


def test_clusters_are_distinct_contexts_also_of_joined_tables():
    parts = [table_of([0, 0, 0], [5, 6, 5]), table_of([0, 0], [7, 5])]
    found = clusters(pa.concat_tables(parts))
    assert found.tolist() == [0, 1, 0, 2, 0]


def test_intervals_of_a_table():
    # Paragraph 1 is right throughout, paragraph 2 is wrong, and holds twice the questions: 0, 1/3 or 1.
    golds = [[{"text": "a"}], [{"text": "a"}], []]
    intervals = intervals_of(table_of([100, 0, 0], [1, 2, 2], golds=golds))
    assert intervals == {
        "exact_match": (0.0, 100.0),
        "f1": (0.0, 100.0),
        "HasAns_exact": (0.0, 100.0),
        "HasAns_f1": (0.0, 100.0),
        "NoAns_exact": (0.0, 0.0),
        "NoAns_f1": (0.0, 0.0),
    }
    assert intervals_of(table_of([None], [1], golds=[None])) == {}


def test_intervals_survive_the_file(tmp_path):
    rng = np.random.default_rng(0)
    table = table_of(rng.integers(0, 101, 50).tolist(), rng.integers(0, 9, 50).tolist())
    write_table(tmp_path / "per_question.parquet", table)
    assert intervals_of(read_table(tmp_path / "per_question.parquet")) == intervals_of(table)


# --- two runs


def test_two_runs_by_hand():
    # Differences of F1 by paragraph: +100 + 20, -50, 0. |total| = 70; of the four ways to swap the first two,
    # two give |120 + 50| = 170 and two give 70: none is nearer to 0. EM: +100, 0, 0: all give 100.
    a = table_of([0, 40, 50, 100], [1, 1, 2, 3])
    b = table_of([100, 60, 0, 100], [1, 1, 2, 3])
    found = compare_two(a, b)
    assert (found.a, found.b, found.paragraphs) == (("A",), ("B",), 3)
    assert (found.permutations, found.exact) == (8, True)
    f1, exact = found.differences["f1"], found.differences["exact_match"]
    assert (f1.questions, f1.a, f1.b, f1.difference, f1.p_value) == (4, (47.5,), (65.0,), 17.5, 1.0)
    assert (exact.a, exact.b, exact.difference, exact.p_value) == ((25.0,), (50.0,), 25.0, 1.0)
    assert f1.p_over_seeds is None
    # The lowest mean is three times paragraph 2: -50, one resample in 27; the highest three times 1: 60.
    assert f1.interval == (-50.0, 60.0)
    assert [(change.id, change.exact_match, change.f1) for change in found.changes] == [
        ("q0", 100.0, 100.0),
        ("q1", 0.0, 20.0),
        ("q2", 0.0, -50.0),
    ]
    assert found.changes[0].a == ("answer of 0",)
    assert found.changes[0].b == ("answer of 100",)
    assert (found.changes[0].question, found.changes[0].golds) == ("Who?", ("gold",))


def test_one_paragraph_proves_nothing():
    found = compare_two(table_of([0, 0, 0], [1, 1, 1]), table_of([100, 100, 50], [1, 1, 1]))
    f1 = found.differences["f1"]
    assert (found.permutations, found.exact, f1.p_value) == (2, True, 1.0)
    assert f1.interval == (f1.difference, f1.difference)


tables = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(0, 5), st.booleans()), min_size=1, max_size=12
)


def pair_of(rows):
    a, b, paragraphs, answerable = (list(column) for column in zip(*rows, strict=True))
    golds = [[{"text": "gold"}] if has_answer else [] for has_answer in answerable]
    return table_of(a, paragraphs, golds=golds), table_of(b, paragraphs, golds=golds)


@settings(max_examples=40, deadline=None)
@given(tables)
def test_p_values_equal_a_slow_enumeration(rows):
    found = compare_two(*pair_of(rows))
    assert found.exact
    assert found.permutations == 2**found.paragraphs
    for name, wanted in (("f1", {True, False}), ("HasAns_f1", {True}), ("NoAns_f1", {False})):
        sums = {}
        for a, b, paragraph, answerable in rows:
            sums[paragraph] = sums.get(paragraph, 0) + (b - a) * (answerable in wanted)
        if name in found.differences:
            assert found.differences[name].p_value == pytest.approx(enumerate_swaps(list(sums.values())), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(tables, st.integers(0, 99), st.sampled_from([3, 50]))
def test_swapping_the_runs_negates_differences_and_keeps_p(rows, seed, shuffles):
    a, b = pair_of(rows)
    there, back = compare_two(a, b, seed=seed, shuffles=shuffles), compare_two(b, a, seed=seed, shuffles=shuffles)
    for name, difference in there.differences.items():
        swapped = back.differences[name]
        assert (difference.a, difference.b, difference.difference, difference.p_value) == (
            swapped.b,
            swapped.a,
            -swapped.difference,
            swapped.p_value,
        )
        assert difference.interval == pytest.approx((-swapped.interval[1], -swapped.interval[0]), abs=1e-9)
    assert [(change.id, change.f1, change.a, change.b) for change in there.changes] == [
        (change.id, -change.f1, change.b, change.a) for change in back.changes
    ]


def noisy(seed, gain, questions=900):
    """Two runs whose F1 leans with the paragraph; B's is higher by ``gain`` on average."""
    rng = np.random.default_rng(seed)
    paragraphs = np.sort(rng.integers(0, 150, questions))
    hard = rng.normal(size=150)[paragraphs] * 15
    a, b = (np.clip(50 + hard + rng.normal(size=questions) * 20 + more, 0, 100) for more in (0, gain))
    return table_of(a.tolist(), paragraphs.tolist()), table_of(b.tolist(), paragraphs.tolist())


def test_a_null_difference_is_not_significant_and_a_made_one_is():
    null = compare_two(*noisy(0, gain=0)).differences["f1"]
    assert null.p_value > 0.1
    assert null.interval[0] < 0 < null.interval[1]
    made = compare_two(*noisy(0, gain=10))
    # No shuffle comes near: the least p-value that so many shuffles can give.
    assert (made.permutations, made.exact) == (10_000, False)
    assert made.differences["f1"].p_value == 1 / 10_001
    assert 7 < made.differences["f1"].interval[0] < made.differences["f1"].interval[1] < 13


def test_p_values_of_runs_that_do_not_differ_are_uniform():
    # Of 200 such pairs, a twentieth is below 0.05, and half below 0.5, within four standard errors.
    p_values = np.array(
        [compare_two(*noisy(seed, 0, 40), shuffles=199).differences["f1"].p_value for seed in range(200)]
    )
    for level in (0.05, 0.5):
        assert abs((p_values <= level).mean() - level) < 4 * math.sqrt(level * (1 - level) / 200)


def test_random_shuffles_come_near_to_all_swaps():
    rng = np.random.default_rng(3)
    gains = (rng.integers(-40, 60, 14)).tolist()
    a, b = table_of([50] * 14, range(14)), table_of([50 + gain for gain in gains], range(14))
    found = compare_two(a, b, shuffles=5000)
    exact = enumerate_swaps(gains)
    assert (found.permutations, found.exact) == (5000, False)
    p_value = found.differences["f1"].p_value
    assert abs(p_value - exact) < 4 * math.sqrt(exact * (1 - exact) / 5000) + 1 / 5001
    # (1 + hits) / (1 + shuffles)
    assert p_value * 5001 == pytest.approx(round(p_value * 5001), abs=1e-6)
    assert compare_two(a, b, shuffles=1 << 14).differences["f1"].p_value == exact
    assert compare_two(a, b, shuffles=5000, seed=1).differences["f1"].p_value != p_value
    assert compare_two(a, b, shuffles=5000) == found


def test_questions_on_one_paragraph_count_as_one_swap():
    # Ten questions that all got better on two paragraphs are two observations, not ten.
    a, b = table_of([0] * 10, [1] * 5 + [2] * 5), table_of([100] * 10, [1] * 5 + [2] * 5)
    assert compare_two(a, b).differences["f1"].p_value == 0.5


def test_the_order_of_rows_does_not_matter():
    a, b = noisy(1, gain=1, questions=60)
    shuffled = b.take(np.random.default_rng(2).permutation(60))
    assert compare_two(a, shuffled) == compare_two(a, b)
    # Changed questions are listed in A's order, whose ids sort otherwise (q10 before q2).
    assert [change.id for change in compare_two(a, shuffled).changes] == a["id"].to_pylist()


def test_questions_without_known_answers_are_left_out():
    golds = [[{"text": "gold"}], None, [{"text": "gold"}]]
    a, b = (table_of([score, None, 0], [1, 2, 3], golds=golds) for score in (0, 100))
    f1 = compare_two(a, b).differences["f1"]
    assert (f1.questions, f1.a, f1.b, f1.difference) == (2, (0.0,), (50.0,), 50.0)
    unknown = table_of([None], [1], golds=[None])
    with pytest.raises(UserError, match=r"^A: no question has known answers, so there is nothing to compare$"):
        compare_two(unknown, unknown)


# --- other data


def refusal(a, b):
    with pytest.raises(UserError) as caught:
        compare_two(a, b)
    return str(caught.value)


def test_other_ids_are_refused():
    a = table_of([0] * 5, [1] * 5, id=["a", "b", "c", "d", "e"])
    b = table_of([0] * 2, [1] * 2, id=["e", "x"])
    assert refusal(a, b) == ("B is not on the data of A; questions: 4 only in A ('a', 'b', 'c', …); 1 only in B ('x')")
    assert refusal(a, a.slice(1)) == "B is not on the data of A; questions: 1 only in A ('a')"


@pytest.mark.parametrize(
    "other",
    [
        {"golds": [[{"text": "gold"}], [{"text": "silver"}]]},
        {"golds": [[{"text": "gold"}], []]},
        {"context": ["paragraph 1", "paragraph 9"]},
        {"question": ["Who?", "Whom?"]},
    ],
)
def test_other_texts_under_the_same_ids_are_refused(other):
    a = table_of([0, 0], [1, 1])
    assert refusal(a, table_of([0, 0], [1, 1], **other)) == (
        "B is not on the data of A; questions: 1 with another text, context or golds ('q1')"
    )


def test_where_golds_were_located_does_not_matter():
    located = [[{"text": "gold", "start": 3, "end": 7}]] * 2
    assert compare_two(table_of([0, 0], [1, 1]), table_of([0, 0], [1, 1], golds=located)).changes == []


def test_every_run_of_the_groups_is_checked():
    fine, other = table_of([0, 0], [1, 2]), table_of([0], [1])
    with pytest.raises(UserError, match=r"^b2 is not on the data of a1"):
        compare({"a1": fine, "a2": fine}, {"b1": fine, "b2": other})


# --- groups


def test_groups_by_hand():
    a = {"a1": table_of([0, 0, 100, 0], [1, 1, 2, 3]), "a2": table_of([100, 0, 100, 0], [1, 1, 2, 3])}
    b = {"b1": table_of([100, 0, 100, 100], [1, 1, 2, 3]), "b2": table_of([100, 100, 100, 0], [1, 1, 2, 3])}
    found = compare(a, b)
    f1 = found.differences["f1"]
    assert (found.a, found.b) == (("a1", "a2"), ("b1", "b2"))
    assert (f1.a, f1.b, f1.difference) == ((25.0, 50.0), (75.0, 75.0), 37.5)
    # By paragraph: +50 + 50, 0, +50: of eight swaps, the four that keep or turn both are as far from 0.
    assert f1.p_value == 0.5
    # Welch: t = 37.5 / sqrt(312.5 / 2) = 3 with one degree of freedom, where p = 1 - 2 atan(t) / pi.
    assert f1.p_over_seeds == pytest.approx(1 - 2 * math.atan(3) / math.pi, abs=1e-12)
    assert [(change.id, change.f1, change.a) for change in found.changes] == [
        ("q0", 50.0, ("answer of 0", "answer of 100")),
        ("q1", 50.0, ("answer of 0", "answer of 0")),
        ("q3", 50.0, ("answer of 0", "answer of 0")),
    ]


def test_over_seeds_is_welchs_test():
    rng = np.random.default_rng(8)
    groups = [
        {f"{side}{seed}": table_of(rng.integers(0, top, 40).tolist(), range(40)) for seed in range(count)}
        for side, count, top in (("a", 3, 80), ("b", 4, 101))
    ]
    f1 = compare(*groups).differences["f1"]
    assert f1.p_over_seeds == pytest.approx(stats.ttest_ind(f1.a, f1.b, equal_var=False).pvalue, abs=1e-12)


def test_means_that_do_not_vary_say_nothing_over_seeds():
    low, high = table_of([0, 0, 100], [1, 2, 3]), table_of([100, 0, 100], [1, 2, 3])
    found = compare({"a1": low, "a2": low}, {"b1": high, "b2": high})
    assert found.differences["f1"].p_over_seeds is None
    assert compare({"a1": low, "a2": high}, {"b1": high}).differences["f1"].p_over_seeds is None


def test_rounding_is_no_change():
    # Added in another order, these thirds differ in their last digits.
    thirds = [100 / 3, 200 / 3, 100 / 7]
    a = {str(place): table_of([value], [1]) for place, value in enumerate(thirds)}
    b = {str(place): table_of([value], [1]) for place, value in enumerate(thirds[::-1])}
    assert np.mean(thirds) != np.mean(thirds[::-1])
    found = compare(a, b)
    assert found.changes == []
    assert found.differences["f1"].difference == 0.0


def test_holm_by_hand():
    # 4 × 0.005, 3 × 0.01, 2 × 0.03, and the last, which may not come below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-15)
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]


def test_runs_that_were_scored_by_different_rules_are_not_compared():
    a = table_of([100, 0], [1, 2])
    with pytest.raises(UserError, match=r"^B was scored by the rule of de, A by that of vi; validate one of them"):
        compare_two(a.replace_schema_metadata({"rule": "vi"}), a.replace_schema_metadata({"rule": "de"}))
