"""Evaluation of related tables: keys, numbers of children, dependence across keys, and detection of joined rows.

Classifiers see a row joined to the rows that it refers to. Rows of one parent are kept in one fold: a row whose brother
was learned from bears the parent's values, and would be recognised by them (two halves of real data are then told apart
with an AUC of 0.80 on a bank's transactions instead of 0.5).
"""

import dataclasses
import fnmatch
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from zoo.conditions import to_number
from zoo.data.database import Database, DatabaseForm
from zoo.data.relations import Link
from zoo.data.table_values import frame
from zoo.errors import ConfigError, nearest
from zoo.evaluation.intervals import auc_interval
from zoo.evaluation.learners import FOLDS, MIN_ROWS, fit_quietly, make_classifier, stack
from zoo.evaluation.metric import QUICK, Limits
from zoo.evaluation.report import Report, Score
from zoo.evaluation.table import Table, encode_tables, table_features
from zoo.schema import Column, Schema

_BINS = 10
_UNKNOWN = "no rows of both kinds to compare"


def run(
    train: Mapping[str, Any],
    synthetic: Mapping[str, Any],
    holdout: Mapping[str, Any] | None = None,
    *,
    schema: Schema | None = None,
    seed: int = 0,
    quick: bool = False,
    metrics: Iterable[str] | str | None = None,
) -> Report:
    """Measure related tables; see :func:`zoo.evaluation.evaluate`.

    Each score stands beside what real tables reach (the holdout, or one half of train against the other), and a naive
    generator (every column drawn alone, children dealt to parents at random).
    """
    from zoo.evaluation.harness import _versions

    started, form = time.perf_counter(), DatabaseForm()
    real = form.coerce(train, schema)
    schema = schema or form.infer(real)
    made = Database({n: form_table(synthetic, n) for n in schema.tables}, real.relations)
    parts = {"train": real, "synthetic": made}
    rng = np.random.default_rng([seed, 11])
    if holdout is not None:
        parts["holdout"] = form.coerce(holdout, schema)
        ceiling = (real, parts["holdout"])
    else:
        order = rng.permutation(len(real.root))
        half = len(order) // 2
        ceiling = (form.take(real, order[:half]), form.take(real, order[half:])) if half else (real, real)
    naive = _naive(real, schema, rng)
    rows = (QUICK if quick else Limits()).detection
    trial = _Trial(schema, rows, seed)
    scores = []
    for name in _chosen(metrics):
        title, ideal, direction, plain, compute = _SCORES[name]
        value, details = compute(trial, real, made)
        anchors = {"real": compute(trial, *ceiling)[0], "naive": compute(trial, real, naive)[0]}
        n = details.get("rows")
        scores.append(
            Score(
                name=name,
                title=title,
                question=name.partition(".")[0],
                span=(0.0, 1.0),
                direction=direction,
                ideal=ideal,
                plain=plain,
                reference="zoo.evaluation.related",
                value=value,
                reason=None if value is not None else _UNKNOWN,
                interval=auc_interval(value, n, n) if value is not None and n else None,
                anchors=anchors,
                details=details,
            )
        )
    return Report(
        scores=tuple(scores),
        modality="tabular",
        target=None,
        rows={n: len(p.root) for n, p in parts.items()},
        seed=seed,
        quick=quick,
        private=schema.private,
        naive="independent columns, random parents",
        subsampling={"detection_rows": rows},
        versions=_versions(),
        seconds=round(time.perf_counter() - started, 2),
        notes=(f"Rows are counted in {schema.root!r}, the root of {len(schema.tables)} related tables.",),
    )


def _chosen(patterns: Iterable[str] | str | None) -> list[str]:
    wanted = set(_SCORES) if patterns is None else set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns or ():
        hits = fnmatch.filter(_SCORES, pattern)
        if not hits:
            raise ConfigError(f"no metric {pattern!r} for related tables; {nearest(pattern, _SCORES)}")
        wanted.update(hits)
    return [name for name in _SCORES if name in wanted]


def form_table(tables: Mapping[str, Any], name: str) -> pd.DataFrame:
    """A table of synthetic tables, which are measured as they are: orphans count against them."""
    if name not in tables:
        raise ConfigError(f"synthetic lacks the table {name!r}; give all tables of train")
    return tables[name].reset_index(drop=True)


@dataclasses.dataclass(frozen=True)
class _Trial:
    schema: Schema
    rows: int
    seed: int


Found = tuple[float | None, dict[str, Any]]


def keys(trial: _Trial, real: Database, made: Database) -> Found:
    """Share of foreign keys that name a row, and of primary keys that stand once; the least over all keys."""
    shares: dict[str, float] = {}
    for link in made.relations.links:
        known = made[link.child][link.column].notna().to_numpy()
        shares[str(link)] = float((made.parents(link) >= 0)[known].mean()) if known.any() else 1.0
    for table, key in made.relations.keys:
        if key is not None and len(made[table]):
            shares[f"{table}.{key}"] = float(made[table][key].nunique() / len(made[table]))
    return min(shares.values(), default=1.0), {"each": shares}


