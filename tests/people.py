"""A made-up table with strong dependence, for the tests of the evaluation; and stand-ins for generators."""

import numpy as np
import pandas as pd


def people(n: int, seed: int = 0) -> pd.DataFrame:
    """``n`` rows: two tied numbers, a category and a label that follow from them, an instant, missing values."""
    rng = np.random.default_rng([2024, seed])
    age = rng.integers(18, 90, n)
    income = age * 900.0 + rng.normal(0, 6000, n)
    work = np.where(income > 55_000, rng.choice(["office", "law"], n), rng.choice(["shop", "farm", "school"], n))
    return pd.DataFrame(
        {
            "age": age,
            "income": np.where(rng.random(n) < 0.05, np.nan, income.round(2)),
            "work": pd.Series(np.where(rng.random(n) < 0.05, None, work), dtype="str"),
            "rich": np.where(income + rng.normal(0, 8000, n) > 55_000, "yes", "no"),
            "since": pd.Timestamp("2001-01-01") + pd.to_timedelta(rng.integers(0, 8000, n), unit="D"),
        }
    ).astype({"rich": "str"})


def independent(table: pd.DataFrame, n: int, seed: int = 0) -> pd.DataFrame:
    """Each column drawn alone, with replacement."""
    rng = np.random.default_rng([11, seed])
    return pd.DataFrame({c: table[c].iloc[rng.integers(len(table), size=n)].array for c in table})


def copies(table: pd.DataFrame, n: int, seed: int = 0) -> pd.DataFrame:
    """Whole rows of the table, with replacement."""
    rng = np.random.default_rng([12, seed])
    return table.iloc[rng.integers(len(table), size=n)].reset_index(drop=True)
