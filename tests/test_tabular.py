"""Tables: the rules of inference one by one, codes and numbers there and back, checks, identifiers made anew."""

import dataclasses
import datetime as dt
import json
import random
import uuid
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings

from zoo.data.table_check import check_table, equal_tables
from zoo.data.table_codec import TableCodec
from zoo.data.table_fill import fill
from zoo.data.table_schema import MIN_IDENTIFIERS, infer_column
from zoo.data.table_values import ISO_FORMATS, codes_of, format_iso, from_arrow_strings
from zoo.data.tabular import TableForm
from zoo.errors import DataError, SchemaError
from zoo.schema import Column, Schema

FORM = TableForm()
N = MIN_IDENTIFIERS


def infer(values: Any, dtype: Any = None) -> Column:
    return infer_column(pd.Series(values, dtype=dtype, name="x"))


# Inference, rule by rule


@pytest.mark.parametrize(
    ("values", "dtype", "kind", "categories"),
    [
        ([None, None], "object", "constant", ()),
        ([np.nan, np.nan], "float64", "constant", ()),
        ([None], "str", "constant", ()),
        ([pd.NaT], "datetime64[s]", "constant", ()),
        ([3, 3], "int64", "constant", (3,)),
        ([2.5], "float64", "constant", (2.5,)),
        (["x"] * 80, "str", "constant", ("x",)),
        ([True, True], "bool", "constant", (True,)),
        ([True, None], "boolean", "boolean", (True,)),  # one value and a missing one: something to learn
        ([3, None], "Int64", "integer", ()),
        ([False, True], "bool", "boolean", (False, True)),
        ([True, None, False], "object", "boolean", (False, True)),
        (["b", "a", "b"], "str", "category", ("a", "b")),
        (["b", None], "string", "category", ("b",)),
    ],
)
def test_constants_truths_and_categories(values: Any, dtype: str, kind: str, categories: tuple[Any, ...]) -> None:
    column = infer(values, dtype)
    assert (column.kind, column.categories) == (kind, categories)
    assert column.dtype == dtype
    assert column.nullable == pd.Series(values, dtype=dtype).isna().any()


def test_pandas_categories_keep_their_order_and_what_is_not_used() -> None:
    plain = infer(pd.Categorical(["b"], categories=["b", "a"]))
    assert (plain.kind, plain.categories) == ("category", ("b", "a"))
    ordered = infer(pd.Categorical([2, 10], categories=[10, 2, 7], ordered=True))
    assert (ordered.kind, ordered.categories) == ("ordinal", (10, 2, 7))
    missing = infer(pd.Categorical([None], categories=["b", "a"]))
    assert (missing.kind, missing.categories, missing.nullable) == ("category", ("b", "a"), True)
    assert infer(pd.Categorical(["b"])).kind == "constant"
    assert infer(pd.Categorical([None])).kind == "constant"
    small = infer(pd.Series(pd.Categorical([1, 2])).cat.set_categories(pd.Index([1, 2], dtype="int8")))
    assert small.pattern == "int8"


def test_integers_are_identifiers_only_when_they_count_rows() -> None:
    rng = np.random.default_rng(0)
    assert infer(np.arange(N)).kind == "identifier"
    assert infer(np.arange(N) * 7 + 1000).kind == "identifier"
    assert infer(rng.permutation(N)).kind == "identifier"
    assert infer(rng.permutation(2 * N - 1)[:N]).kind == "identifier"  # half of the range at least
    assert infer(np.arange(N - 1)).kind == "integer"  # too few rows to tell
    assert infer(np.append(np.arange(N), 3)).kind == "integer"  # one stands twice
    assert infer(rng.permutation(100 * N)[:N]).kind == "integer"  # distinct amounts, not a count
    assert infer(pd.array([*range(N), None], dtype="Int64")).kind == "integer"
    assert infer(np.arange(N).astype(float)).kind == "float"
    column = infer([5, 3, 4])
    assert (column.minimum, column.maximum) == (3, 5) and type(column.minimum) is int


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        ([1.0, 2.0, np.nan], 0),
        ([0.5, 0.25], 2),
        ([0.1, 0.2, 0.3], 1),
        ([0.000001, 1.0], 6),
        ([0.0000001, 1.0], None),
        ([1 / 3, 1.0], None),
    ],
)
def test_decimals(values: list[float], decimals: int | None) -> None:
    column = infer(values)
    assert (column.kind, column.decimals) == ("float", decimals)
    assert (column.minimum, column.maximum) == (np.nanmin(values), np.nanmax(values))
    assert infer(np.array([0.1, 0.2, 0.25], dtype="float32")).decimals == 2


