"""Related tables: keys, slices of root entities, the family, its engine, its evaluation, and the command line."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, ks_2samp

import zoo
from zoo._testing_data import tiny_data
from zoo.data.database import Database, DatabaseForm
from zoo.data.database_io import holds_database
from zoo.data.database_schema import infer_database
from zoo.data.relations import Relations
from zoo.data.sibling_columns import SiblingColumns, calendar_of
from zoo.errors import DataError, SchemaError
from zoo.schema import Schema
from zoo.statistics.code_tree import CodeTree

FORM = DatabaseForm()
BERKA = Path(os.environ.get("ZOO_DATA", "")) / "tabular" / "berka_relational"


@pytest.fixture(scope="module")
def shop() -> Database:
    return FORM.coerce(tiny_data("related"))


def bank(accounts: int = 150, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Accounts, and transactions of them: pay on the 12th, interest on each month's last day, a running balance."""
    rng = np.random.default_rng(seed)
    opened = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 300, accounts), unit="D")
    rows = []
    for i in range(accounts):
        balance = 0.0
        for month in pd.period_range(opened[i], "2021-01", freq="M"):
            for day, kind in ((12, "in"), (month.days_in_month, "in" if i % 2 else "out")):
                date = month.to_timestamp() + pd.Timedelta(days=day - 1)
                if date >= opened[i]:
                    amount = float(np.round(rng.gamma(3, 100 if day == 12 else 20), 1))
                    balance = round(balance + (amount if kind == "in" else -amount), 1)
                    rows.append((len(rows) + 1, i + 1, date, kind, amount, balance))
    names = ["trans_id", "account_id", "date", "kind", "amount", "balance"]
    account = pd.DataFrame({"account_id": np.arange(accounts) + 1, "opened": opened})
    return {"account": account, "trans": pd.DataFrame(rows, columns=names)}


@pytest.fixture(scope="module")
def banked() -> tuple[Database, Any, Database]:
    real = FORM.coerce(bank())
    fitted = zoo.create("tabular/relational").fit(real, seed=0)
    return real, fitted, fitted.sample(400, seed=1)


# Keys


def test_keys_are_found_by_name_and_value() -> None:
    found = Relations.of(FORM.infer(FORM.coerce(tiny_data("related"))))
    assert dict(found.keys) == {
        "shops": "shop_id", "customers": "customer_id", "orders": "order_id", "items": None, "cards": "card_id",
        "holders": None,
    }  # fmt: skip
    assert {str(k): k.parent for k in found.links} == {
        "orders.customer_id": "customers", "orders.shop_id": "shops", "items.order_id": "orders",
        "holders.card_id": "cards", "holders.customer_id": "customers",
    }  # fmt: skip
    assert found.root == "customers" and found.shared == ("shops",)


@pytest.mark.parametrize(
    ("child", "parent", "column"),
    [
        ("visits", "patients", "patient_id"),
        ("visits", "patients", "patientid"),
        ("lines", "boxes", "box_id"),
        ("child", "city", "birth_city_id"),
        ("films", "companies", "company_id"),
    ],
)
def test_spellings_of_keys(child: str, parent: str, column: str) -> None:
    own = column if column != "birth_city_id" else "city_id"
    tables = {
        parent: pd.DataFrame({own: np.arange(30) * 7, "x": np.arange(30) % 4}),
        child: pd.DataFrame({"id": np.arange(60), column: np.repeat(np.arange(30) * 7, 2)}),
    }
    found = Relations.of(infer_database(tables))
    assert [(k.child, k.column, k.parent, k.most) for k in found.links] == [(child, column, parent, 2)]


def test_keys_can_be_given() -> None:
    tables = {"a": pd.DataFrame({"x": [1, 2, 3]}), "b": pd.DataFrame({"y": [1, 1, 3], "z": [0.5, 1.5, 2.0]})}
    schema = infer_database(tables, primary_keys={"a": "x", "b": None}, foreign_keys={"b.y": "a"}, root="a")
    fitted = zoo.create("tabular/relational").fit(tables, schema=schema)
    made = fitted.sample(20, seed=0)
    FORM.check(made, schema)
    assert len(made["a"]) == 20 and made["b"]["y"].isin(made["a"]["x"]).all()
    assert Schema.from_dict(schema.to_dict()) == schema