def cardinality(trial: _Trial, real: Database, made: Database) -> Found:
    """1 minus the Kolmogorov-Smirnov distance of the numbers of children a parent; the mean over links."""
    each = {}
    for link in _inner(real):
        counts = [np.bincount(_known(d, link), minlength=len(d[link.parent])) for d in (real, made)]
        if all(len(c) for c in counts):
            top = max(int(c.max()) for c in counts) + 1
            below = [np.cumsum(np.bincount(c, minlength=top)) / len(c) for c in counts]
            each[str(link)] = 1 - float(np.abs(below[0] - below[1]).max())
    return (float(np.mean(list(each.values()))) if each else None), {"each": each}


def parent_child(trial: _Trial, real: Database, made: Database) -> Found:
    """1 minus the total variation distance of pairs of a child's and a parent's column, numbers in tenths; the mean."""
    each = {}
    for link in real.relations.links:
        schema = trial.schema.tables
        ours = encode_tables(_plain(schema[link.child]), _both(real, made, trial.schema, link.child))
        theirs = encode_tables(_plain(schema[link.parent]), _both(real, made, trial.schema, link.parent))
        places = {"train": real.parents(link), "synthetic": made.parents(link)}
        found = []
        for a in ours["train"].names:
            for b in theirs["train"].names:
                joint = []
                for part in ("train", "synthetic"):
                    known = places[part] >= 0
                    x = _binned(ours["train"], ours[part], a)[known]
                    y = _binned(theirs["train"], theirs[part], b)[places[part][known]]
                    joint.append(pd.Series(x * 100_000 + y).value_counts(normalize=True))
                if all(map(len, joint)):
                    found.append(1 - float(joint[0].sub(joint[1], fill_value=0).abs().sum()) / 2)
        if found:
            each[str(link)] = float(np.mean(found))
    return (float(np.mean(list(each.values()))) if each else None), {"each": each}


def joined_auc(trial: _Trial, real: Database, made: Database) -> Found:
    """AUC of the pinned classifier on rows joined to the rows that they refer to; the highest over tables."""
    return _worst(trial, real, made, [t for t in real.relations.tables if real.relations.up(t)], joined)


def siblings_auc(trial: _Trial, real: Database, made: Database) -> Found:
    """The same on rows beside the sibling before them, with the differences of numbers; the highest over tables."""
    inner = {k.child: k for k in reversed(_inner(real)) if np.bincount(_known(real, k), minlength=1).max() > 1}
    return _worst(trial, real, made, list(inner), lambda d, s, t: siblings(d, s, t, inner[t]))


_SCORES: dict[str, tuple[str, float, str, str, Callable[..., Found]]] = {
    "fidelity.keys": ("Keys", 1.0, "higher", "Whether every key names a row, and names it alone.", keys),
    "fidelity.cardinality": (
        "Children per parent", 1.0, "higher", "How alike the numbers of children per parent are spread.", cardinality,
    ),
    "fidelity.parent_child": (
        "Dependence across keys", 1.0, "higher", "How alike a child's and its parent's columns go together.",
        parent_child,
    ),
    "detection.joined_auc": (
        "Joined rows told apart", 0.5, "lower",
        "How well a classifier tells synthetic from real rows joined to their parents: 0.5 is guessing.", joined_auc,
    ),
    "detection.siblings_auc": (
        "Neighbouring siblings told apart", 0.5, "lower",
        "The same for rows beside the one before them: what goes on from row to row.", siblings_auc,
    ),
}  # fmt: skip


# Joining


def _inner(data: Database) -> list[Link]:
    return [k for k in data.relations.links if k.parent not in data.relations.shared]


def _known(data: Database, link: Link) -> np.ndarray:
    parent = data.parents(link)
    return parent[parent >= 0]


def _plain(schema: Schema, prefix: str = "") -> Schema:
    """The columns that are compared, nullable and without ranges."""
    columns = tuple(
        dataclasses.replace(c, name=prefix + c.name, nullable=True, minimum=None, maximum=None)
        for c in schema
        if c.kind not in ("identifier", "text")
    )
    return Schema(modality="tabular", columns=columns)


def _both(real: Database, made: Database, schema: Schema, table: str) -> dict[str, pd.DataFrame]:
    names = _plain(schema.tables[table]).names
    return {"train": real[table][names], "synthetic": made[table][names]}


def _at(values: pd.Series, rows: np.ndarray) -> Any:
    """Values at the given rows, missing at -1."""
    return values.reindex(np.where(rows < 0, len(values), rows)).array


