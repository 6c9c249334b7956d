"""Recommendations: families that exist and take the table, for few and many rows, columns, and related tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo.cli import main
from zoo.data.database import infer_database
from zoo.data.tabular import TableForm
from zoo.errors import DataError
from zoo.recommend import FEW_ROWS, MANY_COLUMNS, recommend


def schema_of(columns: int, texts: bool = False) -> zoo.Schema:
    r = np.random.default_rng(0)
    table = pd.DataFrame({f"c{i}": r.normal(size=60) for i in range(columns)})
    return TableForm().infer(table.assign(kind=pd.Categorical(r.choice(["a", "b"], 60))) if texts else table)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("rows", [1, FEW_ROWS, 10**6, 10**9])
@pytest.mark.parametrize("columns", [1, 12, MANY_COLUMNS + 10])
def test_every_recommended_family_exists_once(columns: int, rows: int, mixed: bool) -> None:
    found = recommend(schema_of(columns, mixed), rows)
    names = [advice.family for advice in found]
    assert set(names) <= set(zoo.list_generators()) and len(set(names)) == len(names) >= 2
    assert all(advice.why and advice.seconds is not None and advice.seconds > 0 for advice in found)


def test_the_first_depends_on_the_table() -> None:
    assert recommend(schema_of(12), 50)[0].family == "tabular/gaussian_copula"
    assert recommend(schema_of(12), 30_000)[0].family == "tabular/boosted"
    assert recommend(schema_of(12), 10**8)[0].family != "tabular/boosted"


def test_more_rows_take_longer() -> None:
    small, large = (recommend(schema_of(12), rows)[0] for rows in (10_000, 100_000))
    assert small.family == large.family and large.seconds > small.seconds  # type: ignore[operator]


def test_related_tables_and_nothing_to_learn() -> None:
    tables = {
        "parent": pd.DataFrame({"parent_id": np.arange(30), "x": np.arange(30.0) % 7}),
        "child": pd.DataFrame({"parent_id": np.arange(60) // 2, "y": np.arange(60) % 5}),
    }
    found = recommend(infer_database(tables), 90)
    assert [advice.family for advice in found] == ["tabular/relational"]
    alone = pd.DataFrame({"id": [f"K-{i:06d}" for i in range(80)]})
    with pytest.raises(DataError, match="no column to learn from"):
        recommend(TableForm().infer(alone), 80)


def test_the_command_says_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "t.csv"
    pd.DataFrame({"a": np.arange(2000) % 17, "b": np.arange(2000) % 3}).to_csv(file, index=False)
    with pytest.raises(SystemExit) as end:
        main(["recommend", str(file)])
    assert not end.value.code
    said = capsys.readouterr().out
    assert "2,000 rows" in said and f"zoo fit tabular/boosted {file} -o FOLDER" in said
