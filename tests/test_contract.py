"""The contract over every registered family, and over a third party's."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from independent import Independent

import zoo
from zoo.recipe import list_recipes, load_recipe
from zoo.testing import CHECKS, Subject, check_generator

# All checks of a family share one fit, so under xdist (--dist loadgroup) one worker runs them.
FAMILIES = [
    pytest.param(f, id=name, marks=pytest.mark.xdist_group(name))
    for f, name in [*((name, name) for name in zoo.list_generators()), (Independent, Independent.name)]
]


def tiny_config(family: Any) -> dict[str, Any]:
    """What the smoke setting of the family's recipes says of the generator; the family's defaults without one."""
    config: dict[str, Any] = {}
    for name in list_recipes() if isinstance(family, str) else ():
        if name.startswith(f"{family}/"):
            smoke = load_recipe(name).smoke
            config |= {k.removeprefix("generator."): v for k, v in smoke.items() if k.startswith("generator.")}
    return config


@pytest.fixture(scope="module")
def subjects() -> dict[Any, Subject]:
    return {}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("check", CHECKS)
def test_promise(family: Any, check: str, subjects: dict[Any, Subject]) -> None:
    if family not in subjects:
        subjects[family] = Subject(family, config=tiny_config(family))
    CHECKS[check](subjects[family])


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
class Meddling(Independent):  # what _fit and _sample_block do to global state is undone for them; this is outside
    def sample(self, n: Any, **kwargs: Any) -> Any:
        np.random.seed(0)  # noqa: NPY002
        return super().sample(n, **kwargs)


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
