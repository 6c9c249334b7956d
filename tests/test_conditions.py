import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.conditions import Conditions, parse, to_number
from zoo.errors import ConditionError
from zoo.schema import Column, Schema

SCHEMA = Schema(
    modality="tabular",
    columns=(
        Column(name="age", kind="integer", dtype="int64", minimum=17, maximum=90),
        Column(name="job", kind="category", dtype="str", nullable=True, categories=("cook", "nurse", "pilot")),
        Column(name="grade", kind="ordinal", dtype="category", categories=("low", "mid", "high")),
        Column(name="since", kind="datetime", dtype="datetime64[us]", minimum="2020-01-01", maximum="2022-01-01"),
        Column(name="label", kind="category", dtype="int64", categories=(0, 1, 2), names=("cat", "dog", "cow")),
        Column(name="secret", kind="integer", dtype="int64"),
    ),
)
ALLOWED = ("age", "job", "grade", "since", "label")


def asked(conditions: object, n: int | None = 3) -> Conditions:
    return parse(conditions, SCHEMA, ALLOWED, family="tabular/x", n=n)  # type: ignore[arg-type]


def test_scalars_lists_and_ranges() -> None:
    got = asked({"age": 40, "job": ["pilot", "cook"], "grade": ("mid", None), "label": "dog"})
    assert got["age"].fixed(2).tolist() == [40.0, 40.0]
    assert got["job"].values.tolist() == [0, 2]
    assert got["job"].allowed().tolist() == [True, False, True]
    assert got["grade"].values.tolist() == [1, 2]
    assert got["label"].values.tolist() == [1]
    ranged = asked({"age": (None, 30)})["age"]
    assert (ranged.low, ranged.high, ranged.is_range) == (None, 30.0, True)


def test_missing_is_a_value_of_a_nullable_column() -> None:
    assert asked({"job": None})["job"].values.tolist() == [-1]
    with pytest.raises(ConditionError, match="no missing values"):
        asked({"age": float("nan")})


def test_times_are_seconds() -> None:
    got = asked({"since": pd.Timestamp("2021-06-01")})["since"]
    assert got.values[0] == pd.Timestamp("2021-06-01").timestamp()
    assert asked({"since": ("2021-01-01", None)})["since"].low == pd.Timestamp("2021-01-01").timestamp()


def test_a_table_is_cut_into_blocks_and_its_last_row_fills_up() -> None:
    got = asked(pd.DataFrame({"age": [20, 30, 40]}))
    assert got.per_row
    assert got.block(2, 3)["age"].rows.tolist() == [40, 40, 40]
    assert got.block(0, 2)["age"].rows.tolist() == [20, 30]


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"agee": 3}, "did you mean 'age'"),
        ({"secret": 3}, "cannot condition on 'secret'"),
        ({"age": 200}, "outside what was seen"),
        ({"age": "old"}, "no value of kind"),
        ({"age": 20.5}, "no whole number"),
        ({"age": (50, 40)}, "swap"),
        ({"age": (100, None)}, "outside what was seen"),
        ({"age": (1, 2, 3)}, "a range is"),
        ({"job": "nrse"}, "did you mean 'nurse'"),
        ({"job": ("a", "b")}, "has no range"),
        ({"job": []}, "empty"),
        (pd.DataFrame({"age": [1, 2]}), "2 rows for n=3"),
        (3, "mapping or a table"),
    ],
)
def test_what_cannot_be_asked(conditions: object, words: str) -> None:
    with pytest.raises(ConditionError) as caught:
        asked(conditions)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_endless_stream_takes_no_table() -> None:
    with pytest.raises(ConditionError, match="endless"):
        asked(pd.DataFrame({"age": [20]}), n=None)


def test_draw_codes_follows_the_prior_and_the_condition() -> None:
    rng = np.random.default_rng(0)
    prior = np.array([0.6, 0.3, 0.1])
    free = asked(None).draw_codes("label", prior, rng, 20_000)
    assert np.allclose(np.bincount(free) / 20_000, prior, atol=0.015)
    some = asked({"label": ["cat", "cow"]}).draw_codes("label", prior, rng, 20_000)
    assert np.allclose(np.bincount(some, minlength=3) / 20_000, [6 / 7, 0, 1 / 7], atol=0.015)
    with pytest.raises(ConditionError, match="never occurred"):
        asked({"label": "cow"}).draw_codes("label", np.array([0.5, 0.5, 0]), rng, 3)


@given(st.lists(st.datetimes(min_value=pd.Timestamp("1900-01-01"), max_value=pd.Timestamp("2100-01-01")), min_size=1))
def test_to_number_of_datetimes_is_posix_time(values: list) -> None:
    got = to_number(pd.Series(values, dtype="datetime64[us]"), SCHEMA["since"])
    want = [pd.Timestamp(v, tz="UTC").timestamp() for v in values]
    assert np.allclose(got, want, rtol=0, atol=1e-4)
