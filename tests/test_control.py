"""Balance, constraints, unseen combinations and imputation, on a family whose answers are exact."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from zoo import rejection
from zoo.balance import Balance, Cell
from zoo.constraints import FixedCombinations, FunctionalDependency, Inequality, Unique
from zoo.errors import ArtifactError, ConditionError, ConstraintError
from zoo.generators.tabular.gaussian_copula import GaussianCopula
from zoo.imputing import _Imputation, impute
from zoo.occurred import Occurred
from zoo.random import block_rng

ROOT = Path(__file__).parents[1]


def people(n: int = 3000) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    city = rng.choice(["Bern", "Oslo", "Rome", "Ulm"], n, p=[0.5, 0.3, 0.15, 0.05])
    land = pd.Series(city).map({"Bern": "CH", "Oslo": "NO", "Rome": "IT", "Ulm": "DE"}).astype("str")
    start = rng.normal(50, 10, n).round(2)
    return pd.DataFrame(
        {
            "id": [f"P-{i:05d}" for i in range(n)],
            "city": pd.Series(city, dtype="str"),
            "land": land,
            "age": rng.integers(18, 80, n),
            "start": start,
            "end": (start + rng.normal(3, 10, n)).round(2),
            "rich": rng.random(n) < 0.1,
            "job": pd.Series(rng.choice(["cook", "nurse"], n), dtype="str").mask(rng.random(n) < 0.2),
        }
    )


@pytest.fixture(scope="module")
def generator() -> GaussianCopula:
    made = GaussianCopula(strata=None).fit(people())
    made._block_size = 256  # several blocks in small samples
    return made


# Balance


def test_even_classes_come_evenly(generator: GaussianCopula) -> None:
    made = generator.sample(1000, balance="city", seed=1)
    assert made["city"].value_counts().to_dict() == {"Bern": 250, "Oslo": 250, "Rome": 250, "Ulm": 250}
    assert set(made["city"][:4]) == {"Bern", "Oslo", "Rome", "Ulm"}
    assert len({*made["id"]}) == 1000
    both = generator.sample(600, balance=["city", "land"], seed=1)  # four pairs occurred
    assert both.groupby(["city", "land"]).size().tolist() == [150] * 4
    crossed = generator.sample(800, balance=["city", "rich"], seed=1)
    assert crossed.groupby(["city", "rich"]).size().tolist() == [100] * 8


def test_shares_and_the_rest_as_it_comes(generator: GaussianCopula) -> None:
    made = generator.sample(2000, balance={"city": {"Ulm": 0.6}}, seed=1)["city"].value_counts(normalize=True)
    assert abs(made["Ulm"] - 0.6) < 0.005
    assert abs(made["Bern"] / (made["Bern"] + made["Oslo"] + made["Rome"]) - 0.5 / 0.95) < 0.06
    ages = generator.sample(1000, balance={"age": {(None, 25): 0.5, 60: 0.2}}, seed=1)["age"]
    assert abs((ages <= 25).mean() - 0.5) < 0.01
    assert abs((ages == 60).mean() - 0.2) < 0.01
    absent = generator.sample(100, balance={"job": {None: 0.5, "cook": 0.5}}, seed=1)["job"]
    assert absent.isna().sum() == 50


def test_balance_under_conditions(generator: GaussianCopula) -> None:
    made = generator.sample(300, balance="rich", conditions={"age": (None, 30), "city": ["Bern", "Oslo"]}, seed=1)
    assert made["rich"].sum() == 150
    assert made["age"].max() <= 30
    assert set(made["city"]) == {"Bern", "Oslo"}
    some = generator.sample(300, balance="city", conditions={"city": ["Ulm", "Rome"]}, seed=1)
    assert some["city"].value_counts().to_dict() == {"Ulm": 150, "Rome": 150}
    rows = pd.DataFrame({"age": np.arange(20, 50)})
    each = generator.sample(30, balance="rich", conditions=rows, seed=1)
    assert each["age"].tolist() == rows["age"].tolist()
    assert each["rich"].sum() == 15


def test_balance_under_a_condition_that_excludes_a_class(generator: GaussianCopula) -> None:
    with pytest.raises(ConditionError, match="never occurred"):
        generator.sample(10, balance="land", conditions={"city": "Ulm"})
    made = generator.sample(20, balance="land", conditions={"city": "Ulm"}, allow_unseen=True, seed=1)
    assert (made["land"].value_counts() == 5).all()


def test_many_classes_are_one_call_with_a_condition_a_row() -> None:
    rng = np.random.default_rng(0)
    names = np.array([f"c{i:02d}" for i in range(40)])
    table = pd.DataFrame({"c": pd.Series(rng.choice(names, 2000), dtype="str"), "x": rng.normal(size=2000)})
    generator = GaussianCopula(strata=None).fit(table)
    counts = generator.sample(400, balance="c", conditions={"x": 0.5}, seed=1)["c"].value_counts()
    assert len(counts) == 40
    assert (counts == 10).all()
    under = generator.sample(400, balance="c", constraints=["x > 0"], seed=1)
    assert (under["c"].value_counts() == 10).all()
    assert (under["x"] > 0).all()


@pytest.mark.parametrize(
    ("balance", "words"),
    [
        ("citty", "did you mean 'city'"),
        ("id", "cannot balance 'id'"),
        ("age", "has no classes"),
        ({"city": {"Ulm": 1.2}}, "from 0 to 1"),
        ({"city": {"Ulm": 0.6, "Bern": 0.6}}, "sum to 1.2"),
        ({"city": {"Paris": 0.6}}, "Paris"),
        ({"rich": {True: 0.2, False: 0.2}}, "must sum to 1"),
        ({"city": 0.3}, "as a mapping"),
        (["city", "city"], "twice"),
        ([], "must be a column"),
        (3, "must be a column"),
    ],
)
def test_what_cannot_be_balanced(generator: GaussianCopula, balance: object, words: str) -> None:
    with pytest.raises(ConditionError) as caught:
        generator.sample(10, balance=balance)
    assert words in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=8), st.integers(1, 9000), st.integers(0, 2**32))
def test_assigned_shares_are_met_within_one_a_cycle(weights: list[float], n: int, seed: int) -> None:
    shares = np.array(weights) / sum(weights)
    balance = Balance([Cell(s, {}) for s in shares])
    cell = balance.assign(0, n, seed)
    assert len(cell) == n
    assert (balance.assign(n // 3, n - n // 3, seed) == cell[n // 3 :]).all()  # blocks go on where others end
    cycles = n // 100 if not np.allclose(shares, shares[0]) else n // len(shares)
    length = len(shares) if np.allclose(shares, shares[0]) else 100
    for c in range(cycles):
        counts = np.bincount(cell[c * length : (c + 1) * length], minlength=len(shares))
        assert (np.abs(counts - shares * length) < 1 + 1e-6).all()


# Constraints


def test_rejected_rows_leave_the_familys_distribution_under_the_rule(generator: GaussianCopula) -> None:
    plain = generator.sample(20_000, seed=2)
    wanted = plain[plain["start"] <= plain["end"]]
    made = generator.sample(8_000, constraints=[Inequality("start", "end")], seed=3)
    assert len(made) == 8_000
    assert (made["start"] <= made["end"]).all()
    for name in ("start", "end"):
        error = np.hypot(wanted[name].std() / len(wanted) ** 0.5, made[name].std() / len(made) ** 0.5)
        assert abs(made[name].mean() - wanted[name].mean()) < 4 * error


@settings(max_examples=15, deadline=None)
@given(
    st.integers(18, 75),
    st.sampled_from(["<", "<=", ">", ">=", "!="]),
    st.floats(-8, 8),
    st.sampled_from([None, "rich", "city", {"city": {"Ulm": 0.5}}]),
    st.integers(0, 400),
)
def test_any_rule_that_can_be_met_is(
    generator: GaussianCopula, age: int, sign: str, gap: float, balance: object, n: int
) -> None:
    rules = [f"age >= {age}", f"start {sign} end + {gap:.2f}"]
    made = generator.sample(n, constraints=rules, balance=balance, seed=n)
    assert len(made) == n
    assert made.eval(f"({rules[0]}) & ({rules[1]})").all()
    generator.form.check(made, generator.schema)


def test_without_a_broken_rule_samples_are_what_they_are_without_it(generator: GaussianCopula) -> None:
    assert generator.sample(600, constraints=["age > 0"], seed=4).equals(generator.sample(600, seed=4))


def test_a_beginning_is_a_shorter_sample_and_a_block_depends_on_no_other(generator: GaussianCopula) -> None:
    for asked in (
        {"constraints": ["start > end + 10", "rich"]},
        {"constraints": ["start > end"], "balance": "city"},
        {"constraints": ["age > 60"], "balance": {"age": {(70, None): 0.5}}},
        {"constraints": [Unique("start"), "age < 40"]},
    ):
        whole = generator.sample(700, seed=5, **asked)
        for n in (0, 1, 255, 256, 300):
            assert generator.sample(n, seed=5, **asked).equals(whole[:n]), asked
        assert len(generator.to_dataset(300, seed=5, **asked)) == 300
    asked = {"constraints": ["start > end"], "balance": "city"}
    make = generator._block_maker(None, None, 5, asked)
    whole = generator.sample(512, seed=5, **asked)
    assert make(1).equals(whole[256:].reset_index(drop=True))
    assert next(generator.stream(batch_size=300, seed=5, **asked)).equals(whole[:300])


def test_rare_rules_become_conditions(generator: GaussianCopula, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    block = generator._sample_block
    monkeypatch.setattr(
        generator, "_sample_block", lambda n, *rest: drawn.append((n, list(rest[0]))) or block(n, *rest)
    )
    made = generator.sample(200, constraints=["age >= 79 and city == 'Ulm' and rich"], seed=6)
    assert (made["age"] >= 79).all()
    assert made["rich"].all()
    assert sum(n for n, _ in drawn) < 1500  # one of 13,000 rows fulfils it
    assert {*drawn[-1][1]} == {"age", "city", "rich"}


def test_constraints_under_conditions_a_row(generator: GaussianCopula) -> None:
    rows = pd.DataFrame({"city": ["Ulm", "Bern", "Oslo"] * 200, "age": [20, 30, 40] * 200})
    made = generator.sample(600, conditions=rows, constraints=["start > end + 8"], seed=7)
    assert made[["city", "age"]].astype({"city": "str"}).equals(rows.astype({"city": "str"}))
    assert (made["start"] > made["end"] + 8).all()


def test_what_cannot_be_met_says_how_often_it_was(generator: GaussianCopula) -> None:
    with pytest.raises(ConstraintError) as caught:
        generator.sample(10, constraints=["start > end + 1000", "age > 30"])
    assert re.search(r"'start > end \+ 1000' cannot be met often enough: of 1\d\d,\d{3} draws", str(caught.value))
    assert "'start > end + 1000' held in 0; 'age > 30' held in" in str(caught.value)
    with pytest.raises(ConstraintError, match="'age > 90' cannot be met"):
        generator.sample(10, constraints=["age > 90"])
    with pytest.raises(ConstraintError, match="lies between"):
        generator.sample(10, constraints=["age > 50", "age < 40"])
    with pytest.raises(ConstraintError, match="all together in 0"):
        generator.sample(10, balance="rich", constraints=["rich or age > 75", "rich or age < 25"])


def test_unique(generator: GaussianCopula) -> None:
    assert generator.sample(700, constraints=["unique(start)"], seed=8)["start"].is_unique  # over three blocks
    assert set(generator.sample(62, constraints=["unique(age)"], seed=8)["age"]) == set(range(18, 80))
    balanced = generator.sample(60, constraints=["unique(age)"], balance="rich", seed=8)
    assert balanced["age"].is_unique
    assert balanced["rich"].sum() == 30
    assert generator.sample(5, constraints=["unique(id)"], seed=8)["id"].is_unique
    with pytest.raises(ConstraintError, match="only 62 different values"):
        generator.sample(63, constraints=["unique(age)"])
    with pytest.raises(ConstraintError, match="sharded"):
        generator.to_iterable_dataset(1000, constraints=["unique(start)"])
    rows = list(generator.to_iterable_dataset(100, constraints=["unique(start)"], seed=8))  # one block
    assert len({r["start"] for r in rows}) == 100


def test_dependencies_and_combinations(generator: GaussianCopula) -> None:
    table = people()
    pairs = {*zip(table["city"], table["land"], strict=True)}
    for rule in (
        FixedCombinations(("city", "land"), table),
        FixedCombinations(("city", "land")),
        FunctionalDependency("city", "land", table),
        "combinations(city, land)",
        "determines(city, land)",
    ):
        made = generator.sample(500, constraints=[rule], seed=9)
        assert {*zip(made["city"], made["land"], strict=True)} <= pairs
        assert made["land"].dtype == table["land"].dtype
    chain = [
        FunctionalDependency("land", "job", {k: "cook" for k in ("CH", "NO", "IT", "DE")}),
        "determines(city, land)",
    ]
    made = generator.sample(50, constraints=chain, seed=9)
    assert set(made["job"]) == {"cook"}
    swapped = {"Bern": "NO", "Oslo": "CH", "Rome": "IT", "Ulm": "DE"}
    rule = FunctionalDependency("city", "land", swapped)
    made = generator.sample(50, constraints=[rule], conditions={"land": "NO"}, seed=9, allow_unseen=True)
    assert set(made["land"]) == {"NO"}  # what is asked of a column that is put in place holds all the same
    with pytest.raises(ConstraintError, match="did not hold in training"):
        generator.sample(5, constraints=["determines(job, city)"])
    with pytest.raises(ConstraintError, match="not recorded"):
        generator.sample(5, constraints=["combinations(city, age)"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), max_size=20), max_size=6))
def test_keys_that_are_known(parts: list[list[int]]) -> None:
    known = np.array([], dtype=np.uint64)
    seen: set[int] = set()
    for part in parts:
        keys = np.array(part, dtype=np.uint64)
        assert rejection._among(keys, known).tolist() == [k in seen for k in part]
        known = rejection._merged(known, keys)
        seen |= {*part}
        assert known.tolist() == sorted(seen)


def test_rules_on_what_is_made_anew_are_only_checked(generator: GaussianCopula) -> None:
    made = generator.sample(10, constraints=[zoo.constraints.Regex("id", r"P-\d{5}")], seed=1)
    assert made["id"].str.fullmatch(r"P-\d{5}").all()
    with pytest.raises(ConstraintError, match="made anew"):
        generator.sample(10, constraints=["id == 'P-1'"])


# What never occurred


def test_pairs_that_never_occurred_are_refused(generator: GaussianCopula) -> None:
    with pytest.raises(ConditionError, match="city='Ulm' together with land='NO' never occurred"):
        generator.sample(5, conditions={"city": "Ulm", "land": "NO"})
    assert len(generator.sample(5, conditions={"city": ["Ulm", "Oslo"], "land": "NO"}, seed=1)) == 5
    rows = pd.DataFrame({"city": ["Bern", "Ulm"], "land": ["CH", "NO"]})
    with pytest.raises(ConditionError, match="row 1: city='Ulm'"):
        generator.sample(2, conditions=rows)
    made = generator.sample(2, conditions=rows, allow_unseen=True, seed=1)
    assert made["land"].tolist() == ["CH", "NO"]


def test_one_or_two_rows_leave_no_bit() -> None:
    table = people(1000)
    table.loc[:1, ["city", "land"]] = ["Ulm", "NO"]
    record = Occurred.learn(table, zoo.create("tabular/gaussian_copula").fit(table).schema)
    again = Occurred.learn(people(1000), zoo.create("tabular/gaussian_copula").fit(people(1000)).schema)
    assert record is not None
    assert again is not None
    pairs = [{*zip(*(p.tolist() for p in r.pairs("city", "land")), strict=True)} for r in (record, again)]
    assert pairs[0] == pairs[1]
    assert Occurred.learn(people(99), record_schema()) is None


def record_schema() -> zoo.Schema:
    return zoo.create("tabular/gaussian_copula").fit(people(99)).schema


def test_what_an_update_brings_is_recorded(generator: GaussianCopula) -> None:
    class Learning(GaussianCopula):
        def update(self, data: object, *, seed: int = 0) -> "Learning":
            return self

    more = people(30)
    more.loc[:5, ["city", "land"]] = ["Ulm", "NO"]
    more.loc[6:7, ["city", "land"]] = ["Ulm", "IT"]  # two rows are too few
    learning = object.__new__(Learning)
    learning.__dict__.update(generator.__dict__)
    learning.update(more, seed=1)
    assert len(learning.sample(2, conditions={"city": "Ulm", "land": "NO"})) == 2
    with pytest.raises(ConditionError, match="never occurred"):
        learning.sample(2, conditions={"city": "Ulm", "land": "IT"})
    with pytest.raises(ConditionError, match="never occurred"):
        generator.sample(2, conditions={"city": "Ulm", "land": "NO"})


def test_large_tables_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    table, schema = people(2000), zoo.create("tabular/gaussian_copula").fit(people(2000)).schema
    rows = []
    count = Occurred._count
    monkeypatch.setattr(
        Occurred, "_count", lambda self, codes, **k: rows.append(len(codes[0])) or count(self, codes, **k)
    )
    Occurred.learn(table, schema)
    monkeypatch.setattr("zoo.occurred._MAX_WORK", 2000 * 21 / 4)  # seven columns, a fourth of the rows
    Occurred.learn(table, schema)
    assert rows == [2000, 500]


def test_a_number_and_a_category_that_exclude_each_other() -> None:
    rng = np.random.default_rng(0)
    age = rng.integers(10, 90, 3000)
    table = pd.DataFrame({"age": age, "driver": pd.Series(np.where(age < 30, "no", "yes"), dtype="str")})
    generator = GaussianCopula(strata=None).fit(table)
    with pytest.raises(ConditionError, match="never occurred"):
        generator.sample(3, conditions={"age": (None, 15), "driver": "yes"})
    assert len(generator.sample(3, conditions={"age": (None, 40), "driver": "yes"})) == 3


def test_the_record_survives_an_artifact_and_is_checked(generator: GaussianCopula, tmp_path: Path) -> None:
    generator.save(tmp_path / "a")
    loaded = zoo.load(str(tmp_path / "a"))
    with pytest.raises(ConditionError, match="never occurred"):
        loaded.sample(5, conditions={"city": "Ulm", "land": "NO"})
    assert loaded.sample(50, balance=["city", "land"], seed=1).equals(
        generator.sample(50, balance=["city", "land"], seed=1)
    )
    record = json.loads((tmp_path / "a" / "occurred.json").read_text(encoding="utf-8"))
    schema = generator.schema
    for change in (
        {"columns": ["id"]},
        {"columns": [*record["columns"], record["columns"][0]]},
        {"columns": [["city"]]},
        {"columns": None},
        {"bits": "AAAA"},
        {"bits": "?"},
        {"edges": {}},
        {"edges": {**record["edges"], "age": [3.0, 2.0]}},
        {"edges": {**record["edges"], "age": list(range(1000))}},
        {"edges": {**record["edges"], "city": [1.0]}},
        {"at_least": "3"},
        {"more": 1},
    ):
        with pytest.raises((ValueError, TypeError, zoo.ZooError)):
            Occurred.from_dict({**record, **change}, schema)
    from zoo.artifact import component_files, dump_json, write_folder

    files = {**component_files(generator), "occurred.json": dump_json({**record, "bits": "AAAA"})}
    write_folder(tmp_path / "b", generator.name, files)
    with pytest.raises(ArtifactError, match="what occurred"):
        zoo.load(str(tmp_path / "b"))


# Imputing


def correlated(n: int, seed: int) -> pd.DataFrame:
    covariance = np.full((4, 4), 0.9) + 0.1 * np.eye(4)
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.multivariate_normal(np.zeros(4), covariance, n).clip(-4, 4), columns=list("abcd"))
    table["k"] = pd.Series(np.where(table["a"] + rng.normal(0, 0.5, n) > 0, "up", "down"), dtype="str")
    return table


def with_gaps(table: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    return table.mask(np.random.default_rng(seed).random(table.shape) < share)


@pytest.fixture(scope="module")
def normal() -> GaussianCopula:
    return GaussianCopula(strata=None).fit(with_gaps(correlated(4000, 0), 0.03, 1))


@pytest.mark.parametrize("way", ["a call a pattern", "sweeps"])
def test_imputing_by_conditions_is_as_good_as_the_exact_one(
    normal: GaussianCopula, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GaussianCopula, "_impute_rows", None)
    truth = correlated(3000, 2)
    holes = with_gaps(truth, 0.3, 3)
    if way == "sweeps":
        monkeypatch.setattr(_Imputation, "_draw_all", lambda self: self._sweep(np.arange(len(self.absent))))
    filled = impute(normal, holes, seed=4)
    assert not filled.isna().any(axis=None)
    for name in truth:
        known = holes[name].notna()
        assert filled[name][known].equals(truth[name][known]), f"{name} changed"
    lost = {c: holes[c].isna() for c in "abcd"}
    rmse = {c: float(np.sqrt(((filled[c] - truth[c])[lost[c]] ** 2).mean())) for c in "abcd"}
    # Of a draw given m known columns: twice the conditional variance; for m = 4, 0.7 and 1 these are 0.52 to 1.4 apart.
    assert max(rmse.values()) < 0.68  # the exact one: 0.59; draws of the marginals: 1.41
    assert abs(filled[list("abcd")].corr().to_numpy()[0, 1] - 0.9) < 0.02
    assert impute(normal, holes, seed=4).equals(filled)


@pytest.mark.parametrize("way", ["the family's own", "generic"])
def test_tables_as_they_come_are_imputed(way: str) -> None:
    rng = np.random.default_rng(0)
    known = pd.DataFrame(
        {
            "n": rng.integers(0, 9, 400),
            "x": rng.normal(size=400).round(2),
            "c": pd.Series(rng.choice(["u", "v"], 400), dtype="str"),
            "g": pd.Categorical(rng.choice(["lo", "hi"], 400), categories=["lo", "hi"], ordered=True),
            "yes": rng.random(400) < 0.5,
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 99, 400), unit="D"),
            "id": [f"Q-{i:04d}" for i in range(400)],
        }
    )
    family = GaussianCopula if way != "generic" else type("Plain", (GaussianCopula,), {"_impute_rows": None})
    generator = object.__new__(family)
    generator.__dict__.update(GaussianCopula(strata=None).fit(known).__dict__)
    new = known[:60].copy()
    new.loc[0, "x"] = 1e6  # beyond the range
    new.loc[1, "c"] = "w"  # never seen
    for k, name in enumerate(["n", "x", "c", "g", "yes", "day"]):  # nothing was missing in training
        new[name] = new[name].mask(np.arange(60) % 6 == k).mask(np.arange(60) == 59)
    filled = generator.impute(new, seed=1)
    assert filled.dtypes.equals(known.dtypes)
    assert not filled.isna().any(axis=None)
    assert filled["x"][0] == (1e6 if new["x"].notna()[0] else filled["x"][0])
    assert filled["c"][1] == "w"
    for name in known:
        had = new[name].notna().to_numpy()
        assert (filled[name][had].astype(object) == new[name][had].astype(object)).all()
    assert generator.impute(known, seed=1).equals(known)
    for bad, words in (
        (known.assign(n=0.5), "dtype int64"),
        (known.assign(x="a"), "'x'"),
        (known[["n"]], "lacks column"),
    ):
        with pytest.raises(zoo.ZooError, match=words):
            generator.impute(bad)


def test_what_a_family_cannot_condition_on_is_taken_into_account(normal: GaussianCopula) -> None:
    class Half(GaussianCopula):
        name = "tabular/half"

        @property
        def condition_columns(self) -> tuple[str, ...]:
            return ("k",)

        _impute_rows = None

    half = object.__new__(Half)
    half.__dict__.update(normal.__dict__)
    truth = correlated(1500, 5)
    filled = impute(half, truth.assign(b=np.nan), seed=6)
    error = float(np.sqrt(((filled["b"] - truth["b"]) ** 2).mean()))
    assert error < 0.9  # given k alone: about 1.1


def test_a_row_that_the_family_rules_out_gets_the_nearest_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GaussianCopula, "_impute_rows", None)
    half = pd.Series(["a"] * 300 + ["b"] * 300, dtype="str")
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"s": half, "x": np.r_[rng.normal(0, 1, 300), rng.normal(50, 1, 300)], "y": np.arange(600.0)})
    generator = GaussianCopula(strata="s").fit(table)
    holes = table[::30].reset_index(drop=True).assign(y=np.nan)
    holes.loc[3, "s"] = "b"  # with an x of the others
    filled = generator.impute(holes, seed=1)
    assert filled["y"].notna().all()
    assert filled[["s", "x"]].equals(holes[["s", "x"]])
    usual = filled["y"].drop(3)
    assert ((usual < 300) == (filled["x"].drop(3) < 25)).all()


def test_every_family_of_tables_that_conditions_imputes() -> None:
    from zoo.capabilities import capabilities
    from zoo.registry import family

    for name in zoo.list_generators(modality="tabular"):
        declared = capabilities(family(name))
        assert ("impute" in declared) or "conditions" not in declared


# The page and the command line


def test_the_page_of_examples_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.cli import main

    text = (ROOT / "docs" / "control.md").read_text(encoding="utf-8")
    space: dict = {"print": lambda *_: None}
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(compile(block, "docs/control.md", "exec"), space)
    made, people = space["table"], space["people"]
    assert len(made) == 500
    assert made.groupby("education")["education_num"].nunique().max() == 1
    assert not made.duplicated(["fnlwgt", "age"]).any()
    assert space["filled"]["occupation"][:50].notna().all()
    assert people["income"].notna().all()
    monkeypatch.chdir(tmp_path)
    space["generator"].save("mine")
    commands = re.findall(r"^zoo (.*)$", text, flags=re.MULTILINE)
    assert len(commands) == 3
    import shlex

    for command, rows in zip(commands, (1000, 1000, 50), strict=True):
        with pytest.raises(SystemExit) as done:
            main([a.replace("tabular/gaussian_copula/adult_sample", "mine") for a in shlex.split(command)])
        assert not done.value.code
        assert len(pd.read_csv("rows.csv")) == rows
    assert pd.read_csv("rows.csv")["age"].is_unique


def test_bounds_are_what_the_page_says() -> None:
    text = (ROOT / "docs" / "control.md").read_text(encoding="utf-8")
    assert f"At most {rejection.TRIES} draws" in text
    assert f"{rejection.LEAST:,} on a call" in text
    assert block_rng(1, 2).random() != block_rng(1, 3).random()
