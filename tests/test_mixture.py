"""Mixture: sums against enumeration, laws against filtering, densities, artifacts that are not sound, odd columns."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import zoo
from zoo.errors import ConditionError
from zoo.generators.tabular.mixture import Mixture
from zoo.statistics.alias_table import AliasTable
from zoo.statistics.hidden_tree import HiddenTree, chow_liu, draw_each, mutual_information
from zoo.statistics.hidden_tree_em import expected_counts, learn_tree, log_likelihoods


def dependent(n: int = 4000) -> pd.DataFrame:
    r = np.random.default_rng(0)
    x = r.normal(size=n)
    kind = np.where(x + 0.5 * r.normal(size=n) > 0.5, "high", "low")
    gaps = pd.Series(2 * x + 0.5 * r.normal(size=n)).mask(r.random(n) < 0.2)
    return pd.DataFrame({"x": x, "y": gaps, "kind": kind, "steps": r.poisson(np.exp(x / 2))})


@pytest.fixture(scope="module")
def fitted() -> Mixture:
    return Mixture(states=32, bins=50).fit(dependent(), seed=0)


# The statistics below


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_alias_tables_hold_their_distributions_exactly(k: int, seed: int) -> None:
    r = np.random.default_rng(seed)
    weights = r.dirichlet(np.full(k, 0.3), size=6)
    weights[r.random(weights.shape) < 0.3] = 0.0
    table = AliasTable(weights)
    got = np.zeros((6, k))
    rows = np.repeat(np.arange(6), k)
    np.add.at(got, (rows, np.tile(np.arange(k), 6)), table._keep / k)
    np.add.at(got, (rows, table._other), (1 - table._keep) / k)
    full = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, 1.0)
    assert got == pytest.approx(full / full.sum(axis=1, keepdims=True), abs=1e-12)
    assert not got[(full == 0)].any()


def test_alias_tables_draw_their_distributions() -> None:
    weights = np.array([[1.0, 2.0, 0.0, 5.0], [0.0, 0.0, 3.0, 1.0]])
    rows = np.repeat([0, 1], 20_000)
    drawn = AliasTable(weights).draw(rows, np.random.default_rng(0))
    for row, share in enumerate(weights / weights.sum(axis=1, keepdims=True)):
        counts = np.bincount(drawn[rows == row], minlength=4)
        assert counts[share == 0].sum() == 0
        assert stats.chisquare(counts[share > 0], 20_000 * share[share > 0]).pvalue > 1e-3


def test_rows_of_weights_draw_no_outcome_without_weight() -> None:
    weights = np.tile(np.array([0.0, 0.25, 0.0, 0.75, 0.0], dtype=np.float32), (20_000, 1))
    drawn = draw_each(weights, np.random.default_rng(0))
    assert set(drawn.tolist()) == {1, 3} and (drawn == 3).mean() == pytest.approx(0.75, abs=0.01)


def test_a_chain_of_columns_is_found() -> None:
    r = np.random.default_rng(0)
    a = r.integers(0, 40, 5000)
    b = (a + r.integers(0, 4, 5000)) % 40
    c = (b + r.integers(0, 4, 5000)) % 40
    d = r.integers(0, 3, 5000)
    codes = np.stack([a, c, b, d], axis=1)
    parents, order = chow_liu(codes, [40, 40, 40, 3], r)
    edges = {frozenset((i, int(p))) for i, p in enumerate(parents) if p >= 0}
    assert {frozenset((0, 2)), frozenset((1, 2))} <= edges
    place = {int(c): i for i, c in enumerate(order)}
    assert all(p < 0 or place[int(p)] < place[i] for i, p in enumerate(parents))


def test_mutual_information_is_that_of_the_tables() -> None:
    r = np.random.default_rng(1)
    a = r.integers(0, 2, 200_000)
    b = np.where(r.random(200_000) < 0.9, a, 1 - a)
    want = np.log(2) + 0.9 * np.log(0.9) + 0.1 * np.log(0.1)
    got = mutual_information(np.stack([a, b, r.integers(0, 5, 200_000)], axis=1), [2, 2, 5])
    assert got[0, 1] == pytest.approx(want, abs=0.005) and got[0, 2] == pytest.approx(0, abs=1e-4)


def random_tree(seed: int, states: int = 3) -> HiddenTree:
    r = np.random.default_rng(seed)
    moves = r.dirichlet(np.ones(states), size=(4, states))
    moves[1] = moves[1, :1]
    emissions = [r.dirichlet(np.ones(k), size=states).T.astype(np.float32) for k in (2, 3, 4, 2)]
    return HiddenTree(np.array([1, -1, 1, 2]), np.array([1, 0, 2, 3]), moves.astype(np.float32), emissions)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_upward_pass_is_the_sum_over_all_states(seed: int) -> None:
    tree = random_tree(seed)
    every = np.array(list(itertools.product(*(range(len(e)) for e in tree.emissions))))
    want = np.zeros(len(every))
    for z in itertools.product(range(3), repeat=4):
        chance = tree.moves[1][0, z[1]] * tree.moves[0][z[1], z[0]] * tree.moves[2][z[1], z[2]]
        chance = chance * tree.moves[3][z[2], z[3]]
        want += chance * np.prod([tree.emissions[c][every[:, c], z[c]] for c in range(4)], axis=0)
    got = np.exp(tree.up(tree.evidence(every)).log_likelihood)
    assert got == pytest.approx(want, rel=1e-4) and got.sum() == pytest.approx(1, abs=1e-5)
    # Nothing known of two columns: the sum over them.
    part = tree.evidence(every)
    part[0] = part[3] = None
    marginal = np.exp(tree.up(part).log_likelihood)
    for codes, value in zip(every[::7], marginal[::7], strict=True):
        alike = (every[:, 1] == codes[1]) & (every[:, 2] == codes[2])
        assert value == pytest.approx(want[alike].sum(), rel=1e-4)


def test_states_given_evidence_have_the_law_of_bayes() -> None:
    tree, n = random_tree(3), 40_000
    known = [None, None, tree.emissions[2][[1]], None]  # code 1 of column 2, for all rows
    r = np.random.default_rng(0)
    shared = tree.draw_states(n, tree.up(known).below, r)
    each = tree.draw_states(n, tree.up([None, None, np.repeat(known[2], n, axis=0), None]).below, r)
    want = tree.moves[1][0] * (tree.moves[2] @ tree.emissions[2][1])
    for states in (shared, each):
        assert np.bincount(states[1], minlength=3) / n == pytest.approx(want / want.sum(), abs=0.012)
        codes = tree.draw_codes(0, states[0], r)
        root = want / want.sum()
        expected = tree.emissions[0] @ (root @ tree.moves[0])
        assert np.bincount(codes, minlength=2) / n == pytest.approx(expected, abs=0.012)


def test_expected_counts_are_those_of_all_rows_and_learning_raises_the_likelihood() -> None:
    r = np.random.default_rng(0)
    first = r.integers(0, 3, 900)
    codes = np.stack([first, (first + (r.random(900) < 0.1)) % 3, r.integers(0, 2, 900)], axis=1)
    learned = learn_tree(codes, [3, 3, 2], [0, 0, 0], 4, r, epochs=30)
    moves, emissions = expected_counts(learned.tree, codes)
    assert moves.sum(axis=(1, 2)) == pytest.approx([900] * 3, rel=1e-4)
    for c in range(3):
        assert emissions[c].sum(axis=1) == pytest.approx(np.bincount(codes[:, c]), rel=1e-4)
    entropy = np.log(3) + np.log(2) - 0.9 * np.log(0.9) - 0.1 * np.log(0.1)
    assert -log_likelihoods(learned.tree, codes).mean() == pytest.approx(entropy, abs=0.06)
    assert learned.steps == 30 * -(-810 // 101) and learned.stopped_by == "epochs"


def test_limits_of_learning_are_kept() -> None:
    noise = np.random.default_rng(0).integers(0, 4, (600, 3))
    short = learn_tree(noise, [4] * 3, [0] * 3, 4, np.random.default_rng(0), max_steps=5)
    assert short.steps == 5 and short.stopped_by == "max_steps"
    late = learn_tree(noise, [4] * 3, [0] * 3, 4, np.random.default_rng(0), max_seconds=1e-9)
    assert late.steps == 1 and late.stopped_by == "max_minutes"
    patient = learn_tree(noise, [4] * 3, [0] * 3, 16, np.random.default_rng(0), epochs=400, patience=2)
    assert patient.stopped_by == "early_stopping" and patient.epochs < 400


# The family


def test_a_dependent_table_is_learned(fitted: Mixture) -> None:
    table, made = dependent(), fitted.sample(20_000, seed=1)
    assert made.x.corr(made.y) == pytest.approx(table.x.corr(table.y), abs=0.05)
    assert made.x.corr(made.steps) == pytest.approx(table.x.corr(table.steps), abs=0.06)
    assert made.y.isna().mean() == pytest.approx(0.2, abs=0.02)
    for kind in ("high", "low"):
        assert made.x[made.kind == kind].mean() == pytest.approx(table.x[table.kind == kind].mean(), abs=0.08)


@pytest.mark.parametrize("as_table", [False, True])
def test_conditions_hold_and_have_the_law_of_filtering(as_table: bool, fitted: Mixture) -> None:
    asked = pd.DataFrame({"kind": ["high"] * 8000}) if as_table else {"kind": "high"}
    made, plain = fitted.sample(8000, conditions=asked, seed=2), fitted.sample(60_000, seed=3)
    assert (made.kind == "high").all()
    plain = plain[plain.kind == "high"]
    assert stats.ks_2samp(made.x, plain.x).pvalue > 1e-3
    assert stats.ks_2samp(made.y.dropna(), plain.y.dropna()).pvalue > 1e-3


def test_ranges_sets_and_missing_values_hold_in_law(fitted: Mixture) -> None:
    plain = fitted.sample(200_000, seed=4)
    made = fitted.sample(4000, conditions={"x": (1.03, 1.5), "y": (0.5, None), "steps": [1, 2, 4]}, seed=1)
    assert made.x.between(1.03, 1.5).all() and (made.y >= 0.5).all() and made.steps.isin([1, 2, 4]).all()
    kept = plain[plain.x.between(1.03, 1.5) & (plain.y >= 0.5) & plain.steps.isin([1, 2, 4])]
    assert stats.ks_2samp(made.y, kept.y).pvalue > 1e-3 and stats.ks_2samp(made.x, kept.x).pvalue > 1e-3
    assert (made.steps == 2).mean() == pytest.approx((kept.steps == 2).mean(), abs=0.04)
    assert fitted.sample(500, conditions={"y": None}, seed=1).y.isna().all()
    assert set(fitted.sample(500, conditions={"x": [0.25, -0.5]}, seed=1).x) == {0.25, -0.5}
    rows = pd.DataFrame({"x": [0.5, -0.5, 1.0], "y": [1.0, np.nan, 2.0], "kind": ["low", "high", "low"]})
    got = fitted.sample(3, conditions=rows, seed=1)[["x", "y", "kind"]]
    pd.testing.assert_frame_equal(got, rows, check_dtype=False)


def test_what_never_occurred_is_refused() -> None:
    table = pd.DataFrame({"a": ["x", "y"] * 50, "b": range(100)})
    schema = Mixture().form.infer(table)
    columns = [replace(c, categories=("x", "y", "z")) if c.name == "a" else c for c in schema]
    wider = schema.replace(columns=tuple(columns))
    fitted = Mixture(states=4).fit(table, schema=wider)
    assert set(fitted.sample(500, seed=0).a) == {"x", "y"}
    with pytest.raises(ConditionError, match="'a'"):
        fitted.sample(5, conditions={"a": "z"})
    with pytest.raises(ConditionError, match="row 1"):
        fitted.sample(2, conditions=pd.DataFrame({"a": ["x", "z"]}))


def test_imputed_values_have_the_law_of_the_rest(fitted: Mixture) -> None:
    table = dependent()
    filled = fitted.impute(table.assign(y=np.nan), seed=0)
    assert not filled.y.isna().any() and filled.x.equals(table.x)
    known = table.y.notna()
    assert filled.y.corr(table.x) == pytest.approx(table.y[known].corr(table.x[known]), abs=0.05)


def test_densities_sum_to_one_and_agree_with_samples() -> None:
    r = np.random.default_rng(0)
    a = r.choice(["u", "v", "w"], 3000, p=[0.6, 0.3, 0.1])
    b = r.integers(0, 4, 3000) + (a == "u")
    fitted = Mixture(states=8, bins=3).fit(pd.DataFrame({"a": a, "b": b}), seed=0)
    every = pd.DataFrame(list(itertools.product(["u", "v", "w"], range(5))), columns=["a", "b"])
    chance = np.exp(fitted.log_prob(every))
    assert chance.sum() == pytest.approx(1, abs=1e-4)
    made = fitted.sample(40_000, seed=1)
    for (x, y), p in zip(every.itertuples(index=False), chance, strict=True):
        assert ((made.a == x) & (made.b == y)).mean() == pytest.approx(p, abs=0.01)


def test_the_density_of_a_number_integrates_to_one(fitted: Mixture) -> None:
    lone = Mixture(states=4, bins=20).fit(dependent()[["x"]], seed=0)
    low, high = lone.schema["x"].minimum, lone.schema["x"].maximum
    grid = np.linspace(low, high, 200_001)
    density = np.exp(lone.log_prob(pd.DataFrame({"x": grid})))
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=0.01)
    assert np.isfinite(fitted.log_prob(dependent())).all()


def test_an_unsound_artifact_is_refused(fitted: Mixture) -> None:
    def broken(**changes: np.ndarray) -> None:
        other = Mixture(states=32, bins=50)
        other._schema = fitted.schema
        other._set_arrays({**fitted._arrays(), **changes})

    arrays = fitted._arrays()
    broken()
    for key, value in {
        "parents": np.zeros_like(arrays["parents"]),
        "order": arrays["order"][::-1].copy(),
        "moves": -arrays["moves"],
        "emissions": np.full_like(arrays["emissions"], np.nan),
    }.items():
        with pytest.raises(ValueError, match=r"tree|fit|probabilities"):
            broken(**{key: value})


def test_a_hundred_thousand_categories_train_and_can_be_asked_for() -> None:
    r = np.random.default_rng(0)
    name = pd.Series([f"n{i}" for i in r.permutation(np.r_[np.arange(100_000), r.integers(0, 500, 5000)])])
    table = pd.DataFrame({"name": pd.Categorical(name), "x": r.normal(size=len(name))})
    fitted = Mixture(states=8).fit(table, train=zoo.TrainConfig(max_steps=3))
    assert sum(a.nbytes for a in fitted._arrays().values()) < 2_000_000
    assert fitted.sample(2000, seed=0).name.nunique() > 1000
    rows = table[["name"]].head(20)
    assert fitted.sample(20, conditions=rows, seed=0).name.tolist() == name[:20].tolist()


def test_wide_tables_do_not_underflow() -> None:
    r = np.random.default_rng(0)
    common = r.normal(size=500)
    table = pd.DataFrame({f"c{i}": common + 0.1 * r.normal(size=500) for i in range(120)})
    fitted = Mixture(states=8, bins=20).fit(table, train=zoo.TrainConfig(max_steps=60))
    assert np.isfinite(fitted.log_prob(table)).all()
    assert fitted.sample(500, seed=0).corr().to_numpy().mean() > 0.35