def test_times() -> None:
    column = infer(pd.to_datetime(["2024-01-01", "2024-03-01", None]))
    assert (column.kind, column.minimum, column.maximum) == ("datetime", "2024-01-01T00:00:00", "2024-03-01T00:00:00")
    assert column.pattern == "%Y-%m-%d"  # all are whole days
    assert infer(pd.to_datetime(["2024-01-01 10:00", "2024-03-01 11:00"])).pattern == "%Y-%m-%d %H"
    assert infer(pd.to_datetime(["2024-01-01 10:00:07.5", "2024-03-01 00:00:00.0"])).pattern == "%Y-%m-%d %H:%M:%S.%3f"
    zoned = infer(pd.Series(pd.to_datetime(["2024-07-01 02:00", "2024-07-02 02:00"])).dt.tz_localize("Europe/Zurich"))
    assert zoned.minimum == "2024-07-01T00:00:00+00:00"
    date = infer([dt.date(9999, 12, 31), None, dt.date(2024, 2, 29)], "object")
    assert (date.kind, date.minimum, date.maximum) == ("date", "2024-02-29", "9999-12-31")
    took = infer(pd.to_timedelta([90, 3600], unit="s"))
    assert (took.kind, took.minimum, took.maximum, took.pattern) == ("duration", 90.0, 3600.0, "seconds")
    assert infer(pd.to_timedelta([1, 2], unit="D")).pattern == "days"


@pytest.mark.parametrize("pattern", sorted(ISO_FORMATS))
def test_texts_of_one_iso_form_are_times(pattern: str) -> None:
    moments = np.array(["2024-02-29T12:34:56.789012", "1999-01-01T00:00:00.000000"], dtype="datetime64[us]")
    unit = ISO_FORMATS[pattern][1]
    texts = from_arrow_strings(format_iso(moments.astype(f"datetime64[{unit}]"), pattern), "str")
    column = infer(texts)
    assert (column.kind, column.pattern, column.dtype) == ("datetime", pattern, "str")
    assert infer([*texts, None], "object").kind == "datetime"
    assert infer([*texts, "soon"]).kind == "category"
    assert infer(["2024-02-30", "2024-01-01"]).kind == "category"  # there is no such day
    assert infer(["2024-02-28", "2024-01-01 00:00"]).kind == "category"  # two forms


def test_texts_are_categories_identifiers_or_free_text() -> None:
    letters = random.Random(0)
    names = ["".join(letters.choices("abcdefghij", k=letters.randint(3, 12))) for _ in range(300)]
    assert infer(names).kind == "text"
    assert infer(names[:50]).kind == "category"  # so few that all can be learned
    assert infer(names[:51]).kind == "text"
    assert infer(names * 2).kind == "category"  # each is shared
    assert infer([*names, *names[:150]]).kind == "category"  # half of the rows share
    assert infer([f"{i:04d}" for i in range(N)]).kind == "identifier"
    assert infer([*(f"{i:04d}" for i in range(N)), None]).kind != "identifier"
    sentences = [f"it is {n} that we saw on the way" for n in names[:20]]
    assert infer(sentences).kind == "text"
    assert infer(sentences * 2).kind == "category"
    assert infer(names).minimum == min(map(len, names)) and infer(names).maximum == max(map(len, names))


