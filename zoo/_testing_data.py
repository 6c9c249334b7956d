"""Tiny, odd and bad data of each modality, for ``zoo.testing``."""

from typing import Any

import numpy as np
import pandas as pd

from zoo.data.image import ImageBatch
from zoo.data.timeseries import SeriesBatch


def tiny_data(modality: str) -> Any:
    """A small data set with several kinds, missing values and dependence; always the same."""
    rng = np.random.default_rng(7)
    make: dict[str, Any] = {
        "tabular": _table, "timeseries": _series, "image": _images, "text": _texts, "related": _tables
    }  # fmt: skip
    return make[modality](rng)


def _table(rng: np.random.Generator, n: int = 160) -> pd.DataFrame:
    age = rng.integers(18, 80, n)
    income = np.round(age * 120 + rng.normal(0, 900, n), 2)
    place = rng.choice(["north", "south", "east"], n, p=[0.5, 0.3, 0.2])
    return pd.DataFrame(
        {
            "number": [f"P-{i:05d}" for i in range(n)],
            "age": age,
            "income": np.where(rng.random(n) < 0.1, np.nan, income),
            "place": pd.Series(place, dtype="str").mask(rng.random(n) < 0.1),
            "member": age + rng.normal(0, 10, n) > 50,
            "grade": pd.Categorical(
                rng.choice(["low", "mid", "high"], n), categories=["low", "mid", "high"], ordered=True
            ),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
            "bonus": np.where(rng.random(n) < 0.7, 0, rng.integers(1, 500, n)),
            "country": pd.Series(["X"] * n, dtype="str"),
        }
    )


