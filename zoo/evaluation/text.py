"""Texts for the harness: TF-IDF of character n-grams, and the fields beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zoo.errors import DataError, SchemaError, nearest
from zoo.evaluation.kit import Features, Kit, same_type
from zoo.evaluation.table import Table, encode_tables, hash_columns, role_of, table_points
from zoo.evaluation.views import marginals, sample_rows
from zoo.schema import Schema

_NGRAMS = (2, 4)
_BUCKETS = 2**18


@dataclass(eq=False)
class Texts:
    """Texts as objects ``(N,)`` and their fields, encoded with those of the other parts."""

    texts: np.ndarray
    fields: Table


class TextKit(Kit):
    """Texts: a data frame whose schema names the text column and the fields."""

    modality = "text"
    naive = "bigram text"

    def __init__(self, schema: Schema | None) -> None:
        if schema is None:
            raise SchemaError("texts need a schema that names the text column; pass schema=")
        columns = schema.by_role("text")
        if len(columns) != 1:
            raise SchemaError(f"a text schema needs one column with role 'text', not {len(columns)}")
        self.schema: Schema = schema
        self.column = columns[0].name
        self.fields = Schema(modality="tabular", columns=tuple(c for c in schema if c.name != self.column))
        self.frames: dict[str, pd.DataFrame] = {}

    def prepare(self, parts: Mapping[str, Any], target: str | None) -> dict[str, Any]:
        same_type(parts, "DataFrame")
        for part, frame in parts.items():
            if self.column not in frame.columns:
                raise SchemaError(
                    f"{part} lacks the text column {self.column!r}; {nearest(self.column, frame.columns)}"
                )
        if target is not None and (target not in self.fields or role_of(self.fields[target]) is None):
            raise DataError(f"target {target!r} is no field of the texts; {nearest(target, self.fields.names)}")
        self.frames = dict(parts)
        tables = encode_tables(self.fields, {p: f.drop(columns=self.column) for p, f in parts.items()})
        return {
            p: Texts(f[self.column].fillna("").astype(str).to_numpy(dtype=object), tables[p]) for p, f in parts.items()
        }

    def length(self, data: Texts) -> int:
        return len(data.texts)

    def take(self, data: Texts, index: np.ndarray) -> Texts:
        return Texts(data.texts[index], data.fields.take(index))

    def independent(self, data: Texts, n: int, rng: np.random.Generator) -> Texts:
        """Bigram texts: each word as often as it follows the one before it in real texts; the fields drawn alone."""
        words = [
            ["", *text.split()] for text in data.texts
        ]  # "" is where a text begins, and what follows its last word
        codes, known = pd.factorize(np.array([w for text in words for w in text], dtype=object))
        order = np.argsort(codes, kind="stable")
        follows = np.append(codes[1:], 0)[order]  # by the word before; the first code is that of ""
        start = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(known)))])
        now = np.zeros(n, dtype=np.int64)
        written: list[np.ndarray] = []
        for _ in range(max(map(len, words)) - 1):
            now = follows[rng.integers(start[now], start[now + 1])]
            now[(written[-1] == 0) if written else slice(0)] = 0  # what has ended stays so
            if not now.any():
                break
            written.append(now)
        texts = np.array([""] * n, dtype=object)
        for step in written:
            texts = np.where(step > 0, texts + np.where(texts == "", "", " ") + known[step], texts)
        return Texts(texts, data.fields.independent(n, rng))

    def _tfidf(self, parts: tuple[Texts, ...]) -> list[Any]:
        """CSR ``(N_i, D)`` each: rows of norm 1 over the n-grams that occur, weights by how rare one is."""
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        hashing = HashingVectorizer(
            analyzer="char_wb",
            ngram_range=_NGRAMS,
            n_features=_BUCKETS,
            alternate_sign=False,
            norm=None,
            lowercase=False,
        )
        counts = hashing.transform(np.concatenate([p.texts for p in parts]))
        counts = counts[:, np.flatnonzero(counts.getnnz(axis=0))]  # what never occurs would only slow the learner
        weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts).tocsr()
        stops = np.cumsum([len(p.texts) for p in parts])
        return [weighted[stop - len(p.texts) : stop] for p, stop in zip(parts, stops)]

    def features(self, *parts: Texts, without: str | None = None) -> Features:
        from scipy import sparse

        matrices = self._tfidf(parts)
        names = tuple(n for n in parts[0].fields.names if n != without)
        if names:
            tables = [Table(names, p.fields.numbers, p.fields.codes, p.fields.categories, {}) for p in parts]
            extra = table_points(tables[0], *tables)
            matrices = [sparse.hstack([m, sparse.csr_matrix(e)], format="csr") for m, e in zip(matrices, extra)]
        return Features(tuple(matrices), None, "logistic", parts[0].fields.ignored)

    def labels(self, data: Texts, target: str) -> np.ndarray:
        return data.fields.numbers[target] if target in data.fields.numbers else data.fields.codes[target]

    def default_target(self) -> str | None:
        labels = [c for c in self.fields if c.role == "label" and role_of(c) == "category"]
        return labels[0].name if labels else None

    def points(self, reference: Texts, *parts: Texts) -> tuple[Any, ...]:
        return tuple(self._tfidf(parts))

    def fingerprints(self, *parts: Texts) -> tuple[np.ndarray, ...]:
        return tuple(hash_columns([p.texts]) for p in parts)

    def views(self, train: Texts, synthetic: Texts, *, private: bool, rng: np.random.Generator) -> dict[str, Any]:
        real, made = (self._described(d) for d in (train, synthetic))
        out: dict[str, Any] = {"columns": marginals(real, made, self.schema, private=private)}
        out["rows"] = sample_rows(self.frames["train"], self.frames["synthetic"], private=private, rng=rng)
        return out

    def _described(self, data: Texts) -> Table:
        """The fields, and how long the texts are."""
        texts = pd.Series(data.texts)
        lengths = {
            "characters": texts.str.len().to_numpy(dtype=np.float64),
            "words": texts.str.split().map(len).to_numpy(dtype=np.float64),
        }
        fields = data.fields
        names = tuple(dict.fromkeys((*lengths, *fields.names)))
        return Table(names, {**lengths, **fields.numbers}, fields.codes, fields.categories, fields.times)