def test_free_text_keeps_common_words_only() -> None:
    texts = [f"parcel for person{i} of number 12{i} is late" for i in range(60)]
    pattern = json.loads(str(infer(texts).pattern))
    assert set(pattern["words"]) == {"parcel", "for", "of", "number", "is", "late"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pd.Series([1, "a"], dtype=object), "mixes types, 1 and 'a'"),
        (pd.Series([1, 2], dtype=object), "pd.to_numeric"),
        (pd.Series([{"a": 1}], dtype=object), "dict objects"),
        (pd.Series([b"a"], dtype=object), "str.decode"),
        (pd.Series([1.0, np.inf]), r"replace\(\[np.inf"),
        (pd.Series([1 + 2j]), "complex"),
        (pd.Series(pd.arrays.SparseArray([0, 1])), "sparse"),
        (pd.Series(pd.period_range("2024", periods=2, freq="M")), "period"),
        (pd.Series([b"a"], dtype=pd.ArrowDtype(pa.binary())), r"binary\[pyarrow\]"),
        (pd.Series(pd.Categorical([(1, 2), (3, 4)])), "categories"),
        (pd.Series(["\ud800"], dtype=object), "no valid text"),
    ],
)
def test_what_no_table_holds_is_refused_by_name(values: pd.Series, words: str) -> None:
    with pytest.raises(DataError, match=words) as raised:
        infer_column(values.rename("my column"))
    assert "'my column'" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_index_of_the_rows_order_does_not_matter() -> None:
    table = pd.DataFrame({"x": ["b", "a", "c"] * 30, "y": np.random.default_rng(0).normal(size=90)})
    assert FORM.infer(table) == FORM.infer(table.iloc[::-1])


# Codes and numbers, there and back

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


def column_of(values: st.SearchStrategy[Any], dtype: str = "object", missing: Any = ..., as_: str = "") -> Any:
    """A strategy of series: ``values`` stored as ``as_``, then cast to ``dtype``."""
    some = values if missing is ... else st.one_of(st.just(missing), values)
    return st.lists(some, min_size=1, max_size=6).map(lambda v: pd.Series(v, dtype=as_ or dtype).astype(dtype))


def whole(dtype: str) -> Any:
    info = np.iinfo(dtype.lower())
    inside = st.integers(max(int(info.min), -(2**53)), min(int(info.max), 2**53))  # what a float holds exactly
    return column_of(inside, dtype, pd.NA if dtype[0] in "IU" else ...)


def real(dtype: str, width: int, missing: Any = np.nan) -> Any:
    finite = st.floats(allow_nan=False, allow_infinity=False, width=width)  # type: ignore[arg-type]
    decimal = st.integers(-(10**5), 10**5).map(lambda i: i / 1000)
    return st.one_of(column_of(finite, dtype, missing), column_of(decimal, dtype, missing))


def times(dtype: str) -> Any:
    return column_of(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)), dtype, pd.NaT, "datetime64[us]")


def categories(values: list[Any], of: str, ordered: bool = False) -> Any:
    dtype: Any = pd.CategoricalDtype(pd.Index(values, dtype=of), ordered=ordered)
    return st.lists(st.sampled_from([None, *values[:-1]]), min_size=1, max_size=6).map(
        lambda v: pd.Series(pd.Categorical(v, dtype=dtype))
    )


def iso(form: str, dtype: str) -> Any:
    earliest = dt.datetime(1900, 1, 1) if "f" in form else dt.datetime(1000, 1, 1)
    moments = st.datetimes(earliest, dt.datetime(2100, 1, 1) if "f" in form else dt.datetime(9999, 12, 31))
    return column_of(moments.map(lambda d: d.strftime(form)), dtype, None)


