"""The promises of what a call may ask beyond conditions: balance, constraints, combinations that never occurred."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.capabilities import capabilities
from zoo.errors import ConditionError, ConstraintError, OptionError, UnsupportedCapability

if TYPE_CHECKING:
    from zoo.testing import Subject


def raises(kind: type[BaseException], call: Callable[[], Any], why: str, *, words: str = "") -> None:
    """Hold a call to raise an error of one line that names the thing."""
    try:
        call()
    except kind as error:
        text = str(error)
        assert text and "\n" not in text, f"{why}: the error must be one line, got {text!r}"
        assert words in text, f"{why}: the error must name {words!r}, got {text!r}"
        return
    except Exception as error:
        raise AssertionError(f"{why} must raise {kind.__name__}, raised {type(error).__name__}: {error}") from error
    raise AssertionError(f"{why} must raise {kind.__name__}")


def _allowed(s: "Subject") -> tuple[str, ...]:
    return tuple(s.fitted.condition_columns) if "conditions" in capabilities(s.cls) else ()


def _counts(s: "Subject", made: Any, name: str) -> dict[Any, int]:
    values = list(s.form.column(made, name))
    return {v: values.count(v) for v in dict.fromkeys(values)}


def balance_holds(s: "Subject") -> None:
    """Classes come evenly or in given shares, in any beginning of the samples, also after save and load."""
    fitted, native, allowed = s.fitted, s.form.coerce(s.data), _allowed(s)
    raises(ConditionError, lambda: fitted.sample(2, balance="no_such"), "an unknown balance", words="no_such")
    for column in fitted.schema:
        name = column.name
        if name not in allowed:
            raises(ConditionError, partial(fitted.sample, 2, balance=name), f"balance on {name!r}", words=name)
            continue
        if not column.is_discrete:
            raises(ConditionError, partial(fitted.sample, 2, balance=name), f"balance on {name!r}", words=name)
            seen = [v for v in s.form.column(native, name)[:20] if v == v]
            low = min(seen)
            made = fitted.sample(8, balance={name: {(low, None): 1.0}}, seed=2)
            assert (s.form.column(made, name) >= low).all(), f"a share of a range of {name!r} is not kept"
            continue
        seen = [v for v in dict.fromkeys(s.form.column(native, name)) if v == v and v is not None]
        n = 6 * len(seen) + 1
        made = fitted.sample(n, balance=name, seed=2)
        s.form.check(made, fitted.schema)
        counts = _counts(s, made, name)
        assert len(counts) == len(seen) and sum(counts.values()) == n, f"balance on {name!r} gave {counts}"
        assert max(counts.values()) - min(counts.values()) <= 1, f"balance on {name!r} gave {counts}"
        start = s.form.slice(made, 0, 5)
        assert s.same(fitted.sample(5, balance=name, seed=2), start), "a shorter balanced sample is not the beginning"
        first = next(fitted.stream(batch_size=5, balance=name, seed=2))
        assert s.same(first, start), "a stream is balanced otherwise than a sample"
        with tempfile.TemporaryDirectory() as root:
            fitted.save(Path(root) / "a")
            again = s.cls.load(Path(root) / "a").sample(n, balance=name, seed=2)
        assert s.same(again, made), "the loaded generator balances otherwise"
        if len(seen) > 1:
            share = _counts(s, fitted.sample(100, balance={name: {seen[0]: 0.7}}, seed=2), name)
            assert abs(share.get(seen[0], 0) - 70) <= 1, f"a share of 0.7 of {name}={seen[0]!r} gave {share}"
    raises(OptionError, lambda: fitted.sample(1, balanc="x"), "a misspelt balance", words="balanc")


def constraints_hold(s: "Subject") -> None:
    """Exactly n rows that fulfil every constraint, or an error that says which one cannot be met."""
    fitted = s.fitted
    if not s.cls.makes_tables:
        raises(UnsupportedCapability, lambda: fitted.sample(1, constraints=["a > 1"]), "constraints on no table")
        return
    raises(ConstraintError, lambda: fitted.sample(1, constraints=["no_such > 1"]), "an unknown column", words="no_such")
    for column in fitted.schema:
        name = column.name
        if not column.is_numeric or column.role != "feature":
            continue
        middle = float(np.nanmedian(np.asarray(s.form.column(s.form.coerce(s.data), name), dtype=float)))
        rule = f"`{name}` >= {middle!r}"
        made = fitted.sample(50, constraints=[rule], seed=3)
        assert s.form.length(made) == 50, f"{rule}: 50 samples asked, {s.form.length(made)} given"
        s.form.check(made, fitted.schema)
        values = np.asarray(s.form.column(made, name), dtype=float)
        assert (values >= middle).all(), f"{rule} gave {values.min()}"
        assert s.same(fitted.sample(7, constraints=[rule], seed=3), s.form.slice(made, 0, 7)), (
            "no beginning of a longer"
        )
        assert s.same(next(fitted.stream(batch_size=7, constraints=[rule], seed=3)), s.form.slice(made, 0, 7))
        rows = fitted.to_iterable_dataset(5, constraints=[rule], seed=3)
        assert [r[name] for r in rows] == [r[name] for r in fitted.to_dataset(5, constraints=[rule], seed=3)]
        never = f"`{name}` > `{name}`"
        raises(ConstraintError, partial(fitted.sample, 1, constraints=[never]), "what never holds", words=never)
        raises(
            ConstraintError,
            partial(fitted.stream, batch_size=1, constraints=[f"unique({name})"]),
            "unique rows of an endless stream",
            words=name,
        )
        break


def unseen_combinations_are_refused(s: "Subject") -> None:
    """Conditions that no training rows fulfilled together need ``allow_unseen=True``."""
    if not s.cls.makes_tables or "conditions" not in capabilities(s.cls):
        return
    import pandas as pd

    city = np.array(["Bern", "Oslo", "Rome"])[np.arange(240) % 3]
    land = np.array(["CH", "NO", "IT"])[np.arange(240) % 3]
    fitted = s.fit(pd.DataFrame({"city": pd.Series(city, dtype="str"), "land": pd.Series(land, dtype="str")}))
    if not {"city", "land"} <= {*fitted.condition_columns}:
        return
    asked = {"city": "Bern", "land": "NO"}
    raises(ConditionError, lambda: fitted.sample(2, conditions=asked), "what never occurred", words="city")
    rows = pd.DataFrame({"city": ["Oslo", "Bern"], "land": ["NO", "NO"]})
    raises(ConditionError, lambda: fitted.sample(2, conditions=rows), "a row that never occurred", words="row 1")
    assert len(fitted.sample(2, conditions={"city": "Bern", "land": "CH"})) == 2
    pairs = fitted.sample(30, balance=["city", "land"], seed=1).value_counts()
    assert len(pairs) == 3 and (pairs == 10).all(), f"balance over two columns gave {pairs.to_dict()}"
    raises(OptionError, lambda: fitted.sample(2, allow_unseen="yes"), "allow_unseen='yes'", words="allow_unseen")
