"""The contract as tests, public: ``check_generator`` holds any family, ours or a third party's, to every promise.

>>> from zoo.testing import check_generator
>>> check_generator("tabular/gaussian_copula")  # doctest: +SKIP

Each promise is one function in :data:`CHECKS`; all share one tiny fit a family. ``AssertionError`` names the promise.
"""

from functools import cached_property
from typing import Any

from zoo._testing_data import tiny_data
from zoo._testing_promises import CHECKS, digest
from zoo.generator import Generator
from zoo.training.config import TrainConfig

__all__ = ["CHECKS", "Subject", "check_generator", "digest"]


class Subject:
    """A family under test: its class, tiny data, and one fit that the checks share."""

    def __init__(
        self, family: str | type[Generator], *, data: Any = None, config: dict[str, Any] | None = None
    ) -> None:
        from zoo.registry import family as find_family

        self.cls: Any = find_family(family) if isinstance(family, str) else family
        self.config = config or {}
        self.kind = self.cls.native or self.cls.modality
        self.data = tiny_data(self.kind) if data is None else data
        self.train = TrainConfig(max_steps=6, epochs=1, progress=False)

    def new(self) -> Any:
        return self.cls(**self.config)

    def fit(self, data: Any = None, seed: int = 1) -> Any:
        return self.new().fit(self.data if data is None else data, seed=seed, train=self.train)

    @cached_property
    def fitted(self) -> Any:
        return self.fit()

    @property
    def form(self) -> Any:
        return self.fitted.form

    def same(self, a: Any, b: Any) -> bool:
        return self.form.equal(a, b)

    @cached_property
    def some(self) -> int:
        """A number of samples that ends inside the second block."""
        return self.fitted.block_size + 3

    @cached_property
    def sampled(self) -> Any:
        return self.fitted.sample(self.some, seed=5)


def check_generator(
    family: str | type[Generator],
    *,
    data: Any = None,
    config: dict[str, Any] | None = None,
    only: str | None = None,
) -> None:
    """Hold a family to the contract.

    Parameters
    ----------
    family
        A registered name, or a class.
    data
        Native data to fit on; by default a tiny set of the modality with missing values and several kinds.
    config
        Constructor arguments, for a smaller model.
    only
        The name of a single check.

    Raises
    ------
    AssertionError
        Naming the promise that is broken.
    """
    subject = Subject(family, data=data, config=config)
    for name, check in CHECKS.items():
        if only in (None, name):
            try:
                check(subject)
            except AssertionError as error:
                raise AssertionError(f"{subject.cls.name} breaks the promise {name!r}: {error}") from error