def test_what_cannot_be_is_one_clear_error() -> None:
    staff = pd.DataFrame({"staff_id": [1, 2, 3], "chief": [1, 1, 2]})
    with pytest.raises(SchemaError, match="refers to itself by 'chief'"):
        infer_database({"staff": staff}, foreign_keys={"staff.chief": "staff"})
    with pytest.raises(SchemaError, match="join them into one column"):
        infer_database({"staff": staff}, primary_keys={"staff": ("staff_id", "chief")})
    pair = {"a": staff, "b": staff.rename(columns={"staff_id": "b_id", "chief": "c"})}
    with pytest.raises(SchemaError, match="in a circle"):
        infer_database(pair, foreign_keys={"a.chief": "b", "b.c": "a"}, primary_keys={"a": "staff_id", "b": "b_id"})
    with pytest.raises(SchemaError, match="no key, values repeat"):
        infer_database({"staff": staff}, primary_keys={"staff": "chief"})
    with pytest.raises(DataError, match="dict of names to tables"):
        FORM.coerce({"a": [1, 2], "b": [3, 4]})


def test_orphans_are_reported_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    tables = tiny_data("related")
    orders = tables["orders"].copy()
    orders.loc[:2, "customer_id"] = "C-9999"
    with caplog.at_level("INFO", logger="zoo"):
        fitted = zoo.create("tabular/relational").fit(tables | {"orders": orders})
    assert fitted.training["orphans"]["orders.customer_id"] == 3
    assert "orders.customer_id: 3 of" in caplog.text and "C-9999" in caplog.text
    FORM.check(fitted.sample(30, seed=0), fitted.schema)


# Slices


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=5))
def test_slices_resolve_and_join_to_the_whole(cuts: list[int]) -> None:
    made = zoo.create("tabular/relational")  # a sample: its rows stand in the order of their owners
    whole = _sampled(made)
    ends = [0, *sorted(cuts), 60]
    parts = [FORM.slice(whole, a, b) for a, b in pairwise(ends)]
    schema = FORM.infer(whole)
    for part in parts:
        for link in part.relations.links:
            assert (part.parents(link) >= 0).all(), str(link)
        if len(part.root):
            FORM.check(part, schema)
    assert FORM.equal(FORM.concat(parts), whole)


_MADE: dict[str, Database] = {}


def _sampled(family: Any) -> Database:
    if not _MADE:
        _MADE["shop"] = family.fit(tiny_data("related"), seed=0).sample(60, seed=0)
    return _MADE["shop"]


def test_a_slice_holds_what_belongs_to_its_entities(shop: Database) -> None:
    part = FORM.slice(shop, 10, 20)
    chosen = shop["customers"]["customer_id"][10:20]
    orders = shop["orders"][shop["orders"]["customer_id"].isin(chosen)]
    pd.testing.assert_frame_equal(part["orders"], orders.reset_index(drop=True))
    assert len(part["items"]) == shop["items"]["order_id"].isin(orders["order_id"]).sum()
    assert len(part["shops"]) == 3


def test_rows_for_hugging_face_nest_what_belongs_together(shop: Database) -> None:
    table = FORM.to_arrow(shop, FORM.infer(shop)).to_pylist()
    assert len(table) == len(shop.root)
    for row in table[:10]:
        own = shop["orders"][shop["orders"]["customer_id"] == row["customers"]["customer_id"]]
        assert [o["order_id"] for o in row["orders"]] == own["order_id"].tolist()
        assert {s["shop_id"] for s in row["shops"]} == set(own["shop_id"])


# The engine