def _tables(rng: np.random.Generator, n: int = 60) -> dict[str, pd.DataFrame]:
    """Shops that all share; customers; their orders in time, of several items each; cards of some of two customers."""
    age = rng.integers(18, 80, n)
    counts = rng.poisson(age / 25)
    customer = np.repeat(np.arange(n), counts)
    m = len(customer)
    days = rng.integers(1, 40, m)
    since = np.repeat(rng.integers(0, 300, n), counts)
    first = np.append(True, customer[1:] != customer[:-1])
    spent = np.cumsum(days) - np.repeat((np.cumsum(days) - days)[first], counts[counts > 0])
    paid = np.round(rng.gamma(2, 20, m), 2)
    items = rng.integers(0, 4, m)
    order = np.repeat(np.arange(m), items)
    card = np.flatnonzero(rng.random(n) < 0.6)
    return {
        "shops": pd.DataFrame({"shop_id": [10, 20, 30], "town": pd.Series(["Bern", "Oslo", "Rome"], dtype="str")}),
        "customers": pd.DataFrame(
            {
                "customer_id": [f"C-{i:04d}" for i in range(n)],
                "age": age,
                "town": pd.Series(rng.choice(["Bern", "Oslo"], n), dtype="str").mask(rng.random(n) < 0.2),
            }
        ),
        "orders": pd.DataFrame(
            {
                "order_id": np.arange(m) + 500,
                "customer_id": [f"C-{i:04d}" for i in customer],
                "shop_id": rng.choice([10, 20, 30], m),
                "day": pd.Timestamp("2021-01-01") + pd.to_timedelta(since + spent, unit="D"),
                "paid": np.where(rng.random(m) < 0.1, np.nan, paid),
            }
        ),
        "items": pd.DataFrame(
            {"order_id": order + 500, "what": pd.Series(rng.choice(["tea", "rice", "salt"], len(order)), dtype="str")}
        ),
        "cards": pd.DataFrame(
            {"card_id": np.arange(len(card) // 2) + 1, "limit": rng.integers(1, 9, len(card) // 2) * 100}
        ),
        "holders": pd.DataFrame(
            {
                "card_id": np.repeat(np.arange(len(card) // 2) + 1, 2),
                "customer_id": [f"C-{i:04d}" for i in card[: len(card) // 2 * 2]],
                "main": np.tile([True, False], len(card) // 2),
            }
        ),
    }


def _series(rng: np.random.Generator, n: int = 40, t: int = 12) -> SeriesBatch:
    kind = rng.integers(0, 2, n)
    steps = rng.normal(0, 1, (n, t, 2)).cumsum(axis=1) + kind[:, None, None] * 3
    lengths = rng.integers(5, t + 1, n)
    values = steps.astype(np.float32)
    values[rng.random(values.shape) < 0.05] = np.nan
    values[np.arange(t)[None, :] >= lengths[:, None]] = np.nan
    static = pd.DataFrame({"kind": pd.Series(np.array(["calm", "busy"])[kind], dtype="str"), "floor": kind + 1})
    return SeriesBatch(values, channels=("load", "heat"), lengths=lengths, static=static)


def _images(rng: np.random.Generator, n: int = 48) -> ImageBatch:
    labels = np.arange(n) % 3
    pixels = rng.integers(0, 60, (n, 8, 9, 1))
    pixels[np.arange(n), 2 * labels + 1] += 180  # one bright row a class
    return ImageBatch(pixels.astype(np.uint8), labels, ("top", "middle", "bottom"))


def _texts(rng: np.random.Generator, n: int = 60) -> pd.DataFrame:
    greetings, things = ["hello", "good morning", "dear friend"], ["the train", "your parcel", "our café"]
    texts, labels = [], []
    for i in range(n):
        spam = bool(i % 3 == 0)
        thing = things[int(rng.integers(3))]
        greeting = greetings[int(rng.integers(3))]
        number = int(rng.integers(100, 999))
        texts.append(f"WIN {thing} now!!! call {number}" if spam else f"{greeting}, {thing} is {number} min late")
        labels.append("spam" if spam else "ham")
    return pd.DataFrame({"label": pd.Series(labels, dtype="str"), "text": pd.Series(texts, dtype="str")})


def odd_data(modality: str) -> dict[str, Any]:
    """Data at the edge of what can be learned; every family learns all of it."""
    tiny = tiny_data(modality)
    if modality == "related":
        alone = {f"one table, {name}": {"t": table} for name, table in odd_data("tabular").items()}
        pair = {"parent": pd.DataFrame({"parent_id": np.arange(40), "x": np.arange(40.0) % 7})}
        one = {"parent": pair["parent"][:1], "child": pd.DataFrame({"parent_id": [0, 0], "y": [1, 2]})}
        keys = {"child": pd.DataFrame({"child_id": np.arange(40), "parent_id": np.arange(40)})}
        detail = {"detail": pd.DataFrame({"parent_id": np.arange(0, 40, 2), "y": np.arange(20) % 3})}
        return alone | {
            "one parent": one,
            "a child with nothing but keys": pair | keys,
            "a detail that bears its parent's key": pair | detail,
            "one child in all": pair | {"child": pd.DataFrame({"parent_id": [3], "when": ["2020-01-01"]})},
        }
    if modality == "tabular":
        return {
            "one row": tiny.iloc[:1].reset_index(drop=True),
            "two rows": tiny.iloc[:2].reset_index(drop=True),
            "one number column": tiny[["income"]],
            "one category column": tiny[["place"]],
            "a constant column alone": pd.DataFrame({"c": [3] * 20}),
            "an all-missing column": pd.DataFrame({"x": np.arange(30.0), "nothing": np.full(30, np.nan)}),
            "only an all-missing column": pd.DataFrame({"nothing": np.full(10, np.nan)}),
            "categories only": tiny[["place", "grade", "member"]],
            "equal columns": pd.DataFrame({"a": tiny["age"], "b": tiny["age"]}),
            "an identifier alone": tiny[["number"]],
            "more columns than rows": pd.DataFrame(
                np.random.default_rng(1).normal(size=(5, 12)), columns=[f"c{i}" for i in range(12)]
            ),
        }
    if modality == "timeseries":
        return {
            "one series": tiny[:1],
            "one step": SeriesBatch(tiny.values[:, :1]),
            "a constant channel": SeriesBatch(np.full((6, 4, 1), 2.5, dtype=np.float32)),
            "an all-missing channel": SeriesBatch(
                np.concatenate([tiny.values[:, :5, :1], np.full((40, 5, 1), np.nan, np.float32)], axis=2)
            ),
            "one class": tiny[np.asarray(tiny.static["kind"] == "calm")],
            "no static attributes": SeriesBatch(tiny.values[:, :5]),
        }
    if modality == "image":
        return {
            "one image": tiny[:1],
            "one class": ImageBatch(tiny.pixels[:6], np.zeros(6, dtype=np.int64), ("only",)),
            "images without labels": ImageBatch(tiny.pixels),
            "constant images": ImageBatch(np.full((8, 5, 7, 3), 128, np.uint8)),
            "one pixel": ImageBatch(tiny.pixels[:, :1, :1]),
            "colour": ImageBatch(np.repeat(tiny.pixels, 3, axis=3), tiny.labels, tiny.classes),
        }
    return {
        "one text": tiny.iloc[:1].reset_index(drop=True),
        "one label": tiny[tiny["label"] == "ham"].reset_index(drop=True),
        "texts without labels": tiny[["text"]],
        "texts of one letter": pd.DataFrame({"text": pd.Series(["a", "b"] * 4, dtype="str")}),
        "empty texts among others": pd.DataFrame({"text": pd.Series(["", "a b", ""], dtype="str")}),
    }


def bad_data(modality: str) -> dict[str, tuple[Any, str]]:
    """Data that nobody can learn, each with a word that the error has to name."""
    tiny = tiny_data(modality)
    if modality == "related":
        a = pd.DataFrame({"a_id": np.arange(9), "b_id": np.arange(9)})
        return {
            "no tables": ({}, "tables"),
            "a table without rows": (tiny | {"items": tiny["items"].iloc[:0]}, "'items'"),
            "a circle": ({"a": a, "b": a.rename(columns={"a_id": "b_id", "b_id": "a_id"})}, "circle"),
            "tables apart": ({"a": tiny["customers"], "b": tiny["shops"]}, "linked"),
            "mixed types": (tiny | {"items": pd.DataFrame({"order_id": [501, 502], "mix": [1, "b"]})}, "'mix'"),
            "no table": (42, "int"),
        }
    if modality == "tabular":
        twice = pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"])
        return {
            "no rows": (tiny.iloc[:0], "rows"),
            "no columns": (pd.DataFrame(index=range(3)), "columns"),
            "duplicate column names": (twice, "'a'"),
            "mixed types": (pd.DataFrame({"mix": [1, "b", 2.5]}), "'mix'"),
            "infinite numbers": (pd.DataFrame({"big": [1.0, np.inf]}), "'big'"),
            "no table": (42, "int"),
        }
    if modality == "timeseries":
        return {"no series": (tiny[:0], "series"), "no array": ("abc", "str")}
    if modality == "image":
        return {
            "no images": (tiny[:0], "images"),
            "floats": (tiny.pixels.astype(np.float32), "uint8"),
            "no array": ("abc", "str"),
        }
    return {
        "no texts": (tiny.iloc[:0], "rows"),
        "no text column": (pd.DataFrame({"label": ["a", "b"]}), "text"),
        "numbers as text": (pd.DataFrame({"text": [1, 2]}), "text"),
        "nothing sensible": (42, "int"),
    }