COLUMNS: dict[str, Any] = {
    **{d: whole(d) for d in ("int8", "int32", "int64", "uint8", "uint64", "Int16", "Int64", "UInt32")},
    "float64": real("float64", 64),
    "float32": real("float32", 32),
    "float16": real("float16", 16),
    "Float64": real("Float64", 64, pd.NA),
    "Float32": real("Float32", 32, pd.NA),
    "bool": column_of(st.booleans(), "bool"),
    "boolean": column_of(st.booleans(), "boolean", pd.NA),
    "object bool": column_of(st.booleans(), "object", None),
    "str": column_of(TEXT, "str", None),
    "string": column_of(TEXT, "string", pd.NA),
    "object str": column_of(TEXT, "object", None),
    "category": categories(["b", "", "a", "unused"], "str"),
    "object category": categories(["b", "a", "unused"], "object"),
    "ordinal": categories([10, 1, 2, 7], "int64", ordered=True),
    "int8 category": categories([10, 1, 2], "int8"),
    "float category": categories([0.1, -2.0, 1.0], "float64"),
    "bool category": categories([True, False], "bool"),
    **{d: times(d) for d in ("datetime64[s]", "datetime64[ms]", "datetime64[us]")},
    "zoned": column_of(
        st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2030, 1, 1)), "datetime64[us, UTC]", pd.NaT
    ).map(lambda s: s.dt.tz_convert("Europe/Zurich")),
    "date": column_of(st.dates(), "object", None),
    "days": column_of(st.dates(dt.date(1700, 1, 1), dt.date(2200, 1, 1)), "datetime64[s]", pd.NaT),
    "timedelta64[s]": column_of(st.integers(-(10**6), 10**6), "timedelta64[s]", as_="int64"),
    "timedelta64[ms]": column_of(st.integers(-(10**9), 10**9), "timedelta64[ms]", as_="int64"),
    "timedelta64[ns]": column_of(st.integers(-(10**6), 10**6), "timedelta64[us]", as_="int64").map(
        lambda s: s.astype("timedelta64[ns]")
    ),
    "iso day": iso("%Y-%m-%d", "str"),
    "iso minute": iso("%Y-%m-%dT%H:%MZ", "string"),
    "iso second": iso("%Y-%m-%d %H:%M:%S", "object"),
    "iso microsecond": iso("%Y-%m-%dT%H:%M:%S.%f", "str"),
    "nothing": column_of(st.just(None), "object"),
    "no number": column_of(st.just(np.nan), "float64"),
    "no time": column_of(st.just(pd.NaT), "datetime64[s]"),
    "no duration": column_of(st.just(pd.NaT), "timedelta64[s]"),
    "no category": column_of(st.just(None), "category"),
}


@pytest.mark.parametrize("name", COLUMNS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_there_and_back(name: str, data: st.DataObject) -> None:
    table = pd.DataFrame({"x": data.draw(COLUMNS[name])})
    before = table.copy(deep=True)
    schema = FORM.infer(table)
    check_table(table, schema)
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    codec = TableCodec(schema)
    codes = codec.encode(table)
    for column, values in codes.items():
        assert values.shape == (len(table),)
        assert values.dtype == (np.int64 if column in codec.discrete else np.float64)
    made = codec.decode(codes, len(table))
    if "x" in made:
        assert equal_tables(made, table), f"{made['x'].tolist()} instead of {table['x'].tolist()}"
        pd.testing.assert_frame_equal(made, table)
    assert equal_tables(table, before)
    finished = FORM.finish(made, schema, 0)
    check_table(finished, schema)
    arrow = FORM.to_arrow(table, schema)
    assert arrow.schema.types == FORM.features(schema).arrow_schema.types
    assert arrow.column("x").null_count == table["x"].isna().sum()


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from([n for n in COLUMNS if n not in ("str", "string", "object str")]), data=st.data())
def test_any_numbers_decode_to_what_the_schema_allows(name: str, data: st.DataObject) -> None:
    table = pd.DataFrame({"x": data.draw(COLUMNS[name])})
    schema = FORM.infer(table)
    codec = TableCodec(schema)
    wild = st.floats(allow_nan=False) if not schema["x"].nullable else st.floats()
    k = len(schema["x"].categories)
    drawn = st.integers(-1 if schema["x"].nullable else 0, k - 1) if codec.discrete else wild
    given_values = {"x": np.array(data.draw(st.lists(drawn, min_size=5, max_size=5)))} if not codec.constant else {}
    made = codec.decode(given_values, 5)
    check_table(made, schema)
    if "x" in given_values and codec.numeric:
        assert np.array_equal(made["x"].isna(), np.isnan(given_values["x"]))