def test_a_tree_keeps_conditional_distributions() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, (40_000, 3)).astype(np.int32)
    chances = np.array([[0.7, 0.2, 0.1, 0.0], [0.1, 0.1, 0.1, 0.7], [0.25] * 4, [0.0, 0.5, 0.5, 0.0]])
    y = (rng.random(len(x))[:, None] > chances[x[:, 1]].cumsum(axis=1)).sum(axis=1)
    tree = CodeTree.grow(x, y, 4, 50, rng)
    for value in range(4):
        given_ = np.tile(np.array([[1, value, 2]], dtype=np.int32), (20_000, 1))
        counts = np.bincount(tree.draw(given_, rng), minlength=4)
        assert np.abs(counts / 20_000 - chances[value]).max() < 0.06
    assert (tree.draw(x, rng, least=np.full(len(x), 2)) != 0).all()
    drawn = tree.draw(x, rng, least=np.full(len(x), 2))
    assert set(np.unique(drawn)) <= {-1, 2, 3}


def test_the_only_leaf_draws_as_often_as_counted() -> None:
    rng = np.random.default_rng(1)
    y = np.repeat([0, 3, 4], [100, 500, 400])
    tree = CodeTree.grow(np.zeros((1000, 0), np.int32), y, 6, 30, rng)
    counts = np.bincount(tree.draw(np.zeros((10_000, 0), np.int32), rng), minlength=6)[[0, 3, 4]]
    assert chisquare(counts, [1000, 5000, 4000]).pvalue > 1e-4


@pytest.mark.parametrize("harm", ["circle", "feature", "falling", "codes", "short"])
def test_a_tampered_tree_is_refused(harm: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 9, (2000, 2)).astype(np.int32)
    arrays = {k: v.copy() for k, v in CodeTree.grow(x, x[:, 0], 9, 30, rng).arrays().items()}
    CodeTree.of(arrays, 9, 2)
    if harm == "circle":
        arrays["nodes"][2, np.flatnonzero(arrays["nodes"][0] >= 0)[-1]] = 0
    elif harm == "feature":
        arrays["nodes"][0, 0] = 7
    elif harm == "falling":
        arrays["upto"][1] = 5.0
    elif harm == "codes":
        arrays["codes"][0] = 9
    else:
        arrays["upto"], arrays["codes"] = arrays["upto"][:-1], arrays["codes"][:-1]
    with pytest.raises(ValueError, match="tree"):
        CodeTree.of(arrays, 9, 2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 900)), min_size=1, max_size=40))
def test_days_of_the_calendar_come_back(pairs: list[tuple[int, int]]) -> None:
    before = np.array([d for d, _ in pairs]) * 86_400.0
    time = before + np.array([g for _, g in pairs]) * 86_400.0
    columns = SiblingColumns(Schema(modality="tabular"), {}, [], 16)
    on, day = columns.month_codes(time, before)
    assert np.array_equal(columns.time_of(on, day, before), time)
    month, place, size = calendar_of(time)
    stamps = pd.to_datetime(time, unit="s")
    assert np.array_equal(place + 1, stamps.day) and np.array_equal(size, stamps.days_in_month)
    assert np.array_equal(month, (stamps.year - 1970) * 12 + stamps.month - 1)


# The family


def test_what_goes_on_from_row_to_row_goes_on(banked: tuple[Database, Any, Database]) -> None:
    real, fitted, made = banked
    columns = fitted._models["trans"].columns
    assert columns.running is not None and columns.running.from_zero and columns.calendar
    assert columns.reference == "account.opened"
    trans = made["trans"]
    signed = np.where(trans["kind"] == "in", 1, -1) * trans["amount"]
    before = trans.groupby("account_id")["balance"].shift(fill_value=0.0)
    inside = (trans["balance"] > real["trans"]["balance"].min()) & (trans["balance"] < real["trans"]["balance"].max())
    assert (trans["balance"] - before - signed).abs()[inside].max() < 0.06
    days = trans["date"].dt.day
    assert ((days == 12) | trans["date"].dt.is_month_end).mean() > 0.98
    assert (trans.groupby("account_id")["date"].diff().dropna() >= pd.Timedelta(0)).all()
    opened = trans["account_id"].map(made["account"].set_index("account_id")["opened"])
    assert (trans["date"] >= opened).mean() > 0.999


