"""What a family may be able to do beyond sampling: small protocols, declared by implementing them.

A caller asks ``isinstance(generator, Imputes)`` or ``"impute" in capabilities(generator)``. Calling what a family does
not declare raises :class:`~zoo.errors.UnsupportedCapability`, which names the families that do.
"""

from typing import Any, Protocol, Self, runtime_checkable

import numpy as np


@runtime_checkable
class ConditionsOnColumns(Protocol):
    """Samples under conditions on the columns named here."""

    @property
    def condition_columns(self) -> tuple[str, ...]: ...


@runtime_checkable
class Imputes(Protocol):
    """Fills missing values by draws from their conditional distribution; observed values stay as they are.

    Families of tables that condition on columns have it without writing it (:mod:`zoo.imputing`).
    """

    def impute(self, data: Any, *, seed: int | None = None) -> Any: ...


@runtime_checkable
class Extends(Protocol):
    """Continues each given series or text; the prefix stays as it is."""

    def extend(self, prefix: Any, *, seed: int | None = None, **options: Any) -> Any: ...


@runtime_checkable
class HasLogProb(Protocol):
    """Exact log density (or probability) of each sample, natural logarithm, ``float64 (n,)``."""

    def log_prob(self, data: Any) -> np.ndarray: ...


@runtime_checkable
class Updates(Protocol):
    """Goes on learning from new data of the same schema."""

    def update(self, data: Any, *, seed: int = 0) -> Self: ...


@runtime_checkable
class Merges(Protocol):
    """Federated averaging: local summaries leave, merged state comes back, data stays."""

    def summarise(self, data: Any) -> Any: ...
    def get_state(self) -> Any: ...
    def merge(self, states: Any) -> Self: ...


# Capability -> the attributes that declare it.
_DECLARED_BY: dict[str, tuple[str, ...]] = {
    "conditions": ("condition_columns",),
    "impute": ("impute",),
    "extend": ("extend",),
    "log_prob": ("log_prob",),
    "update": ("update",),
    "merge": ("summarise", "get_state", "merge"),
}

CAPABILITY_OF: dict[str, str] = {attr: cap for cap, attrs in _DECLARED_BY.items() for attr in attrs}


def capabilities(component: Any) -> frozenset[str]:
    """Names of the capabilities that a component or its class declares."""
    cls = component if isinstance(component, type) else type(component)
    return frozenset(c for c, attrs in _DECLARED_BY.items() if all(hasattr(cls, a) for a in attrs))
