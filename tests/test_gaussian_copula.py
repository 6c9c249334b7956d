"""The Gaussian copula: exact conditions and imputation, strata, odd tables, altered artifacts, private tables."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file
from scipy import stats

import zoo
from zoo.data.tabular import TableForm
from zoo.errors import ArtifactError, ConditionError, ConfigError
from zoo.generators.tabular.gaussian_copula import GaussianCopula


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def mixed(n: int = 6000) -> pd.DataFrame:
    """A number, an integer with missing values, an unordered and an ordered category, all dependent."""
    r = rng()
    z = r.multivariate_normal(np.zeros(4), np.full((4, 4), 0.6) + 0.4 * np.eye(4), n)
    count = pd.array(np.rint(10 + 3 * z[:, 1]), dtype="Int64")
    count[r.random(n) < stats.norm.cdf(z[:, 0] - 1)] = pd.NA
    size = pd.Categorical.from_codes(np.digitize(z[:, 3], [-0.5, 0.6]), ["s", "m", "l"], ordered=True)
    city = np.array(["Oslo", "Bern", "Rome", "Kyiv"])[np.digitize(z[:, 2], [-0.8, 0.0, 1.0])]
    return pd.DataFrame({"x": z[:, 0], "count": count, "city": city, "size": size})


@pytest.fixture(scope="module")
def fitted() -> GaussianCopula:
    return GaussianCopula(strata=None).fit(mixed(), seed=0)


@pytest.fixture(scope="module")
def plain(fitted: GaussianCopula) -> pd.DataFrame:
    return fitted.sample(200_000, seed=9)


CONDITIONS: dict[str, tuple[dict[str, Any], Any]] = {
    "equal": ({"city": "Rome"}, lambda t: t.city == "Rome"),
    "integer": ({"count": 12}, lambda t: (t["count"] == 12).fillna(False)),
    "set": ({"city": ["Oslo", "Kyiv"]}, lambda t: t.city.isin(["Oslo", "Kyiv"])),
    "range": ({"x": (0.5, 2.0)}, lambda t: t.x.between(0.5, 2.0)),
    "open": ({"x": (None, -1.0)}, lambda t: t.x <= -1),
    "ordinal": ({"size": ("m", None)}, lambda t: t["size"] >= "m"),
    "missing": ({"count": None}, lambda t: t["count"].isna()),
    "missing or": ({"count": [None, 5, 14]}, lambda t: t["count"].isna() | t["count"].isin([5, 14])),
    "several": (
        {"city": ["Oslo", "Rome"], "x": (-1.0, 1.0), "size": "l"},
        lambda t: t.city.isin(["Oslo", "Rome"]) & t.x.between(-1, 1) & (t["size"] == "l"),
    ),
    "contrary": ({"x": (1.0, None), "count": (None, 9)}, lambda t: (t.x >= 1) & (t["count"] <= 9).fillna(False)),
}


def same_law(a: pd.DataFrame, b: pd.DataFrame) -> None:
    assert len(b) > 300
    for name in a:
        x, y = a[name], b[name]
        if name in ("x", "count"):
            assert abs(x.isna().mean() - y.isna().mean()) < 0.02 + 4 / np.sqrt(4 * len(b))
            x, y = (v.dropna().astype(float) for v in (x, y))
            if name == "count":  # by frequencies: integers have ties, for which the test of Kolmogorov is no test
                x, y = (v.clip(3, 17) for v in (x, y))
            elif len(x):
                assert stats.ks_2samp(x, y).pvalue > 1e-4, name
                continue
        values = sorted(set(x) | set(y))
        if len(values) > 1:
            counts = np.array([[(v == k).sum() for k in values] for v in (x, y)])
            counts = counts[:, counts.sum(axis=0) >= 10]
            assert stats.chi2_contingency(counts).pvalue > 1e-4, name


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_give_what_filtering_does(name: str, fitted: GaussianCopula, plain: pd.DataFrame) -> None:
    asked, holds = CONDITIONS[name]
    made = fitted.sample(5000, conditions=asked, seed=1)
    assert holds(made).all()
    same_law(made, plain[holds(plain)])


def test_a_table_of_conditions_is_kept_row_by_row(fitted: GaussianCopula, plain: pd.DataFrame) -> None:
    asked = pd.DataFrame({"city": ["Rome", "Bern"] * 2500, "count": pd.array([12, None] * 2500, dtype="Int64")})
    made = fitted.sample(5000, conditions=asked, seed=1)
    pd.testing.assert_frame_equal(made[["city", "count"]], asked, check_dtype=False)
    for row, wanted in enumerate(
        ((plain.city == "Rome") & (plain["count"] == 12).fillna(False), (plain.city == "Bern") & plain["count"].isna())
    ):
        same_law(made.iloc[row::2], plain[wanted])


def test_imputation_has_the_conditional_mean_and_variance() -> None:
    r = rng()
    x = r.normal(size=20_000)
    table = pd.DataFrame({"x": x, "y": 0.8 * x + 0.6 * r.normal(size=20_000)})
    table.loc[r.random(20_000) < 0.1, "y"] = np.nan
    generator = GaussianCopula().fit(table)
    for at in (-1.0, 0.0, 1.5):
        gaps = pd.DataFrame({"x": np.full(4000, at), "y": np.nan})
        y = generator.impute(gaps, seed=1).y
        assert y.mean() == pytest.approx(0.8 * at, abs=0.06)
        assert y.std() == pytest.approx(0.6, abs=0.04)


def test_imputation_fills_gaps_and_leaves_the_rest(fitted: GaussianCopula) -> None:
    table = mixed()
    filled = fitted.impute(table, seed=0)
    assert not filled["count"].isna().any()
    known = table["count"].notna()
    pd.testing.assert_frame_equal(filled[known], table[known])
    assert TableForm().equal(filled, fitted.impute(table, seed=0))


def test_rows_that_training_never_saw_are_imputed_too() -> None:
    """Each value is known to the schema, but not in the stratum of the row."""
    r = rng()
    s = ["a"] * 600 + ["b"] * 600
    x = np.r_[r.normal(size=600), r.normal(size=600) + 99]
    y = pd.Series(x + 0.1 * r.normal(size=1200)).mask(r.random(1200) < 0.1)
    k = ["u"] * 600 + r.choice(["v", "w"], 600).tolist()
    table = pd.DataFrame({"s": s, "x": x, "k": k, "y": y})
    generator = GaussianCopula(strata="s").fit(table)
    assert len(generator._weights) == 2
    rows = pd.DataFrame({"s": ["a", "a", "b"], "x": [99.0, 0.0, 0.0], "k": ["u", "v", "u"], "y": [np.nan] * 3})
    filled = generator.impute(rows, seed=0)
    pd.testing.assert_frame_equal(filled.drop(columns="y"), rows.drop(columns="y"))
    assert filled.y.notna().all() and filled.y[0] < 5  # the row is an "a": its greatest values, not those of "b"


# Points of continuous numbers


@pytest.mark.parametrize("as_table", [False, True])
def test_a_point_speaks_for_the_stratum_in_which_it_is_dense(as_table: bool) -> None:
    r, n = rng(), 8000
    s = np.repeat(["narrow", "wide"], n // 2)
    x = r.normal(size=n) * np.where(s == "wide", 30, 1)
    generator = GaussianCopula(strata="s").fit(pd.DataFrame({"s": s, "x": x}))
    asked = pd.DataFrame({"x": np.full(4000, 0.01)}) if as_table else {"x": 0.01}
    made = generator.sample(4000, conditions=asked, seed=0)
    assert (made.x == 0.01).all()
    assert (made.s == "narrow").mean() == pytest.approx(30 / 31, abs=0.02)


def test_the_least_and_greatest_number_can_be_asked_for(fitted: GaussianCopula) -> None:
    x = mixed().x
    for end in (x.min(), x.max()):
        made = fitted.sample(2000, conditions={"x": float(end)}, seed=0)
        assert (made.x == end).all()
        assert (made.city == ("Oslo" if end < 0 else "Kyiv")).mean() > 0.5
        table = fitted.sample(3, conditions=pd.DataFrame({"x": np.full(3, end), "size": ["s", "m", "l"]}), seed=0)
        assert (table.x == end).all()


def test_twin_columns_can_be_given_together() -> None:
    """What two columns with one content were rounded to, and where they are missing, differs by a little."""
    r = rng()
    z = r.normal(size=1500)
    twin = pd.Series(z + 1).mask(r.random(1500) < 0.2)
    table = pd.DataFrame({"a": z, "b": twin, "c": z.astype("float32"), "d": np.exp(z) * 1e-300, "e": z * 1e300})
    generator = GaussianCopula().fit(table)
    filled = generator.impute(table, seed=0)
    assert not filled.isna().any(axis=None)
    gaps = twin.isna()
    assert np.corrcoef(filled.b[gaps], z[gaps])[0, 1] > 0.98


# Strata


def crossed(n: int = 3000) -> pd.DataFrame:
    r = rng()
    kind = r.choice(["up", "down"], n)
    x = r.normal(size=n)
    return pd.DataFrame({"kind": kind, "x": x, "y": np.where(kind == "up", x, -x) + 0.2 * r.normal(size=n) + 2})


def test_strata_are_chosen_by_name_by_themselves_or_not_at_all() -> None:
    table = crossed()
    for strata, number in (("kind", 2), (None, 1), ("auto", 2)):
        generator = GaussianCopula(strata=strata).fit(table)
        assert len(generator._weights) == number
        made = generator.sample(4000, seed=0)
        up = made[made.kind == "up"]
        assert (np.corrcoef(up.x, up.y)[0, 1] > 0.9) == (number == 2)
    assert len(GaussianCopula().fit(table.head(500))._weights) == 1  # too few rows a class


@pytest.mark.parametrize("name", ["x", "nothing"])
def test_a_stratum_that_is_no_discrete_column_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"strata='{name}' is no discrete column"):
        GaussianCopula(strata=name).fit(crossed(200))


def test_what_never_occurs_together_is_refused() -> None:
    table = pd.DataFrame(
        {"s": ["a"] * 600 + ["b"] * 600, "x": np.r_[rng().normal(size=600), rng().normal(size=600) + 99]}
    )
    generator = GaussianCopula(strata="s").fit(table)
    with pytest.raises(ConditionError, match="never occurred in training"):
        generator.sample(1, conditions={"s": "a", "x": (90.0, None)})
    with pytest.raises(ConditionError, match="never occurred in training"):
        generator.sample(1, conditions=pd.DataFrame({"s": ["a"], "x": [99.0]}))


# Odd tables


def test_odd_columns_come_back_and_can_be_asked_for() -> None:
    r, n = rng(), 800

    def holes(values: Any) -> pd.Series:
        return pd.Series(values).mask(r.random(n) < 0.2)

    seconds = r.integers(0, 10**7, n)
    table = pd.DataFrame(
        {
            "auto": r.choice(["a", "b"], n),
            "text": holes(r.choice(["x", "None", "nan", ""], n)),
            "": np.round(r.normal(size=n), 2),
            "ünï ✓": pd.Timestamp("2020-01-01", tz="Europe/Berlin") + pd.to_timedelta(seconds, unit="s"),
            "span": holes(pd.to_timedelta(seconds, unit="ms")),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(r.integers(0, 999, n), unit="D"),
            "truth": holes(pd.array(r.random(n) < 0.3, dtype="boolean")),
            "grade": pd.Categorical(r.integers(1, 5, n) * 10),
            "byte": r.integers(0, 256, n).astype("uint8"),
            "huge": r.normal(size=n) * 1e300,
            "tiny": r.random(n) * 1e-300,
            "nothing": [None] * n,
            "same": 7,
        }
    )
    generator = GaussianCopula().fit(table)
    made = generator.sample(300, seed=0)
    generator.form.check(made, generator.schema)
    for name in generator.condition_columns:
        value = table[name].dropna().iloc[0]
        assert (generator.sample(50, conditions={name: value}, seed=1)[name] == value).all(), name
    filled = generator.impute(table, seed=0)
    assert not filled.drop(columns="nothing").isna().any(axis=None)


def test_a_schema_may_know_more_than_the_data() -> None:
    form = TableForm()
    full = pd.DataFrame({"x": [1.5, 2.5, None], "k": ["a", "b", "a"]})
    generator = GaussianCopula().fit(full.assign(x=[np.nan] * 3), schema=form.infer(full))
    assert generator.sample(20, seed=0).x.isna().all()


def test_twenty_thousand_categories() -> None:
    name = rng().permutation(np.r_[np.arange(20_000), rng().integers(0, 20_000, 20_000)]).astype(str)
    table = pd.DataFrame({"name": name, "x": rng().normal(size=40_000)})
    generator = GaussianCopula().fit(table)
    assert generator.sample(40_000, seed=0).name.nunique() > 11_000
    assert (generator.sample(10, conditions={"name": name[0]}, seed=0).name == name[0]).all()


def test_three_hundred_columns_keep_their_correlations() -> None:
    factor = rng().normal(size=(3, 300))
    table = pd.DataFrame(rng(1).normal(size=(1000, 3)) @ factor + rng(2).normal(size=(1000, 300)))
    table.columns = [f"c{i}" for i in range(300)]
    generator = GaussianCopula().fit(table)
    made = generator.sample(2000, seed=0)
    assert np.abs(made.corr() - table.corr()).to_numpy().mean() < 0.04
    row = table.iloc[:2].drop(columns="c7")
    given = generator.sample(2, conditions=row, seed=0)
    np.testing.assert_array_equal(given[row.columns], row)


# Artifacts


def change(folder: Path, edit: Any) -> None:
    """Alter the arrays of an artifact and make its manifest true again, as an attacker would."""
    file = folder / "model.safetensors"
    arrays = load_file(file)
    edit(arrays)
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, file)
    manifest = json.loads((folder / "manifest.json").read_text())
    about = manifest["files"]["model.safetensors"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if isinstance(about, dict):
        about |= {"sha256": digest} | ({"size": file.stat().st_size} if "size" in about else {})
    else:
        manifest["files"]["model.safetensors"] = digest
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _no_correlation(arrays: dict[str, np.ndarray]) -> None:
    size = arrays["correlation"].shape[-1]
    arrays["correlation"] = np.full((1, size, size), -0.9, np.float32) + 1.9 * np.eye(size, dtype=np.float32)


def _lopsided(arrays: dict[str, np.ndarray]) -> None:
    arrays["correlation"][0, 0, 1] += 0.2


def _fall(arrays: dict[str, np.ndarray]) -> None:
    arrays["0.value.0"] = arrays["0.value.0"][::-1]


def _twice(arrays: dict[str, np.ndarray]) -> None:
    arrays["order.0"][:] = 0


def _shares(arrays: dict[str, np.ndarray]) -> None:
    arrays["0.class.0"] = arrays["0.class.0"] * 2


def _nan(arrays: dict[str, np.ndarray]) -> None:
    arrays["0.missing"][:] = np.nan


def _less(arrays: dict[str, np.ndarray]) -> None:
    del arrays["weights"]


@pytest.mark.parametrize("edit", [_no_correlation, _lopsided, _fall, _twice, _shares, _nan, _less])
def test_an_altered_artifact_gives_one_error(edit: Any, fitted: GaussianCopula, tmp_path: Path) -> None:
    fitted.save(tmp_path / "a")
    change(tmp_path / "a", lambda arrays: None)
    assert zoo.load(str(tmp_path / "a")).is_ready  # the manifest is accepted: it is the arrays that are refused
    change(tmp_path / "a", edit)
    with pytest.raises(ArtifactError) as error:
        zoo.load(str(tmp_path / "a"))
    assert "\n" not in str(error.value)


def test_a_private_table_leaves_no_rare_value_in_the_files(tmp_path: Path) -> None:
    r, n = rng(), 2000
    city = r.choice(["Oslo", "Bern"], n).astype(object)
    city[:3] = "Lonelyville"
    city[3:12] = [f"Hamlet{i}" for i in range(9)]
    income = r.integers(20_000, 60_000, n).astype(float)
    income[0], income[1] = 123_456_789.0, -987_654.0
    table = pd.DataFrame({"city": city, "income": income})
    schema = TableForm().infer(table).replace(private=True)
    generator = GaussianCopula().fit(table, schema=schema)
    generator.save(tmp_path / "a")
    files = {p.name: p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file()}
    for name, data in files.items():
        for secret in (b"Lonelyville", b"Hamlet", b"123456789", b"987654"):
            assert secret not in data, name
        for number in (123_456_789.0, -987_654.0):
            assert np.float64(number).tobytes() not in data and np.float32(number).tobytes() not in data
    made = generator.sample(5000, seed=0)
    assert set(made.city) == {"Oslo", "Bern", "(rare)"}
    assert made.income.between(20_000, 60_000).all()
