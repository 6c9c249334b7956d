"""Hybrid copula: what is left to the copula, what the network mends, conditions in law and without exception."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo.generators.tabular.hybrid_copula import HybridCopula, _excess, _triples


def crossed(n: int = 6000) -> pd.DataFrame:
    """Two signs whose product is a third, which no pair and no copula shows; a number that follows the second."""
    r = np.random.default_rng(0)
    a, b = r.integers(0, 2, n), r.integers(0, 2, n)
    c = np.where(r.random(n) < 0.05, 1 - (a ^ b), a ^ b)
    x = r.normal(size=n) + 2 * b
    names = np.array(["no", "yes"])
    return pd.DataFrame({"a": names[a], "b": names[b], "c": names[c], "x": x, "y": r.normal(size=n)})


def agreement(table: pd.DataFrame) -> float:
    """Share of rows whose third sign is the product of the others."""
    return float(((table.a != table.b) == (table.c == "yes")).mean())


@pytest.fixture(scope="module")
def fitted() -> HybridCopula:
    return HybridCopula(width=16).fit(crossed(), seed=0, train=zoo.TrainConfig(epochs=40, batch_size=200))


def test_the_network_mends_what_the_copula_gets_wrong(fitted: HybridCopula) -> None:
    assert fitted.training["steps"] > 0 and "y" not in fitted._rest.names
    copula = zoo.create("tabular/gaussian_copula", strata=None).fit(crossed())
    assert agreement(copula.sample(5000, seed=1)) < 0.6
    made = fitted.sample(5000, seed=1)
    assert agreement(made) > 0.85
    assert (made.a == "yes").mean() == pytest.approx(0.5, abs=0.05)
    assert made.x[made.b == "yes"].mean() - made.x[made.b == "no"].mean() == pytest.approx(2, abs=0.3)


def test_a_table_that_a_copula_describes_is_left_to_it() -> None:
    r = np.random.default_rng(0)
    x = r.multivariate_normal([0, 0, 0], [[1, 0.7, 0.2], [0.7, 1, 0], [0.2, 0, 1]], size=5000)
    generator = HybridCopula().fit(pd.DataFrame(x, columns=["x", "y", "z"]))
    assert generator._rest.names == () and generator.training["steps"] == 0
    assert np.corrcoef(generator.sample(5000, seed=0)[["x", "y"]].T)[0, 1] == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize("as_table", [False, True])
def test_conditions_have_the_law_of_filtering(as_table: bool, fitted: HybridCopula) -> None:
    asked = {"a": "yes", "b": "yes"}
    given = pd.DataFrame([asked] * 3000) if as_table else asked
    made = fitted.sample(3000, conditions=given, seed=1)
    assert (made.a == "yes").all() and (made.b == "yes").all()
    plain = fitted.sample(20_000, seed=2)
    plain = plain[(plain.a == "yes") & (plain.b == "yes")]
    assert (made.c == "no").mean() == pytest.approx((plain.c == "no").mean(), abs=0.05)
    assert made.x.mean() == pytest.approx(plain.x.mean(), abs=0.15)


def test_ranges_and_sets_hold_on_either_side(fitted: HybridCopula) -> None:
    made = fitted.sample(2000, conditions={"x": (1.0, 1.5), "y": (None, 0.0), "c": ["yes"]}, seed=1)
    assert made.x.between(1.0, 1.5).all() and (made.y <= 0).all() and (made.c == "yes").all()
    rows = pd.DataFrame({"x": [0.25, 1.0], "c": ["no", "yes"]})
    pd.testing.assert_frame_equal(fitted.sample(2, conditions=rows, seed=1)[["x", "c"]], rows, check_dtype=False)


def test_a_saved_one_is_the_same(fitted: HybridCopula, tmp_path: Path) -> None:
    fitted.save(tmp_path / "hybrid")
    again = zoo.load(tmp_path / "hybrid")
    pd.testing.assert_frame_equal(again.sample(500, seed=3), fitted.sample(500, seed=3))


def test_samples_of_one_law_exceed_chance_by_nothing_much() -> None:
    r = np.random.default_rng(0)
    p = r.dirichlet(np.ones(64))
    cells = [np.stack(np.unravel_index(r.choice(64, 5000, p=p), (4, 4, 4)), axis=1) for _ in range(2)]
    triples = np.array([[0, 1, 2]])
    widths = np.array([4, 4, 4])
    assert _excess(cells[0], cells[1], widths, triples)[0] < 0.01
    turned = cells[1][:, [1, 2, 0]]
    assert _excess(cells[0], turned, widths, triples)[0] > 0.2


def test_triples_are_all_or_a_choice() -> None:
    rng = np.random.default_rng(0)
    assert len(_triples(5, rng)) == 10 and _triples(2, rng).tolist() == [[0, 1, 1]]
    many = _triples(60, rng)
    assert 1500 < len(many) <= 2000 and (np.diff(many, axis=1) > 0).all()
