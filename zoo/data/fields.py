"""Fields that stand beside a text: their joint distribution, and the prompt that carries them to a language model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo.conditions import Conditions
from zoo.data.table_codec import TableCodec
from zoo.errors import ArtifactError, ConditionError, ConfigError
from zoo.schema import Schema

_BINS = 16  # of a number or time; prompts need to tell few and many apart, not 3.1 and 3.2


class FieldTable:
    """The combinations of field values that occur, and how often.

    Numbers and times are cut into quantile bins and drawn uniformly within a bin, so that no value of a person
    stands in the table. Draws are exact under any condition on the discrete fields.

    Parameters
    ----------
    schema
        The fields' schema, as a table's.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.codec = TableCodec(schema)
        self.columns = (*self.codec.discrete, *self.codec.numeric)
        self.combinations = np.zeros((1, 0), dtype=np.int32)  # (M, k) codes or bins, -1 missing
        self.weights = np.ones(1)  # (M,) rows with the combination
        self.edges: dict[str, np.ndarray] = {}  # numeric field -> (bins + 1,)

    def fit(self, data: pd.DataFrame) -> None:
        """Count the combinations of a table of fields."""
        encoded = self.codec.encode(data) if self.columns else {}
        for name in self.codec.numeric:
            known = encoded[name][~np.isnan(encoded[name])]
            self.edges[name] = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)))
        self.combinations, counts = np.unique(self.codes(data), axis=0, return_counts=True)
        self.weights = counts.astype(np.float64)

    def codes(self, data: pd.DataFrame) -> np.ndarray:
        """Codes and bins of a table of fields, ``int32 (n, k)`` in the order of :attr:`columns`, -1 where missing."""
        encoded = self.codec.encode(data) if self.columns else {}
        codes = np.empty((len(data), len(self.columns)), dtype=np.int32)
        for i, name in enumerate(self.columns):
            values = encoded[name]
            if name in self.codec.numeric:
                bins = np.searchsorted(self.edges[name], values, side="right") - 1
                values = np.where(np.isnan(values), -1, np.clip(bins, 0, max(len(self.edges[name]) - 2, 0)))
            codes[:, i] = values
        return codes

    def draw(self, n: int, conditions: Conditions, rng: np.random.Generator) -> np.ndarray:
        """Indices of n combinations, ``int64 (n,)``, drawn as they occur among those that the conditions admit.

        Raises
        ------
        ConditionError
            If what is asked never occurred together.
        """
        admitted = np.ones(len(self.weights), dtype=bool)
        fixed = {}
        for name, condition in conditions.items():
            column = self.combinations[:, self.columns.index(name)]
            if condition.rows is not None:
                fixed[name] = condition.rows
            else:
                assert condition.values is not None
                admitted &= np.isin(column, condition.values)
        asked = np.stack(list(fixed.values()), axis=1) if fixed else np.zeros((n, 0), dtype=np.int64)
        distinct, place = np.unique(asked, axis=0, return_inverse=True)
        place = place.reshape(-1)
        out = np.empty(n, dtype=np.int64)
        for i, values in enumerate(distinct):
            fits = admitted.copy()
            for name, value in zip(fixed, values, strict=True):
                fits &= self.combinations[:, self.columns.index(name)] == value
            if not fits.any():
                raise ConditionError(
                    f"no training sample has what is asked of {', '.join(map(repr, conditions))} together; ask for less"
                )
            weight = np.where(fits, self.weights, 0.0)
            rows = np.flatnonzero(place == i)
            out[rows] = rng.choice(len(weight), size=len(rows), p=weight / weight.sum())
        return out

    def decode(self, drawn: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
        """The fields of drawn combinations, as a table of the schema's dtypes."""
        codes = self.combinations[drawn]  # (n, k)
        columns: dict[str, np.ndarray] = {}
        for i, name in enumerate(self.columns):
            values: np.ndarray = codes[:, i].astype(np.int64)
            if name in self.codec.numeric:
                edges = self.edges[name]
                low, high = edges[values], edges[np.minimum(values + 1, len(edges) - 1)]
                values = np.where(values < 0, np.nan, low + (high - low) * rng.random(len(drawn)))
            columns[name] = values
        return self.codec.decode(columns, len(drawn))

    def locate(self, data: pd.DataFrame) -> np.ndarray:
        """The combination of each row of a table of fields, ``int64 (n,)``.

        Raises
        ------
        ConditionError
            If a row's combination never occurred in training.
        """
        codes = self.codes(data)
        known = {tuple(row): i for i, row in enumerate(self.combinations.tolist())}
        distinct, place = np.unique(codes, axis=0, return_inverse=True)
        found = np.array([known.get(tuple(row), -1) for row in distinct.tolist()], dtype=np.int64)
        if (found < 0).any():
            raise ConditionError("a row's combination of fields never occurred in training; change its fields")
        return found[place.reshape(-1)]

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for an artifact."""
        out: dict[str, np.ndarray] = {"fields.combinations": self.combinations, "fields.weights": self.weights}
        return out | {f"fields.edges.{i}": self.edges[n] for i, n in enumerate(self.codec.numeric)}

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what :meth:`arrays` gave, checked: it may come from an artifact of unknown origin.

        Raises
        ------
        ArtifactError
            If a code is none of the schema's, or a weight or an edge cannot be.
        """
        codes, weights = arrays["fields.combinations"], arrays["fields.weights"]
        if weights.ndim != 1 or codes.dtype.kind != "i" or codes.shape != (len(weights), len(self.columns)):
            raise ArtifactError("fields.combinations does not fit the schema; the artifact is damaged")
        if not len(weights) or not np.isfinite(weights).all() or not (weights > 0).all():
            raise ArtifactError("fields.weights holds what is no number of rows; the artifact is damaged")
        edges = {n: arrays[f"fields.edges.{i}"] for i, n in enumerate(self.codec.numeric)}
        for i, name in enumerate(self.columns):
            top = self.codec.sizes[name] - 1 if name in self.codec.sizes else max(len(edges[name]) - 2, 0)
            if codes[:, i].min() < -int(self.schema[name].nullable) or codes[:, i].max() > top:
                raise ArtifactError(f"fields.combinations holds a code that field {name!r} cannot have; it is damaged")
        for name, points in edges.items():
            sound = points.ndim == 1 and len(points) and np.isfinite(points).all() and (np.diff(points) > 0).all()
            if not sound:
                raise ArtifactError(f"fields.edges are none of field {name!r}; the artifact is damaged")
        self.combinations, self.weights, self.edges = codes, weights, edges


class PromptTemplate:
    """Turns the fields of a row into the text that a language model is conditioned on.

    Parameters
    ----------
    names
        The fields.
    template
        Text with ``{field}`` in it, such as ``"{label}: "``; by default every field as ``name: value``, one a line.

    Raises
    ------
    ConfigError
        If the template names a field that there is not.
    """

    def __init__(self, names: Sequence[str], template: str | None = None) -> None:
        escaped = [n.replace("{", "{{").replace("}", "}}") for n in names]
        self._fields = {f"f{i}": n for i, n in enumerate(names)}
        if template is None:
            template = "".join(f"{e}: {{f{i}}}\n" for i, e in enumerate(escaped))
        else:
            for i, name in enumerate(names):
                template = template.replace("{" + name + "}", f"{{f{i}}}")
        self.template = template
        try:
            self.template.format(**dict.fromkeys(self._fields, ""))
        except (KeyError, IndexError, ValueError) as error:
            raise ConfigError(f"template {template!r} does not fit the fields {list(names)}: {error}") from error

    def render(self, fields: pd.DataFrame) -> list[str]:
        """One prompt a row; a missing value is written as nothing."""
        rows: list[dict[Any, Any]] = fields.to_dict("records")
        keys = self._fields.items()
        return [self.template.format(**{k: "" if pd.isna(r[n]) else r[n] for k, n in keys}) for r in rows]