def joined(data: Database, schema: Schema, table: str) -> tuple[pd.DataFrame, Schema, np.ndarray]:
    """The rows of a table with the columns of all rows that they refer to, and a number a family.

    A family is what one parent has that is not shared; rows without such a parent are families of their own.
    """
    own = _plain(schema.tables[table])
    columns, about = {n: data[table][n].array for n in own.names}, list(own)
    family = np.arange(len(data[table]))
    for link in reversed(data.relations.up(table)):
        rows, theirs = data.parents(link), _plain(schema.tables[link.parent], f"{link.column}.")
        for column in theirs:
            columns[column.name] = _at(data[link.parent][column.name.removeprefix(f"{link.column}.")], rows)
        about += list(theirs)
        if link.parent not in data.relations.shared:
            family = rows
    return frame(columns, len(family)), Schema(modality="tabular", columns=tuple(about)), family


def siblings(data: Database, schema: Schema, table: str, link: Link) -> tuple[pd.DataFrame, Schema, np.ndarray]:
    """The rows of a table beside the sibling before them in time, with the differences of their numbers."""
    own, parent = _plain(schema.tables[table]), data.parents(link)
    time = next((c.name for c in own if c.kind in ("datetime", "date")), None)
    when = np.zeros(len(parent)) if time is None else to_number(data[table][time], own[time])
    order = np.lexsort((np.arange(len(parent)), when, parent))
    family = parent[order]
    follows = np.append(False, family[1:] == family[:-1])
    before = np.where(follows, np.arange(len(order)) - 1, -1)
    columns: dict[str, Any] = {}
    about: list[Column] = []
    for column in own:
        values = data[table][column.name].iloc[order].reset_index(drop=True)
        earlier = _at(values, before)
        columns |= {column.name: values.array, f"{column.name} before": earlier}
        about += [column, dataclasses.replace(column, name=f"{column.name} before")]
        if column.kind in ("integer", "float"):
            step = pd.to_numeric(values).astype(float) - pd.Series(earlier).astype(float)
            columns[f"{column.name} step"] = step.array
            about.append(Column(name=f"{column.name} step", kind="float", dtype="float64", nullable=True))
    return frame(columns, len(order)), Schema(modality="tabular", columns=tuple(about)), family


def _worst(trial: _Trial, real: Database, made: Database, tables: list[str], make: Callable[..., Any]) -> Found:
    each, rows = {}, {}
    for table in tables:
        found = _auc(trial, make(real, trial.schema, table), make(made, trial.schema, table))
        if found is not None:
            each[table], rows[table] = found
    if not each:
        return None, {"each": {}}
    worst = max(each, key=lambda t: each[t])
    return each[worst], {"each": each, "table": worst, "rows": rows[worst]}


def _auc(trial: _Trial, real: Any, made: Any) -> tuple[float, int] | None:
    """The classifier's AUC, families kept together, and the rows of each kind; None where there are too few."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold

    rng = np.random.default_rng([trial.seed, 12])
    n = min(len(real[0]), len(made[0]), trial.rows)
    if n < MIN_ROWS:
        return None
    chosen = [np.sort(rng.choice(len(part[0]), n, replace=False)) for part in (real, made)]
    frames = [part[0].iloc[rows].reset_index(drop=True) for part, rows in zip((real, made), chosen)]
    encoded = encode_tables(real[1], {"train": frames[0], "synthetic": frames[1]})
    if not encoded["train"].names:
        return None
    features = table_features((encoded["synthetic"], encoded["train"]))
    y = np.repeat([1, 0], n)
    families = np.concatenate([2 * made[2][chosen[1]], 2 * real[2][chosen[0]] + 1])
    x, out = stack(list(features.parts)), np.full(2 * n, 0.5)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=trial.seed)
    if len(np.unique(families)) < 2 * FOLDS:
        return None
    for fit, test in folds.split(x, y, families):
        if len(np.unique(y[fit])) == 2 and len(test):
            out[test] = fit_quietly(make_classifier(features, trial.seed), x[fit], y[fit]).predict_proba(x[test])[:, 1]
    return float(roc_auc_score(y, out)), n


def _binned(reference: Table, table: Table, name: str) -> np.ndarray:
    """Codes of a column, numbers by the tenths of a reference; missing is 0."""
    if name in table.codes:
        return table.codes[name] + 1
    known = reference.numbers[name][~np.isnan(reference.numbers[name])]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(known) else np.zeros(0)
    values = table.numbers[name]
    return np.where(np.isnan(values), 0, 1 + np.searchsorted(edges, values, side="right"))


def _naive(data: Database, schema: Schema, rng: np.random.Generator) -> Database:
    """Every column shuffled alone, and keys drawn among the parents' at random."""
    tables = {}
    for name, table in data.items():
        if name in data.relations.shared:
            tables[name] = table
            continue
        links = {k.column: k for k in data.relations.up(name)}
        columns = {}
        for column in table.columns:
            values = table[column]
            if column in links:
                parent = data[links[column].parent][str(data.relations.key(links[column].parent))]
                values = parent.iloc[rng.integers(len(parent), size=len(table))].astype(values.dtype)
            elif column != data.relations.key(name):
                values = values.iloc[rng.permutation(len(table))]
            columns[column] = values.array
        tables[name] = frame(columns, len(table))
    return Database(tables, data.relations)