def test_children_are_as_many_as_in_training(banked: tuple[Database, Any, Database]) -> None:
    real, _, made = banked
    counts = [
        d["trans"]["account_id"].value_counts().reindex(d["account"]["account_id"], fill_value=0) for d in (real, made)
    ]
    assert ks_2samp(*counts).statistic < 0.12
    assert counts[1].max() <= counts[0].max()


def test_second_parents_are_shared_as_in_training() -> None:
    made = zoo.create("tabular/relational").fit(tiny_data("related"), seed=0).sample(600, seed=0)
    assert (made["holders"]["card_id"].value_counts() <= 2).all()
    assert made["holders"]["customer_id"].is_unique
    assert made["holders"]["card_id"].value_counts().mean() > 1.5


def test_keys_are_new_and_shared_tables_are_kept(banked: tuple[Database, Any, Database], shop: Database) -> None:
    real, _, made = banked
    assert not made["account"]["account_id"].isin(real["account"]["account_id"]).any()
    pd.testing.assert_frame_equal(_sampled(zoo.create("tabular/relational"))["shops"], shop["shops"])


def test_a_copied_key_is_copied() -> None:
    rng = np.random.default_rng(0)
    regions = pd.DataFrame({"region_id": np.arange(12), "name": [f"region {i}" for i in range(12)]})
    homes = pd.DataFrame({"home_id": np.arange(600), "region_id": rng.integers(0, 12, 600)})
    people = pd.DataFrame({"person_id": np.arange(1200), "home_id": np.repeat(np.arange(600), 2)})
    moved = rng.random(1200) < 0.2
    people["region_id"] = np.where(moved, rng.integers(0, 12, 1200), homes["region_id"].to_numpy()[people["home_id"]])
    tables = {"regions": regions, "homes": homes, "people": people}
    fitted = zoo.create("tabular/relational").fit(tables)
    assert fitted._models["people"].columns.copies == {"region_id": "homes.region_id"}
    made = fitted.sample(1000, seed=0)
    home = made["people"]["home_id"].map(made["homes"].set_index("home_id")["region_id"])
    assert abs((made["people"]["region_id"] == home).mean() - (0.8 + 0.2 / 12)) < 0.04


def test_missing_references_stay_missing_as_often() -> None:
    rng = np.random.default_rng(0)
    tables = {
        "owners": pd.DataFrame({"owner_id": np.arange(200), "age": rng.integers(20, 80, 200)}),
        "cars": pd.DataFrame({"car_id": np.arange(300), "owner_id": rng.integers(0, 200, 300)}),
        "garages": pd.DataFrame({"garage_id": np.arange(150), "size": rng.integers(1, 5, 150)}),
    }
    at = np.where(rng.random(300) < 0.3, np.nan, rng.integers(0, 150, 300))
    tables["cars"]["garage_id"] = at
    made = zoo.create("tabular/relational").fit(tables).sample(500, seed=0)
    assert abs(made["cars"]["garage_id"].isna().mean() - 0.3) < 0.08
    known = made["cars"]["garage_id"].dropna()
    assert known.isin(made["garages"]["garage_id"]).all()


def test_private_databases_pull_extremes_in() -> None:
    tables = bank(60)
    tables["trans"].loc[5, "amount"] = 1e6
    schema = FORM.infer(FORM.coerce(tables)).replace(private=True)
    fitted = zoo.create("tabular/relational").fit(tables, schema=schema)
    assert fitted.schema.tables["trans"]["amount"].maximum < 1e5
    FORM.check(fitted.sample(20, seed=0), fitted.schema)


def test_a_tampered_artifact_is_one_clear_error(tmp_path: Path, banked: tuple[Database, Any, Database]) -> None:
    import json

    from zoo.artifact import open_artifact, restore_component, write_folder

    _, fitted, _ = banked
    fitted.save(tmp_path / "a")
    opened = open_artifact(tmp_path / "a")
    files = {name: opened.read(name) for name in opened.files}
    for change in ({"anchor": "trans"}, {"anchor": "no such"}, {"ratio": 0}, {"columns": {}}):
        state = json.loads(files["state.json"]) | change
        write_folder(tmp_path / "b", fitted.name, files | {"state.json": json.dumps(state).encode()})
        with pytest.raises(zoo.ZooError, match="does not describe a valid"):
            restore_component(type(fitted), open_artifact(tmp_path / "b"))


