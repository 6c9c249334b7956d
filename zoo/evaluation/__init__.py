"""Evaluation: fidelity, utility and privacy of synthetic data, each score beside its anchors.

This module is light; pandas, scikit-learn and the metrics are imported when :func:`evaluate` runs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from zoo.evaluation.report import Report
    from zoo.schema import Schema

__all__ = ["evaluate", "list_metrics"]


def evaluate(
    train: Any,
    synthetic: Any,
    holdout: Any = None,
    target: str | None = None,
    generator: Any = None,
    *,
    schema: "Schema | None" = None,
    seed: int = 0,
    quick: bool = False,
    depth: Literal["quick", "standard", "full"] | None = None,
    quasi_identifiers: Sequence[str] = (),
    sensitive: Sequence[str] = (),
    metrics: Iterable[str] | str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> "Report":
    """Measure synthetic data against the real data that its generator learned from.

    Parameters
    ----------
    train
        The real data that the generator learned from: a ``pandas.DataFrame`` (table or texts), a
        ``SeriesBatch``, an ``ImageBatch`` or a dict of related tables (measured as :mod:`zoo.evaluation.related` says).
    synthetic
        Samples of the generator, in the same form.
    holdout
        Real data that the generator has not seen, in the same form. Without it, scores that compare with
        unseen data use the training data and say so, or are not computable.
    target
        The column (or static attribute) that a downstream model should predict; the label by default, where
        the data have one.
    generator
        The generator, whose schema is used when ``schema`` is not given; with ``depth="full"`` its family is also
        fitted anew, some hundred times on 1,000 rows, by the attacks that need it.
    schema
        Kinds of the columns; inferred from ``train`` by default.
    seed
        Seeds every subsample, fold and model; the same inputs give the same report.
    quick
        The same as ``depth="quick"``.
    depth
        ``standard``, the default: the scores of every report. ``quick``: the same on fewer rows (see
        ``Report.subsampling``). ``full``: further attacks, models, subgroups and distances besides.
    quasi_identifiers
        Columns by which people in a released (masked) table could be recognised; k-anonymity, l-diversity and
        t-closeness are measured when they are named.
    sensitive
        Columns that tell something sensitive; by default those that the schema marks. Fairness is judged by them.
    metrics
        Names or patterns such as ``"privacy.*"``; those of the depth by default. A name in full is found at any depth.
    progress
        Called with (metric, done, total). By default a progress bar when standard error is a terminal.

    Returns
    -------
    Report
        Scores with their anchors; ``.to_html(path)``, ``.to_json(path)``, ``.to_markdown()``,
        ``.to_pandas()``.

    Raises
    ------
    DataError
        Empty data, forms that differ, a target that is no column.
    SchemaError
        A column that one side lacks, or whose values are not of its kind.
    ConfigError
        A metric that does not exist.
    """
    from zoo.evaluation.harness import run
    from zoo.random import check_seed

    seed = check_seed(seed)
    if schema is None and generator is not None:
        schema = generator.schema
    if isinstance(train, Mapping):  # related tables
        from zoo.evaluation.related import run as run_related

        return run_related(train, synthetic, holdout, schema=schema, seed=seed, quick=quick, metrics=metrics)
    return run(
        train,
        synthetic,
        holdout,
        target,
        schema=schema,
        seed=seed,
        depth=depth or ("quick" if quick else "standard"),
        metrics=metrics,
        generator=generator,
        quasi_identifiers=quasi_identifiers,
        sensitive=sensitive,
        progress=progress,
    )


def list_metrics(modality: str | None = None) -> list[str]:
    """Names of all metrics, or of those that a modality has."""
    from zoo.evaluation.metric import all_metrics

    return [name for name, m in all_metrics().items() if modality is None or modality in m.modalities]
