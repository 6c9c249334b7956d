"""Schemas as people write them: YAML there and back, overrides, what is refused, and what ``zoo schema`` shows."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo.data.schema_view import missing_shares, schema_rows
from zoo.data.table_check import check_table
from zoo.data.table_overrides import conform
from zoo.data.tabular import TableForm
from zoo.errors import SchemaError
from zoo.schema import Column, ForeignKey, Schema

N = 80


def people() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": [f"P-{i:05d}" for i in range(N)],
            "zip": [f"{i * 7919 % 99991:05d}" for i in range(N)],
            "age": rng.integers(18, 80, N),
            "amount": np.where(rng.random(N) < 0.5, 0, np.round(rng.gamma(2, 50, N), 2)),
            "grade": rng.choice(["high", "low", "mid"], N),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, N), "D"),
            "took": pd.to_timedelta(rng.integers(1, 9, N), "h"),
            "mail": [f"someone{i}@where.org" for i in range(N)],
            "gone": np.where(rng.random(N) < 0.2, np.nan, rng.normal(size=N)),
        }
    )


def test_yaml_there_and_back(tmp_path: Path) -> None:
    schema = zoo.infer_schema(people()).replace(
        primary_key="id", foreign_keys=(ForeignKey(column="zip", parent="places", parent_column="code"),), private=True
    )
    assert Schema.from_yaml(schema.to_yaml()) == schema
    schema.to_yaml(tmp_path / "schema.yaml")
    assert Schema.from_yaml(tmp_path / "schema.yaml") == schema
    assert zoo.infer_schema(people(), tmp_path / "schema.yaml") == schema
    assert zoo.infer_schema(people(), schema) == schema


def test_names_and_categories_that_yaml_would_misread() -> None:
    table = pd.DataFrame({"yes": ["no", "on", "1"] * 9, "1": ["null", "~", "2024-01-01"] * 9, "a: b": [1, 2, 3] * 9})
    schema = zoo.infer_schema(table)
    assert Schema.from_yaml(schema.to_yaml()) == schema


def test_what_is_not_said_is_found_in_the_data() -> None:
    table = people()
    schema = zoo.infer_schema(table, {"zip": "category", "age": {"maximum": 120, "unit": "years"}, "amount": "float"})
    plain = zoo.infer_schema(table)
    assert schema["zip"].kind == "category" and len(schema["zip"].categories) == N
    assert (schema["age"].minimum, schema["age"].maximum, schema["age"].unit) == (table["age"].min(), 120, "years")
    assert schema["when"] == plain["when"]
    check_table(table, schema)


@pytest.mark.parametrize(
    ("column", "fields", "kind"),
    [
        ("grade", {"kind": "ordinal", "categories": ["low", "mid", "high"]}, "ordinal"),
        ("age", "category", "category"),
        ("age", "ordinal", "ordinal"),
        ("age", "float", "float"),
        ("mail", {"kind": "category", "pii": None}, "category"),
        ("zip", "identifier", "identifier"),
        ("zip", {"kind": "text"}, "text"),
        ("amount", {"masses": [0.0], "decimals": 1}, "float"),
    ],
)
def test_kinds_can_be_overruled_and_are_learned(column: str, fields: Any, kind: str) -> None:
    table = people()
    schema = zoo.infer_schema(table, {column: fields})
    assert schema[column].kind == kind
    made = zoo.create("tabular/gaussian_copula").fit(table, schema=schema).sample(50, seed=0)
    check_table(made, schema)


def test_an_overruled_dtype_is_brought_about() -> None:
    table = people()
    grade = {"kind": "ordinal", "dtype": "category", "categories": ["low", "mid", "high"]}
    schema = zoo.infer_schema(table, {"grade": grade, "age": {"dtype": "float32"}})
    changed = conform(table, schema)
    check_table(changed, schema)
    assert list(changed["grade"].cat.categories) == ["low", "mid", "high"] and changed["grade"].cat.ordered
    assert table["age"].dtype == "int64"


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("columns:\n  agee: integer\n", "no column 'agee'; did you mean 'age'"),
        ("columns:\n  age: {kind: integr}\n", "unknown kind 'integr'; did you mean 'integer'"),
        ("columns:\n  age: {maximun: 3}\n", "'age' has no field 'maximun'; did you mean 'maximum'"),
        ("colums:\n  age: integer\n", "unknown field 'colums'; did you mean 'columns'"),
        ("columns:\n  age: {maximum: old}\n", "maximum must be a number, not 'old'"),
        ("columns:\n  age: {minimum: 99, maximum: 3}\n", "minimum 99 is above maximum 3"),
        ("columns:\n  amount: {decimals: two}\n", "decimals must be a whole number"),
        ("columns:\n  age: {nullable: perhaps}\n", "nullable must be true or false, not 'perhaps'"),
        ("columns:\n  gone: {nullable: false}\n", "nullable is false, and row"),
        ("columns:\n  age: {decimals: 2}\n", "kind 'integer' has no decimals"),
        ("columns:\n  grade: {kind: integer}\n", "cannot be of kind 'integer': it holds string values"),
        ("columns:\n  amount: {kind: integer}\n", "is no whole number"),
        ("columns:\n  grade: {kind: identifier}\n", "stands twice; of kind 'text'"),
        ("columns:\n  grade: {kind: boolean}\n", "it has 3 different values"),
        ("columns:\n  grade: {dtype: int64}\n", "cannot be brought to dtype 'int64'"),
        ("columns:\n  grade: {dtype: spam}\n", "dtype"),
        ("columns:\n  when: {minimum: soon}\n", "minimum must be a time"),
        ("columns:\n  age: [1, 2]\n", "must have fields such as kind"),
        ("columns: {}\nprimary_key: idd\n", "key or unit 'idd' is no column; did you mean 'id'"),
        ("columns:\n  age: integer\n  age: float\n", "'age' stands twice"),
        ("columns: [\n", "is no YAML, line 2"),
        ("- 1\n- 2\n", "must be a mapping"),
        ("columns: {}\nmodality: image\n", "modality is 'tabular'"),
    ],
)
def test_mistakes_are_one_clear_line(yaml: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text(yaml)
    with pytest.raises(SchemaError) as raised:
        zoo.infer_schema(people(), path)
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_a_missing_file_and_a_column_without_kind(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"cannot read schema .*none\.yaml: No such file"):
        zoo.infer_schema(people(), tmp_path / "none.yaml")
    with pytest.raises(SchemaError, match=r"column 'age' has no kind.*zoo\.infer_schema"):
        Schema.from_yaml("columns:\n  age: {unit: years}\n")


def test_fields_of_unknown_origin_have_their_types() -> None:
    for fields, words in (
        ({"minimum": [1]}, "minimum must be a number"),
        ({"pattern": 3}, "pattern must be text"),
        ({"categories": "abc"}, "categories must be a list"),
        ({"categories": [{"a": 1}]}, "categories cannot hold"),
        ({"masses": ["x"]}, "masses cannot hold 'x'"),
        ({"kind": ["integer"]}, "unknown kind"),
    ):
        with pytest.raises(SchemaError, match=words):
            Column.from_dict({"name": "x", "kind": "integer", "dtype": "int64", **fields})


def test_the_view_says_what_people_want_to_know() -> None:
    table = people()
    schema = zoo.infer_schema(table).replace(primary_key="id")
    rows = {row[0]: row for row in schema_rows(schema, missing_shares(table))}
    assert rows["id"][1] == "identifier" and rows["id"][4] == "primary key; counts on from P-00080"
    assert rows["zip"][1] == "identifier" and rows["zip"][4] == "like 99999"
    assert rows["amount"][4].endswith("2 decimals; often 0")
    assert rows["mail"][4].endswith("personal (email): made up")
    assert rows["gone"][3] == f"{100 * table['gone'].isna().mean():.2g} %" and rows["age"][3] == "none"
    assert rows["took"][4].endswith("whole hours")
    assert rows["grade"][4] == "high, low, mid"


def test_point_masses() -> None:
    rng = np.random.default_rng(1)
    hours = np.where(rng.random(500) < 0.4, 40, rng.integers(1, 90, 500))
    column = zoo.infer_schema(pd.DataFrame({"hours": hours}))["hours"]
    assert column.masses == (40,)
    few = zoo.infer_schema(pd.DataFrame({"n": rng.integers(0, 4, 500)}))["n"]
    assert few.masses == ()
    assert dataclasses.replace(column, masses=(0, 40)).to_dict()["masses"] == [0, 40]


def test_texts_missing_together_with_another_column_stay_so() -> None:
    rng = np.random.default_rng(2)
    gone = rng.random(400) < 0.3
    table = pd.DataFrame(
        {"x": rng.normal(size=400), "note": [f"this is the note number {i} of all" for i in range(400)]}
    )
    table["other"] = [f"code {i * 7919 % 10**6:06d}" for i in range(400)]
    table.loc[gone, ["x", "note", "other"]] = np.nan
    schema = zoo.infer_schema(table)
    assert schema["note"].kind == schema["other"].kind == "text"
    made = TableForm().finish(table[["x"]], schema, 0, seed=3)
    assert (made["note"].isna() == gone).all() and (made["other"].isna() == gone).all()
    alone = zoo.infer_schema(table[["note", "other"]])
    made = TableForm().finish(pd.DataFrame(index=range(400)), alone, 0, seed=3)
    assert (made["note"].isna() == made["other"].isna()).all() and 0.2 < made["note"].isna().mean() < 0.4