def test_decoding_rounds_and_clips() -> None:
    table = pd.DataFrame({"whole": [1, 9, 4], "part": [0.25, 7.5, 1.0], "day": ["2024-01-01", "2024-01-09", None]})
    codec = TableCodec(FORM.infer(table))
    day = 86400.0
    first = pd.Timestamp("2024-01-01").timestamp()
    made = codec.decode(
        {
            "whole": np.array([3.6, -5.0, 99.0]),
            "part": np.array([1.234, -1.0, np.inf]),
            "day": np.array([first + 1.4 * day, np.nan, first + 99 * day]),
        },
        3,
    )
    assert made["whole"].tolist() == [4, 1, 9]
    assert made["part"].tolist() == [1.23, 0.25, 7.5]
    assert made["day"].tolist()[::2] == ["2024-01-02", "2024-01-09"] and made["day"].isna().tolist() == [0, 1, 0]


def test_the_codec_says_what_is_wrong() -> None:
    table = pd.DataFrame({"n": [1, 2, 4], "c": ["a", "b", "a"], "m": [0.5, None, 1.5]})
    codec = TableCodec(FORM.infer(table))
    assert (codec.discrete, codec.numeric, codec.constant) == (("c",), ("n", "m"), ())
    assert codec.sizes == {"c": 2}
    good = codec.encode(table)
    assert np.isnan(good["m"][1])
    for columns, words in (
        ({"n": good["n"], "m": good["m"]}, "column 'c' is not given"),
        (good | {"c": np.array([0, 1])}, r"column 'c': 3 rows need values of shape \(3,\)"),
        (good | {"c": np.array([0, 1, 2])}, "column 'c': codes 0 to 2 given"),
        (good | {"c": np.array([0, 1, -1])}, "column 'c': a value is missing"),
        (good | {"n": np.array([0, 1, np.nan])}, "column 'n': a value is missing"),
    ):
        with pytest.raises(SchemaError, match=words):
            codec.decode(columns, 3)
    with pytest.raises(SchemaError, match="column 'c': 'z' is no known category"):
        codec.encode(table.assign(c=["a", "z", "b"]))
    with pytest.raises(SchemaError, match="column 'n' holds a value that is no integer"):
        codec.encode(table.assign(n=["a", "z", "b"]))
    with pytest.raises(SchemaError, match="no column 'n'"):
        codec.encode(table.drop(columns="n"))
    assert codec.decode({k: v[:0] for k, v in good.items()}, 0).shape == (0, 3)


def test_codes_of_values_that_are_no_category() -> None:
    column = Column(name="x", kind="category", dtype="str", categories=("a", "b"), nullable=True)
    for dtype in ("str", "string", "object", "category"):
        assert codes_of(pd.Series(["b", None, "z", "a"], dtype=dtype), column).tolist() == [1, -1, -2, 0]
    numbers = Column(name="x", kind="category", dtype="int64", categories=(3, 1))
    assert codes_of(pd.Series([1, 3, 2]), numbers).tolist() == [1, 0, -2]


# Identifiers and free text