# Evaluation


def test_scores_of_real_made_and_naive_tables(banked: tuple[Database, Any, Database]) -> None:
    real, _, made = banked
    report = zoo.evaluate(real, made, quick=True, metrics=["fidelity.*", "*siblings*"])
    assert report["fidelity.keys"].value == 1.0
    assert report["fidelity.cardinality"].value > 0.85
    assert report["fidelity.parent_child"].value > report["fidelity.parent_child"].anchors["naive"]
    assert "detection.joined_auc" not in report
    assert report["detection.siblings_auc"].value < 0.8 < 0.95 < report["detection.siblings_auc"].anchors["naive"]
    assert "related tables" in report.notes[0]


def test_orphans_count_against_the_synthetic(banked: tuple[Database, Any, Database]) -> None:
    real, _, made = banked
    broken = dict(made) | {"trans": made["trans"].assign(account_id=7)}
    assert zoo.evaluate(real, broken, metrics="fidelity.keys")["fidelity.keys"].value == 0.0


# Files and the command line


def test_fit_sample_and_evaluate_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from zoo.cli import main

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(list(arguments))
        assert not stopped.value.code, capsys.readouterr().err
        return capsys.readouterr().out

    real = bank(12)
    (tmp_path / "real").mkdir()
    real["account"].to_csv(tmp_path / "real" / "account.csv", index=False)
    real["trans"].to_csv(tmp_path / "real" / "trans.csv.gz", index=False)
    assert holds_database(tmp_path / "real")
    run("fit", "tabular/relational", str(tmp_path / "real"), "-o", str(tmp_path / "artifact"))
    for target, suffix in (("made.csv", ".csv"), ("made", ".parquet")):
        run("sample", str(tmp_path / "artifact"), "-n", "50", "-o", str(tmp_path / target), "--seed", "1")
        names = sorted(p.name for p in (tmp_path / target).iterdir())
        assert names == [f"account{suffix}", f"trans{suffix}"]
    assert FORM.equal(FORM.read(str(tmp_path / "made")), FORM.read(str(tmp_path / "made.csv")))
    out = run(
        "evaluate", str(tmp_path / "real"), str(tmp_path / "made"), "-o", str(tmp_path / "report.html"), "--quick"
    )
    assert "fidelity.cardinality" in out and (tmp_path / "report.html").stat().st_size > 1000


@pytest.mark.skipif(not BERKA.is_dir(), reason="the Berka bank is not on this machine")
def test_berka() -> None:
    real = FORM.read(str(BERKA))
    assert real.relations.root == "client" and real.relations.shared == ("district",)
    fitted = zoo.create("tabular/relational").fit(real, seed=0)
    assert fitted._models["trans_1993"].columns.running.column == "balance"
    made = fitted.sample(1500, seed=0)
    FORM.check(made, fitted.schema)
    assert len(made["client"]) == 1500
    kinds = made["disp"].groupby("account_id")["type"].agg(list).map(tuple)
    assert kinds.isin([("OWNER",), ("OWNER", "DISPONENT")]).mean() > 0.995


def test_very_many_categories_in_a_sequence_in_time() -> None:
    rng = np.random.default_rng(0)
    places = np.repeat([f"place {i}" for i in range(1200)], 3)
    tables = {
        "riders": pd.DataFrame({"rider_id": np.arange(900), "age": rng.integers(18, 80, 900)}),
        "rides": pd.DataFrame(
            {
                "rider_id": np.repeat(np.arange(900), 4),
                "when": pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.integers(0, 10**6, 3600), unit="s"),
                "to": pd.Series(rng.permutation(places), dtype="str"),
            }
        ),
    }
    fitted = zoo.create("tabular/relational").fit(tables)
    assert fitted._models["rides"].columns.binned.sizes["to"] <= 1000
    made = fitted.sample(300, seed=0)
    FORM.check(made, fitted.schema)
    assert made["rides"]["to"].nunique() > 500
