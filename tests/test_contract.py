"""The contract over every registered family, and over a third party's."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from independent import Independent

import zoo
from zoo.testing import CHECKS, Subject, check_generator

FAMILIES: list[Any] = [*zoo.list_generators(), Independent]


@pytest.fixture(scope="module")
def subjects() -> dict[Any, Subject]:
    return {}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f if isinstance(f, str) else f.name)
@pytest.mark.parametrize("check", CHECKS)
def test_promise(family: Any, check: str, subjects: dict[Any, Subject]) -> None:
    subject = subjects.setdefault(family, Subject(family))
    CHECKS[check](subject)


# The checks themselves have to bite: each of these families breaks one promise.


@dataclasses.dataclass(kw_only=True, eq=False)
class Unseeded(Independent):
    def _sample_block(self, n: int, conditions: Any, rng: Any, options: Any) -> Any:
        return super()._sample_block(n, conditions, np.random.default_rng(), options)


@dataclasses.dataclass(kw_only=True, eq=False)
class Leaky(Independent):
    def _fit(self, data: Any, rng: Any, train: Any) -> None:
        super()._fit(data, rng, train)
        for name, grid in self._grids.items():
            if data[name].dtype == "float64":
                self._grids[name] = np.append(np.sort(data[name].dropna().to_numpy()), grid[-1])


@dataclasses.dataclass(kw_only=True, eq=False)
class OutOfRange(Independent):
    def _sample_block(self, n: int, conditions: Any, rng: Any, options: Any) -> Any:
        made = super()._sample_block(n, conditions, rng, options)
        return made.assign(age=made["age"] + 1000)


@dataclasses.dataclass(kw_only=True, eq=False)
class TooFew(Independent):
    def _sample_block(self, n: int, conditions: Any, rng: Any, options: Any) -> Any:
        return super()._sample_block(n, conditions, rng, options).iloc[:-1]


@dataclasses.dataclass(kw_only=True, eq=False)
class Forgetful(Independent):
    def _set_arrays(self, arrays: Any) -> None:
        super()._set_arrays({k: v[::-1].copy() for k, v in arrays.items()})


@dataclasses.dataclass(kw_only=True, eq=False)
class Meddling(Independent):
    def _fit(self, data: Any, rng: Any, train: Any) -> None:
        data["age"] = data["age"] + 0
        data.loc[0, "age"] = 1
        super()._fit(data, rng, train)


@pytest.mark.parametrize(
    ("family", "promise"),
    [
        (Unseeded, "same_seed_same_samples"),
        (Leaky, "no_column_is_stored"),
        (OutOfRange, "exactly_n_that_conform"),
        (TooFew, "exactly_n_that_conform"),
        (Forgetful, "save_and_load_give_the_same"),
        (Meddling, "nothing_of_the_callers_changes"),
    ],
    ids=lambda v: v if isinstance(v, str) else v.__name__,
)
def test_a_broken_promise_is_caught(family: Any, promise: str) -> None:
    with pytest.raises((AssertionError, zoo.ZooError)):
        check_generator(family, only=promise)