_R = random.Random(0)
IDENTIFIERS: dict[str, Any] = {
    "padded": pd.Series([f"P-{i:05d}" for i in range(N)], dtype="str"),
    "object": pd.Series([f"P-{i:05d}" for i in range(N)], dtype="object"),
    "plain": pd.Series([str(i) for i in range(N)], dtype="string"),
    "suffix": pd.Series([f"{i}/a" for i in range(1, N + 1)], dtype="str"),
    "mail": pd.Series([f"someone{i}@where.org" for i in range(N)], dtype="str"),
    "uuid": pd.Series([str(uuid.UUID(int=_R.getrandbits(128), version=4)) for _ in range(N)], dtype="str"),
    "mixed": pd.Series([f"{chr(65 + i % 26)}{_R.randrange(10**6):06d}x" for i in range(N)], dtype="str"),
    "few": pd.Series([f"{i // 10}{'abcdefghij'[i % 10]}" for i in range(N)], dtype="str"),
    "counted": pd.Series(np.arange(N)),
    "steps": pd.Series(np.arange(N) * 7 - 1000),
    "shuffled": pd.Series(np.random.default_rng(0).permutation(N)),
    "big": pd.Series(np.arange(N).astype("uint64") + np.uint64(2**63)),
    "masked": pd.Series(pd.array(range(N), dtype="Int32")),
}


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_identifiers_never_repeat_and_depend_on_the_row_alone(name: str) -> None:
    table = pd.DataFrame({"key": IDENTIFIERS[name], "y": [1.5, 2.5] * (N // 2)})
    schema = FORM.infer(table)
    assert schema["key"].kind == "identifier"
    rest = table[["y"]]
    n = 40 * N
    blocks = [FORM.finish(rest, schema, start) for start in range(0, n, N)]
    whole = FORM.concat(list(blocks))
    assert whole["key"].dtype == table["key"].dtype
    assert whole["key"].is_unique
    check_table(whole, schema)
    once = FORM.finish(pd.DataFrame({"y": np.full(n, 1.5)}), schema, 0)
    assert whole["key"].tolist() == once["key"].tolist()
    counted = name in ("padded", "object", "plain", "suffix", "counted", "steps", "shuffled", "big", "masked")
    if counted:
        assert not set(whole["key"]) & set(table["key"])  # behind the real ones
    if name not in ("few", "shuffled", "mail"):
        assert infer(whole["key"].iloc[:N].to_numpy(), table["key"].dtype).kind == "identifier"


def test_new_identifiers_look_like_the_old_ones() -> None:
    def made(name: str) -> list[Any]:
        return list(fill(infer(IDENTIFIERS[name]), 0, 3))

    first = int(made("padded")[0].removeprefix("P-"))
    assert N <= first < 2 * N  # behind the real ones, and where depends on the seed
    assert made("padded") == [f"P-{first:05d}", f"P-{first + 1:05d}", f"P-{first + 2:05d}"]
    steps = made("steps")
    assert np.diff(steps).tolist() == [7, 7] and (steps[0] + 1000) % 7 == 0 and steps[0] >= N * 7 - 1000
    assert made("suffix")[0].endswith("/a") and int(made("suffix")[0][:-2]) > N
    assert all(str(uuid.UUID(v)) == v and uuid.UUID(v).version == 4 for v in made("uuid"))
    assert all(v.endswith("@example.com") for v in made("mail"))


def test_identifiers_below_zero_count_up() -> None:
    first, second = fill(infer(np.arange(-1000, -1000 + N)), 0, 2)
    assert -1000 + N <= first < -1000 + 2 * N and second == first + 1


def test_free_text_is_made_of_common_words() -> None:
    texts = pd.Series([f"dear {i} the parcel {i * 7} is late today" for i in range(400)], dtype="object")
    texts[::4] = None
    table = pd.DataFrame({"note": texts, "y": [1.5, 2.5] * 200})
    schema = FORM.infer(table)
    assert schema["note"].kind == "text"
    made = FORM.finish(table[["y"]], schema, 7)
    check_table(made, schema)
    assert list(made.columns) == ["note", "y"]
    assert made["note"].dtype == object
    assert 0.1 < made["note"].isna().mean() < 0.4
    words = {w.rstrip(".") for t in made["note"].dropna() for w in t.split()}
    assert not any(ch.isdigit() for w in words for ch in w)
    later = FORM.finish(table[["y"]].iloc[:300], schema, 107)
    assert later["note"].iloc[:300].tolist() == made["note"].iloc[100:].tolist()


@pytest.mark.parametrize(
    "pattern",
    [
        "no json",
        "[]",
        '{"form": "other"}',
        '{"form": "sequence", "start": 1.5, "step": 1}',
        '{"form": "sequence", "start": 1, "step": 0}',
        '{"form": "shuffled", "start": 1, "size": 99999999999}',
        '{"form": "shape", "parts": [["a", 3]]}',
        '{"form": "shape", "parts": [["ab", 100000000]]}',
        '{"form": "shape", "parts": ["a"]}',
        '{"form": "sequence", "start": 1, "step": 1, "width": 100000}',
    ],
)
def test_patterns_of_unknown_origin_are_checked(pattern: str) -> None:
    column = Column(name="key", kind="identifier", dtype="str", pattern=pattern)
    with pytest.raises(SchemaError, match="column 'key': its pattern is none of an identifier"):
        fill(column, 0, 2)


# Checks


def sound() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "key": [f"K{i:03d}" for i in range(60)],
            "n": np.arange(60) % 7,
            "x": np.arange(60) / 4,
            "c": pd.Series(["a", "b", None] * 20, dtype="str"),
            "o": pd.Categorical(["lo", "hi"] * 30, categories=["lo", "hi"], ordered=True),
            "t": pd.to_datetime(["2024-01-01", "2024-01-31"] * 30),
            "d": ["2024-01-01", "2024-01-31"] * 30,
            "f": pd.Series([1.0, 2.0, None] * 20),
        }
    )


def changed(column: str, row: int, value: Any) -> pd.DataFrame:
    table = sound()
    values = table[column].tolist()
    values[row] = value
    return table.assign(**{column: pd.Series(values, dtype=table[column].dtype)})


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (sound().drop(columns="n"), "lacks column 'n'"),
        (sound().assign(extra=1), "column 'extra' is not in the schema"),
        (sound()[["n", "key", *list(sound())[2:]]], "column 'n' stands where 'key' should"),
        (sound().assign(n=sound()["n"].astype("int32")), r"column 'n' has dtype int32.*astype\('int64'\)"),
        (changed("n", 3, 7), "column 'n': 7 is outside 0 to 6"),
        (changed("x", 3, -0.5), "column 'x': -0.5 is outside 0.0 to 14.75"),
        (changed("x", 3, np.nan), "column 'x' has a missing value in row 3"),
        (changed("x", 3, np.inf), "column 'x': inf is outside"),
        (changed("c", 1, "z"), "column 'c': unknown category 'z'"),
        (changed("t", 0, pd.Timestamp("2025-01-01")), "column 't': 2025-01-01 00:00:00 is outside"),
        (changed("d", 0, "2025-01-01"), "column 'd': '2025-01-01' is outside"),
        (changed("d", 0, "2024/01/01"), "column 'd': '2024/01/01' is no time of the form %Y-%m-%d"),
        (changed("d", 0, "2024-02-31"), "column 'd' holds a value that is no datetime"),
        (changed("key", 0, "K001"), "column 'key' identifies rows, but 'K001' stands twice"),
        (sound().assign(o=sound()["o"].cat.rename_categories(["lo", "up"])), "column 'o' has categories"),
        (sound().assign(o=sound()["o"].cat.as_unordered()), "column 'o': kind 'ordinal' against ordered=False"),
        ([1, 2], "a table is a pandas.DataFrame, not list"),
    ],
)
def test_checks_name_the_column_and_the_value(table: Any, words: str) -> None:
    schema = FORM.infer(sound())
    check_table(sound(), schema)
    with pytest.raises(SchemaError, match=words) as raised:
        check_table(table, schema)
    assert "\n" not in str(raised.value)


