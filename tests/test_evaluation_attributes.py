"""Singling out, linking and inferring: by hand, and against generators that leak or cannot."""

import numpy as np
import pandas as pd
import pytest
from people import independent, people
from scipy.stats import binomtest, fisher_exact

import zoo
from zoo.data.form import native_form
from zoo.evaluation.intervals import excess_risk, fisher_p_value, mcnemar_p_value
from zoo.evaluation.linking import column_distances, gower_scale, guesses, links, right
from zoo.evaluation.report import Report
from zoo.evaluation.singling_out import Condition, Counter, blind, multivariate, univariate
from zoo.evaluation.table import Table, encode_tables
from zoo.evaluation.verdict import verdict

N = 1_500
RISKS = ["privacy.singling_out_univariate", "privacy.singling_out_multivariate", "privacy.linkability"]
RISKS += ["privacy.attribute_inference"]
TRAIN, HOLDOUT = people(N), people(N, 1)


def table(frame: pd.DataFrame) -> Table:
    return encode_tables(native_form("tabular").infer(frame), {"train": frame})["train"]


SMALL = table(pd.DataFrame({"x": [1.0, 2.0, 2.0, 9.0, np.nan], "k": ["a", "b", "b", "b", "c"]}))


# By hand


def test_conditions_count_rows() -> None:
    assert Counter(SMALL)((Condition("x", "<=", 2.0),)) == 3
    assert Counter(SMALL)((Condition("x", ">=", 2.0), Condition("k", "=", 1.0))) == 3
    assert Counter(SMALL)((Condition("x", "=", np.nan),)) == 1
    assert Counter(SMALL)((Condition("k", "!=", 1.0),)) == 2


def test_univariate_predicates_are_the_values_that_occur_once() -> None:
    found = {(p[0].column, p[0].sign, str(p[0].value)) for p in univariate(SMALL, np.random.default_rng(0))}
    extremes = {("x", "<=", "1.0"), ("x", ">=", "9.0")}
    assert found == extremes | {
        ("x", "=", "1.0"),
        ("x", "=", "9.0"),
        ("x", "=", "nan"),
        ("k", "=", "0.0"),
        ("k", "=", "2.0"),
    }


def test_multivariate_predicates_hold_for_a_record() -> None:
    data = table(TRAIN)
    for predicate in multivariate(data, np.random.default_rng(1), 50):
        assert len({c.column for c in predicate}) == 5
        assert Counter(data)(predicate) >= 1
    assert len(blind(data, np.random.default_rng(1), 3, 20)) == 20


def test_gower_by_hand() -> None:
    scale = gower_scale(SMALL)
    assert scale == {"x": 8.0}
    got = column_distances(SMALL, SMALL, scale, ("x", "k"))
    np.testing.assert_allclose(got[0][0], [0, 1 / 8, 1 / 8, 1, 1])
    np.testing.assert_allclose(got[0][4], [1, 1, 1, 1, 0])
    np.testing.assert_allclose(got[1][1], [1, 0, 0, 0, 1])


def test_guesses_and_links_by_hand() -> None:
    known = table(pd.DataFrame({"x": [0.0, 10.0], "y": [0.0, 10.0], "k": ["a", "b"]}))
    scale = gower_scale(known)
    assert guesses(known, known, scale).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert right(known, known, "x", np.array([0, 0]), 10.0).tolist() == [True, False]
    first = np.array([True, False, False])
    assert links(known, known, scale, first, 1).all()
    crossed = Table(known.names, known.numbers | {"x": known.numbers["x"][::-1]}, known.codes, known.categories, {})
    assert not links(known, crossed, scale, first, 1).any()


def test_a_number_may_be_a_twentieth_off() -> None:
    truth, said = (table(pd.DataFrame({"x": v, "y": v})) for v in ([100.0, 100.0, np.nan], [104.9, 105.1, np.nan]))
    assert right(truth, said, "x", np.arange(3), 1.0).tolist() == [True, False, True]


