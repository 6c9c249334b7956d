"""Constraints against pandas and against what they say; expressions that try to reach out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from zoo.constraints import (
    Expression,
    FixedCombinations,
    FunctionalDependency,
    Inequality,
    Range,
    Regex,
    Unique,
    parse_constraints,
)
from zoo.constraints.expressions import parse_expression
from zoo.data.tabular import TableForm
from zoo.errors import ConstraintError

TABLE = pd.DataFrame(
    {
        "a": [1, 5, 3, 4],
        "b": [2.0, np.nan, 3.0, -1.0],
        "city": pd.Series(["Bern", "Oslo", None, "Rome"], dtype="str"),
        "grade": pd.Categorical(["low", "high", "mid", None], categories=["low", "mid", "high"], ordered=True),
        "day": pd.to_datetime(["2020-01-01", "2021-06-05", None, "2022-12-31"]),
        "flag": [True, False, True, True],
        "hours per week": [40, 10, 60, 20],
    }
)
SCHEMA = TableForm().infer(TABLE)

AS_PANDAS = [
    "a >= b",
    "a > 2 and b < 4",
    "a > 2 & b < 4",
    "(a > 4) | (a == 1)",
    "not (a > 2)",
    "a + b * 2 - 1 < 7 / 2",
    "a ** 2 % 3 == 1",
    "-a < -3",
    "1 < a <= 4",
    "city == 'Bern'",
    "city != 'Bern'",
    "city in ['Bern', 'Rome']",
    "a not in [1, 3]",
    "city.isna()",
    "b.notna() and flag",
    "~flag",
    "city.str.startswith('B') == True",
    "grade >= 'mid'",
    "day > '2021-01-01'",
    "`hours per week` < 50",
    "a.between(3, 5)",
    "b.abs() > 1",
]


@pytest.mark.parametrize("text", AS_PANDAS)
def test_expressions_mean_what_they_mean_to_pandas(text: str) -> None:
    wanted = TABLE.eval(text, engine="python")
    wanted = wanted.astype(object).where(wanted.notna(), False).astype(bool)
    assert Expression(text).holds(TABLE).tolist() == wanted.tolist()


def test_more_of_what_expressions_can() -> None:
    def rows(text: str) -> list[int]:
        return np.flatnonzero(Expression(text).holds(TABLE)).tolist()

    assert rows("city.str.match('[BR].*') and a < 4") == [0]
    assert rows("city.str.len() == 4 and day.dt.year == 2021") == [1]
    assert rows("city.str.contains('b', case=False, na=True)") == [0, 2]
    assert rows("abs(a - 3) < 2 and flag") == [2, 3]
    assert rows(r"city.str.fullmatch('\w{4}')") == [0, 1, 3]
    assert rows("'&' != city and city.notna()") == [0, 1, 3]  # an ampersand within quotes stays one
    assert rows("True and a == 1") == [0]


HOSTILE = [
    "__import__('os').system('id') == 0",
    "a.__class__ == 1",
    "a.to_csv('/tmp/x') == 1",
    "a.values.tofile('/tmp/x')",
    "@pd.io == 1",
    "open('/etc/passwd') == a",
    "[x for x in (1, 2)] == a",
    "(lambda: 1)() == a",
    "a.apply(print)",
    "a.pipe(print)",
    "a.str.__init__('x')",
    "a[0] == 1",
    "a.dt.tz_localize('UTC') == 1",
    "f'{a}' == 'x'",
    "(b := 3) > a",
    "a if a else b",
    "a is b",
    "a == b'x'",
    "a << 3 > 1",
    "{**a} == 1",
    "a; b",
    "import os",
    "abs(a, b)",
    "abs(*a) > 1",
    "a.isin(**b)",
    "a.isin(a.isin)",
    "'x'.join == a",
    "",
    "1 == 1",
    "(" * 200 + "a" + ")" * 200,
    "not " * 500 + "flag",
    "a > " + "9" * 5000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_expressions_reach_nothing_but_columns(text: str) -> None:
    with pytest.raises(ConstraintError) as caught:
        Expression(text).holds(TABLE)
    assert "\n" not in str(caught.value)


def test_powers_of_literals_do_not_fill_the_memory() -> None:
    with pytest.raises(ConstraintError, match="cannot be worked out"):
        Expression("a < 9 ** 9 ** 9").holds(TABLE)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab()[]{}.,+-*/<>=!&|~'\"` \t\n0123@:;%^_lambdin", max_size=30))
def test_any_text_is_an_expression_or_one_error(text: str) -> None:
    try:
        holds = Expression(text).holds(TABLE)
    except ConstraintError:
        return
    assert holds.shape == (4,)
    assert holds.dtype == bool


def test_what_expressions_imply_of_single_columns() -> None:
    def implied(text: str) -> dict:
        return parse_expression(text).implied()

    assert implied("a >= 3 and city == 'Bern' and b < a") == {
        "a": [("range", (3, None))],
        "city": [("values", ["Bern"])],
    }
    assert implied("1 <= a < 4") == {"a": [("range", (1, None)), ("range", (None, 4))]}
    assert implied("flag and not flag") == {"flag": [("values", [True]), ("values", [False])]}
    assert implied("city in ['Bern', 'Oslo']") == {"city": [("values", ["Bern", "Oslo"])]}
    assert implied("`hours per week` > -3") == {"hours per week": [("range", (-3, None))]}
    assert implied("a > 3 or b > 2") == {} == implied("a != 3")


# The classes


def test_inequality_and_range() -> None:
    assert Inequality("a", "b").holds(TABLE).tolist() == [True, True, True, False]
    assert Inequality("a", "b", strict=True, missing=False).holds(TABLE).tolist() == [True, False, False, False]
    assert Range("b", 0, 3).holds(TABLE).tolist() == [True, True, True, False]
    assert Range("b", 2, strict=True, missing=False).holds(TABLE).tolist() == [False, False, True, False]
    assert Range("grade", "mid").holds(TABLE, SCHEMA).tolist() == [False, True, True, True]
    assert Range("day", None, "2021-06-05").holds(TABLE, SCHEMA).tolist() == [True, True, True, False]


def test_fixed_combinations() -> None:
    known = FixedCombinations(("city", "flag"), [("Bern", True), (None, True), ("Oslo", True)])
    assert known.holds(TABLE).tolist() == [True, False, True, False]
    assert FixedCombinations(("a", "city"), TABLE[:2]).holds(TABLE).tolist() == [True, True, False, False]


def test_functional_dependency_is_put_in_place() -> None:
    rule = FunctionalDependency("city", "a", {"Bern": 1, "Oslo": 3, None: 3})
    assert rule.holds(TABLE).tolist() == [True, False, True, False]
    repaired = rule.repair(TABLE, SCHEMA)
    assert repaired["a"].tolist() == [1, 3, 3, 4] and repaired["a"].dtype == TABLE["a"].dtype
    assert rule.holds(repaired).tolist() == [True, True, True, False]
    to_text = FunctionalDependency("a", "grade", {1: "high", 5: "high", 3: "low", 4: None}).repair(TABLE, SCHEMA)
    assert to_text["grade"].dtype == TABLE["grade"].dtype
    assert to_text["grade"].isna().tolist() == [False, False, False, True]


def test_unique() -> None:
    table = pd.DataFrame({"x": [1, 1, None, None], "y": [1, 2, 3, 3]})
    assert Unique("x").holds(table).tolist() == [True, False, True, False]
    assert Unique("x", "y").holds(table).tolist() == [True, True, True, False]
    assert Unique("flag").most(SCHEMA) == 2
    assert Unique("a", "grade").most(SCHEMA) == 5 * 4  # 1 to 5, and three grades or none
    assert Unique("b").most(SCHEMA) == np.inf


def test_regex() -> None:
    assert Regex("city", "[A-O].*").holds(TABLE).tolist() == [True, True, True, False]
    assert Regex("city", ".*o", missing=False).holds(TABLE).tolist() == [False, True, False, False]
    assert Regex("city", "[A-O].*").implied(SCHEMA) == {"city": [("values", ["Bern", "Oslo", None])]}


def test_short_forms() -> None:
    made = parse_constraints(["a <= b", "unique(a, `hours per week`)", "combinations(a, b)", "determines(a, b, city)"])
    assert isinstance(made[0], Expression)
    assert made[1] == Unique("a", "hours per week")
    assert isinstance(made[2], FixedCombinations) and made[2].over == ("a", "b")
    assert isinstance(made[3], FunctionalDependency) and made[3].determinant == ("a", "b")
    assert parse_constraints("a > 1") == (Expression("a > 1"),)
    assert parse_constraints(None) == ()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Inequality("a", "citty").check(SCHEMA), "did you mean 'city'"),
        (lambda: Inequality("a", "city").check(SCHEMA), "no order"),
        (lambda: Inequality("a", "day").check(SCHEMA), "cannot be compared"),
        (lambda: Inequality("a", "grade").check(SCHEMA), "cannot be compared"),
        (lambda: Range("a", 9).check(SCHEMA), "cannot be met"),
        (lambda: Range("a", 4, 2).check(SCHEMA), "empty"),
        (lambda: Range("a", "x").check(SCHEMA), "no value"),
        (lambda: Range("city", "x").check(SCHEMA), "no order"),
        (lambda: FixedCombinations("city"), "at least two"),
        (lambda: FixedCombinations(("city", "a"), [("Bern",)]), "needs 2 values"),
        (lambda: FixedCombinations(("city", "a"), TABLE[["a"]]), "no column 'city'"),
        (lambda: FixedCombinations(("city", "a")).holds(TABLE), "combinations="),
        (lambda: FunctionalDependency("flag", "city", TABLE), "several values"),
        (lambda: FunctionalDependency("a", "city", {1: "Paris"}).check(SCHEMA), "Paris"),
        (lambda: FunctionalDependency("a", "a"), "different columns"),
        (lambda: Regex("city", "("), "no regular expression"),
        (lambda: Regex("city", "x+").check(SCHEMA), "no category"),
        (lambda: Regex("a", "x+").check(SCHEMA), "no text"),
        (lambda: Unique(), "different columns"),
        (lambda: parse_constraints(3), "must be a list"),
        (lambda: parse_constraints([3]), "int"),
        (lambda: Expression("city > 3").holds(TABLE), "cannot be worked out"),
        (lambda: Expression("a + 1").holds(TABLE), "true or false"),
        (lambda: Expression("c > 3").holds(TABLE), "no column 'c'"),
    ],
)
def test_what_cannot_be_a_constraint(make: object, words: str) -> None:
    with pytest.raises(ConstraintError) as caught:
        make()  # type: ignore[operator]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_constraints_are_at_the_top_of_the_package() -> None:
    assert zoo.constraints.Inequality is Inequality