def test_a_primary_key_is_unique_and_whole_floats_are_whole() -> None:
    table = pd.DataFrame({"a": [1, 1, 2], "f": [1.0, 2.0, np.nan]})
    schema = FORM.infer(table)
    with pytest.raises(SchemaError, match="column 'a' identifies rows"):
        check_table(table, schema.replace(primary_key="a"))
    whole = schema.replace(columns={"f": dataclasses.replace(schema["f"], kind="integer")})
    check_table(table, whole)
    with pytest.raises(SchemaError, match=r"column 'f': 1\.5 is no whole number"):
        check_table(table.assign(f=[1.0, 1.5, np.nan]), whole)


def test_texts_keep_their_lengths() -> None:
    schema = Schema(modality="tabular", columns=(Column(name="t", kind="text", dtype="str", minimum=2, maximum=4),))
    check_table(pd.DataFrame({"t": ["äö", "four"]}), schema)
    with pytest.raises(SchemaError, match="column 't' has texts of 1 to 4 characters"):
        check_table(pd.DataFrame({"t": ["x", "four"]}), schema)


# Equality


def test_equal_tables() -> None:
    table = sound()
    assert equal_tables(table, table.copy(deep=True))
    assert equal_tables(table, table.set_axis(range(100, 160)))  # the index is no data
    for other in (
        changed("n", 59, 0),
        changed("x", 3, 0.76),
        changed("c", 0, None),
        changed("c", 2, "a"),
        changed("f", 2, 0.0),
        changed("t", 0, pd.NaT),
        table.assign(n=table["n"].astype("int32")),
        table.assign(c=table["c"].astype("object")),
        table.assign(o=table["o"].cat.reorder_categories(["hi", "lo"])),
        table.assign(o=table["o"].cat.as_unordered()),
        table.rename(columns={"n": "m"}),
        table[list(table)[::-1]],
        table.iloc[:-1],
    ):
        assert not equal_tables(table, other)
        assert not equal_tables(other, table)


