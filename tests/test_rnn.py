"""The RNN learns processes whose answers are known."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo.data.timeseries import SeriesBatch
from zoo.errors import ConditionError, DataError, OptionError, SchemaError

N, T = 400, 16


def process(n: int = N) -> SeriesBatch:
    """Two kinds of series: ``low`` reverts to 0 with memory 0.8, ``high`` to 5 with none and is a third as long; a
    channel that is twice the first, read three times out of four; a category that tells the sign of the first."""
    rng = np.random.default_rng(0)
    high = rng.random(n) < 0.4
    x = np.zeros((n, T))
    x[:, 0] = rng.normal(size=n)
    for t in range(1, T):
        x[:, t] = np.where(high, 0.0, 0.8) * x[:, t - 1] + rng.normal(size=n) * np.where(high, 1.0, 0.6)
    twice = np.where(rng.random((n, T)) < 0.25, np.nan, 2 * x)
    lengths = np.where(high, rng.integers(4, 7, n), T)
    inside = np.arange(T)[None, :] < lengths[:, None]
    values = np.stack([x + 5 * high[:, None], twice], axis=2)
    static = pd.DataFrame(
        {
            "kind": pd.Series(np.where(high, "high", "low"), dtype="str"),
            "weight": np.where(high, 70.0, 60.0) + rng.random(n),
        }
    )
    return SeriesBatch(
        np.where(inside[:, :, None], values, np.nan),
        channels=("x", "twice"),
        lengths=lengths,
        categories=np.where(inside, x > 0, -1)[:, :, None].astype(np.int64),
        category_channels=("sign",),
        category_values=(("minus", "plus"),),
        static=static,
    )


@pytest.fixture(scope="module")
def fitted() -> Any:
    train = zoo.TrainConfig(progress=False, max_steps=300, num_threads=1)
    return zoo.create("timeseries/rnn", width=32, bins=24).fit(process(), seed=0, train=train)


@pytest.fixture(scope="module")
def made(fitted: Any) -> SeriesBatch:
    return fitted.sample(1500, seed=1)


def test_attributes_and_lengths_come_as_they_occurred(made: SeriesBatch) -> None:
    real = process()
    high = (made.static["kind"] == "high").to_numpy()
    assert abs(high.mean() - (real.static["kind"] == "high").mean()) < 0.05
    assert (made.lengths[~high] == T).all() and set(made.lengths[high]) == {4, 5, 6}
    assert made.static["weight"][high].between(70, 71).mean() > 0.8  # a bin that spans both kinds is drawn from evenly
    assert made.static["weight"][~high].between(60, 61).mean() > 0.9


def test_means_and_memory_of_the_classes_are_learned(made: SeriesBatch) -> None:
    high = (made.static["kind"] == "high").to_numpy()
    x = made.values[:, :, 0].astype(np.float64)
    assert abs(np.nanmean(x[high]) - 5) < 0.25 and abs(np.nanmean(x[~high])) < 0.25
    low = x[~high]
    memory = np.corrcoef(low[:, :-1].ravel(), low[:, 1:].ravel())[0, 1]
    assert 0.7 < memory < 0.9  # 0.8 in the process, 0.0 of independent steps
    short = x[high][:, :4]
    ranks = [pd.Series(part.ravel()).rank() for part in (short[:, :-1], short[:, 1:])]
    assert np.corrcoef(*ranks)[0, 1] < 0.55  # 0 in the process; a tenth of the steps that were learned from
    assert 0.8 < low.std() < 1.2  # 1 in the process


def test_channels_of_a_step_depend_on_each_other(made: SeriesBatch) -> None:
    high = (made.static["kind"] == "high").to_numpy()[:, None]
    x = made.values[:, :, 0] - 5 * high
    both = made.mask.all(2)
    assert np.corrcoef(2 * x[both], made.values[:, :, 1][both])[0, 1] > 0.88  # 1 in the process, 0 of chance
    inside = made.inside
    agree = (made.categories[:, :, 0] == 1)[inside] == (x > 0)[inside]
    assert agree.mean() > 0.9


def test_values_are_missing_as_often(made: SeriesBatch) -> None:
    inside = made.inside
    assert made.mask[:, :, 0][inside].all()
    assert abs(made.mask[:, :, 1][inside].mean() - 0.75) < 0.04
    assert (made.categories[:, :, 0][inside] >= 0).all() and (made.categories[:, :, 0][~inside] == -1).all()


def test_conditions_hold_and_matter(fitted: Any) -> None:
    high = fitted.sample(200, conditions={"kind": "high"}, seed=2)
    assert (high.static["kind"] == "high").all() and np.nanmean(high.values[:, :, 0]) > 4.5
    with pytest.raises(ConditionError, match="weight"):
        fitted.sample(2, conditions={"weight": 60.5})
    with pytest.raises(ConditionError, match="'x'"):
        fitted.sample(2, conditions={"x": 1.0})


def test_length_and_temperature_are_kept(fitted: Any) -> None:
    assert (fitted.sample(9, length=7, seed=0).lengths == 7).all()
    with pytest.raises(OptionError, match="length=17"):
        fitted.sample(1, length=17)
    cold, warm = (fitted.sample(300, conditions={"kind": "low"}, temperature=t, seed=0) for t in (0.3, 1.0))
    assert np.nanstd(cold.values[:, :, 0]) < 0.8 * np.nanstd(warm.values[:, :, 0])


def test_extending_goes_on_from_what_is_given(fitted: Any) -> None:
    given = process(600)[400:]
    given = given[np.asarray(given.static["kind"] == "low")]
    prefix = dataclasses.replace(
        given.padded(T), lengths=np.full(len(given), 5), mask=given.mask & (np.arange(T) < 5)[None, :, None]
    )
    longer = fitted.extend(prefix, seed=3)
    assert fitted.form.starts_with(longer, fitted.form.coerce(prefix)) and (longer.lengths == T).all()
    last, following = longer.values[:, 4, 0], longer.values[:, 5, 0]
    assert np.corrcoef(last, following)[0, 1] > 0.5
    assert fitted.form.equal(fitted.extend(prefix, seed=3), longer)
    with pytest.raises(OptionError, match="length=4"):
        fitted.extend(prefix, length=4)
    whole = fitted.extend(given, seed=3)
    assert fitted.form.equal(whole, fitted.form.coerce(given, fitted.schema))  # nothing is left to write


def test_a_prefix_of_other_channels_is_refused(fitted: Any) -> None:
    with pytest.raises(SchemaError, match="'twice'"):
        fitted.extend(np.zeros((2, 3, 1)))
    with pytest.raises(DataError, match="no series"):
        fitted.extend(process()[:0])


def test_identifiers_among_the_attributes_are_made_anew() -> None:
    batch = dataclasses.replace(
        process(60), static=pd.DataFrame({"id": pd.Series([f"S-{i:04d}" for i in range(60)], dtype="str")})
    )
    train = zoo.TrainConfig(progress=False, max_steps=2, num_threads=1)
    generator = zoo.create("timeseries/rnn", width=8, cell="lstm", layers=2).fit(batch, train=train)
    made = generator.sample(300, seed=0)
    assert made.static["id"].is_unique and generator.condition_columns == ()
    generator.form.check(made, generator.schema)


def test_private_extremes_stay_inside() -> None:
    batch = process(100)
    batch.values[3, 0, 0] = 900.0
    schema = zoo.create("timeseries/rnn").form.infer(batch).replace(private=True)
    train = zoo.TrainConfig(progress=False, max_steps=2, num_threads=1)
    generator = zoo.create("timeseries/rnn", width=8).fit(batch, schema=schema, train=train)
    assert generator.schema["x"].maximum < 20
    assert all(np.abs(a).max(initial=0) < 800 for n, a in generator._arrays().items() if n.startswith("events."))