def test_risk_is_what_is_gained_over_the_control() -> None:
    risk, (low, high) = excess_risk(600, 1_000, 200, 1_000)
    assert risk == pytest.approx((0.6 - 0.2) / 0.8, abs=2e-3)
    assert low < risk < high and high - low < 0.1
    assert excess_risk(100, 1_000, 300, 1_000)[0] == 0
    assert excess_risk(10, 10, 10, 10)[1][1] <= 1


def test_the_interval_of_a_risk_holds_its_promise() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(500):
        hit, missed = rng.binomial(300, 0.4), rng.binomial(300, 0.1)
        low, high = excess_risk(int(hit), 300, int(missed), 300)[1]
        held += low <= 0.3 / 0.9 <= high
    assert held / 500 > 0.93


def test_exact_tests_are_scipys() -> None:
    assert fisher_p_value(12, 40, 5, 50) == pytest.approx(
        fisher_exact([[12, 28], [5, 45]], alternative="greater").pvalue
    )
    assert mcnemar_p_value(9, 3) == pytest.approx(binomtest(9, 12, 0.5, alternative="greater").pvalue)
    assert mcnemar_p_value(0, 0) == 1


# They bite


@pytest.fixture(scope="module")
def returned() -> Report:
    return zoo.evaluate(TRAIN, TRAIN, holdout=HOLDOUT, metrics=RISKS)


@pytest.mark.parametrize("name", RISKS)
def test_returned_rows_are_caught(returned: Report, name: str) -> None:
    score = returned[name]
    assert score.interval[0] > 0.1
    assert score.details["p_value"] < 1e-6
    assert score.details["success"] > score.details["control"]
    assert score.details["stronger_than_naive"]


@pytest.mark.parametrize("made", [independent(TRAIN, N), people(N, 2)], ids=["independent columns", "other people"])
def test_who_was_not_learned_from_is_no_worse_off_than_a_stranger(made: pd.DataFrame) -> None:
    report = zoo.evaluate(TRAIN, made, holdout=HOLDOUT, metrics=RISKS[1:])
    for name in RISKS[1:]:
        assert report[name].value < 0.1, name
        assert report[name].details["p_value"] > 0.001, name


def test_values_that_occur_once_single_out_even_in_independent_columns() -> None:
    """A column that is drawn from training values repeats an income to the cent."""
    report = zoo.evaluate(TRAIN, independent(TRAIN, N), holdout=HOLDOUT, metrics=RISKS[0])
    assert report[RISKS[0]].interval[0] > 0.3
    told = verdict(report)  # no more than single columns give away, which says nothing of people
    assert told.risk == "low" and "as independent columns of the same values would" in told.because[0]
    assert verdict(zoo.evaluate(TRAIN, TRAIN, holdout=HOLDOUT, metrics=RISKS)).risk == "high"
    other = zoo.evaluate(TRAIN, people(N, 2), holdout=HOLDOUT, metrics=RISKS[0])[RISKS[0]]
    assert other.value < 0.1 and other.details["p_value"] > 0.001


def test_the_worst_column_is_named() -> None:
    secret = pd.Series(np.random.default_rng(0).choice(["a", "b", "c", "d"], N), dtype="str")
    train = TRAIN.assign(secret=secret)
    other = pd.Series(np.random.default_rng(1).choice(["a", "b", "c", "d"], N), dtype="str")
    # all else is known as well of strangers; the secret alone follows the person
    score = zoo.evaluate(train, train, holdout=HOLDOUT.assign(secret=other), metrics=RISKS[3])[RISKS[3]]
    assert score.details["columns"]["secret"] > 0.9
    assert score.value == score.details["columns"][score.details["worst_column"]] > 0.5


def test_too_little_is_said() -> None:
    one = pd.DataFrame({"x": [1.0, 2.0, 3.0] * 20})
    report = zoo.evaluate(one, one + 0.0, holdout=one.iloc[:30] + 1, metrics=RISKS)
    assert "fewer than 20" in report[RISKS[0]].reason
    assert "one column only" in report[RISKS[2]].reason
    assert "no holdout" in zoo.evaluate(TRAIN, TRAIN, metrics=RISKS[3]).scores[0].reason