def test_missing_equals_missing_in_every_dtype() -> None:
    for dtype in ("float64", "Int64", "boolean", "str", "string", "object", "category", "datetime64[s]"):
        a = pd.DataFrame({"x": pd.Series([None, None], dtype=dtype)})
        assert equal_tables(a, a.copy(deep=True)), dtype


# The form


def test_coerce_takes_what_people_have() -> None:
    import datasets

    wanted = {"a": [1, 2], "b": ["x", "y"]}
    for given_table in (
        pd.DataFrame(wanted, index=[5, 6]),
        wanted,
        pa.table(wanted),
        datasets.Dataset.from_dict(wanted),
    ):
        table = FORM.coerce(given_table)
        assert table.to_dict("list") == wanted
        assert isinstance(table.index, pd.RangeIndex)
    labelled = datasets.Dataset.from_dict(
        {"c": [1, 0, None]}, features=datasets.Features({"c": datasets.ClassLabel(names=["no", "yes"])})
    )
    assert FORM.coerce(labelled)["c"].tolist()[:2] == ["yes", "no"]
    schema = FORM.infer(pd.DataFrame({"a": pd.array([1, 2, 3], dtype="int8")}))
    assert FORM.coerce({"a": [1, 2]}, schema)["a"].dtype == "int8"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pd.DataFrame(), "no columns"),
        (pd.DataFrame({"a": []}), "no rows"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "column 'a' stands twice"),
        (pd.DataFrame([[1]], columns=[7]), "column name 7 is no text"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "several levels"),
        ([1, 2], "not list"),
        ({"a": [1], "b": [1, 2]}, "do not make a table"),
    ],
)
def test_coerce_refuses(data: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        FORM.coerce(data)


def test_parts_join_to_the_whole() -> None:
    table = sound().assign(o2=pd.Series([f"s{i}" for i in range(60)], dtype="object"), b=pd.array([True, None] * 30))
    parts = [FORM.slice(table, 0, 13), FORM.slice(table, 13, 14), FORM.slice(table, 14, 60)]
    assert equal_tables(FORM.concat(parts), table)
    assert parts == []  # the list gave its memory back
    assert equal_tables(FORM.take(table, np.array([3, 1])), table.iloc[[3, 1]])
    assert FORM.length(table) == 60


def test_class_labels_in_arrow_are_codes() -> None:
    table = pd.DataFrame({"c": pd.Series(["b", None, "a"], dtype="str"), "n": pd.Categorical([3, 1, 3])})
    schema = FORM.infer(table)
    arrow = FORM.to_arrow(table, schema)
    assert arrow.to_pydict() == {"c": [1, None, 0], "n": [3, 1, 3]}
    assert FORM.features(schema)["c"].names == ["a", "b"]


def test_finish_needs_what_has_to_be_sampled() -> None:
    schema = FORM.infer(sound())
    with pytest.raises(SchemaError, match="lacks column 'n'"):
        FORM.finish(sound().drop(columns=["key", "n"]), schema, 0)
