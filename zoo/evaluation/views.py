"""Plain data for the pictures of the report page: marginals, sample rows, sheets, lines.

Nothing here is a row of a person unless the caller says that the data are not private; marginals are shares
of many rows, with rare categories and the tails pooled.
"""

import base64
import io
from typing import Any

import numpy as np
import pandas as pd

from zoo.evaluation.table import Table
from zoo.schema import Schema

_MAX_COLUMNS = 80
_KINDS = {"bars": "category", "histogram": "number"}
_MAX_CATEGORIES = 12
_BINS = 24
_RARE = 10  # in private data, a category of fewer rows is pooled with others
_MAX_TEXT = 160


def marginals(real: Table, synthetic: Table, schema: Schema | None, *, private: bool) -> list[dict[str, Any]]:
    """Histogram of each column, real and synthetic: ``{name, kind, labels, real, synthetic, missing}``.

    Shares are of the rows where the column has a value; ``missing`` are the two shares of rows without one.
    At most 80 columns.
    """
    out = []
    for name in real.names[:_MAX_COLUMNS]:
        if name in real.codes:
            entry = _bars(real.codes[name], synthetic.codes[name], real.categories[name], private)
        else:
            entry = _histogram(real.numbers[name], synthetic.numbers[name], real.times.get(name))
        kind = schema[name].kind if schema is not None and name in schema else _KINDS[entry["shape"]]
        out.append({"name": name, "kind": kind, **entry})
    return out


def _bars(real: np.ndarray, synthetic: np.ndarray, categories: np.ndarray, private: bool) -> dict[str, Any]:
    size = len(categories)
    a, b = (np.bincount(x[x >= 0], minlength=size).astype(float) for x in (real, synthetic))
    order = np.argsort(-a - 1e-9 * b, kind="stable")
    keep = order[:_MAX_CATEGORIES]
    if private:
        keep = keep[a[keep] >= _RARE]
    rest = np.setdiff1d(order, keep)
    labels = [str(categories[k])[:_MAX_TEXT] for k in keep]
    counts = [[*c[keep]] for c in (a, b)]
    if len(rest):
        labels.append(f"{len(rest)} others")
        counts = [[*c, x[rest].sum()] for c, x in zip(counts, (a, b))]
    shares = [[float(v / max(x.sum(), 1.0)) for v in c] for c, x in zip(counts, (a, b))]
    missing = [float((x < 0).mean()) for x in (real, synthetic)]
    return {"shape": "bars", "labels": labels, "real": shares[0], "synthetic": shares[1], "missing": missing}


def _histogram(real: np.ndarray, synthetic: np.ndarray, unit: str | None) -> dict[str, Any]:
    a, b = (x[np.isfinite(x)].astype(float) for x in (real, synthetic))
    missing = [float(1 - len(a) / max(len(real), 1)), float(1 - len(b) / max(len(synthetic), 1))]
    base = a if len(a) else b
    low, high = np.quantile(base, [0.005, 0.995]) if len(base) else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, low + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    # what lies beyond the ends is counted in the first and the last bin
    shares = [(np.histogram(np.clip(x, low, high), bins=edges)[0] / max(len(x), 1)).tolist() for x in (a, b)]
    labels = [_tick(e, unit) for e in edges]
    return {
        "shape": "histogram",
        "labels": labels,
        "real": shares[0],
        "synthetic": shares[1],
        "missing": missing,
    }


def _tick(value: float, unit: str | None) -> str:
    if unit is not None:
        return str(np.array(round(value)).astype(f"datetime64[{unit}]").astype("datetime64[D]"))
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def sample_rows(
    real: pd.DataFrame, synthetic: pd.DataFrame, *, private: bool, rng: np.random.Generator, n: int = 8
) -> dict[str, Any]:
    """A few rows as text; the real ones are left out of private data."""
    columns = [str(c) for c in synthetic.columns]
    out: dict[str, Any] = {"columns": columns, "synthetic": _cells(synthetic, rng, n)}
    out["real"] = None if private else _cells(real[list(synthetic.columns)], rng, n)
    return out


def _cells(frame: pd.DataFrame, rng: np.random.Generator, n: int) -> list[list[str]]:
    picked = frame.iloc[rng.choice(len(frame), min(n, len(frame)), replace=False)]
    return [["" if pd.isna(v) else str(v)[:_MAX_TEXT] for v in row] for row in picked.itertuples(index=False)]


def png_sheet(pixels: np.ndarray, columns: int = 8) -> str:
    """Images ``uint8 (N, H, W, C)`` side by side as one PNG, in base64."""
    from PIL import Image

    n, h, w, c = pixels.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (h + 2), columns * (w + 2), c), 128, dtype=np.uint8)
    for i in range(n):
        y, x = divmod(i, columns)
        sheet[y * (h + 2) + 1 : y * (h + 2) + 1 + h, x * (w + 2) + 1 : x * (w + 2) + 1 + w] = pixels[i]
    stream = io.BytesIO()
    Image.fromarray(sheet[..., 0] if c == 1 else sheet).save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()
