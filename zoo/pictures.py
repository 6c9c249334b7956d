"""One picture of real beside synthetic data, for cards, the quickstart and the eye."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.schema import Schema

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MONOSPACE = "DejaVu Sans Mono"  # rides in Matplotlib
REAL, SYNTHETIC = "#4c6ef5", "#f08c00"


def picture(synthetic: Any, schema: Schema, real: Any = None, *, title: str = "") -> bytes:
    """A PNG of synthetic samples, beside real ones where they may be shown.

    Parameters
    ----------
    synthetic, real
        Native data; a few hundred samples say enough. ``real`` is None for private data.
    schema
        Their schema.
    title
        A line above.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    draw: dict[str, Callable[..., None]] = {
        "tabular": _draw_table,
        "timeseries": _draw_series,
        "image": _draw_images,
        "text": _draw_texts,
    }
    figure = Figure(figsize=(9, 5), dpi=90, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    if schema.tables:  # of related tables, the one of most columns
        shown = max(schema.tables, key=lambda t: len(schema.tables[t]) if not schema.tables[t].shared else 0)
        synthetic, real, schema = synthetic[shown], None if real is None else real[shown], schema.tables[shown]
    draw[schema.modality](figure, synthetic, real, schema)
    if title:
        figure.suptitle(title, fontsize=11)
    buffer = io.BytesIO()
    # Matplotlib writes its version into the file unless told otherwise; a card's picture depends on its data alone.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_table(figure: "Figure", synthetic: Any, real: Any, schema: Schema) -> None:
    """Marginals of up to nine columns."""
    from matplotlib.ticker import EngFormatter

    from zoo.conditions import to_number

    shown = [c for c in schema if c.kind not in ("identifier", "text", "constant")][:9]
    if not shown:
        figure.text(0.5, 0.5, "no column to show", ha="center")
        return
    across = min(3, len(shown))
    axes = figure.subplots(-(-len(shown) // across), across, squeeze=False).ravel()
    parts = [(n, d, c) for n, d, c in (("real", real, REAL), ("synthetic", synthetic, SYNTHETIC)) if d is not None]
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    for axis, column in zip(axes, shown, strict=False):
        axis.set_title(column.name, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.set_yticks([])
        axis.spines[["top", "right", "left"]].set_visible(False)
        if column.is_discrete:
            counts = {n: d[column.name].value_counts(normalize=True) for n, d, _ in parts}
            top = list(counts[parts[0][0]].index[:6])
            for i, (name, _, colour) in enumerate(parts):
                height = [counts[name].get(v, 0.0) for v in top]
                axis.bar(np.arange(len(top)) + (i - 0.5) * 0.4, height, 0.4, color=colour, label=name)
            axis.set_xticks(range(len(top)), [str(v)[:10] for v in top], rotation=25, ha="right")
        else:
            numbers = {n: to_number(d[column.name], column) for n, d, _ in parts}
            known = np.concatenate([v[~np.isnan(v)] for v in numbers.values()])
            if len(known) == 0:
                continue
            low, high = np.quantile(known, [0.005, 0.995]).tolist()
            edges = np.linspace(low, high, 31)
            if edges[0] == edges[-1]:
                edges = edges[0] + np.linspace(-0.5, 0.5, 31)
            for name, _, colour in parts:
                share = np.histogram(numbers[name], edges)[0] / max(1, len(numbers[name]))
                axis.stairs(share, edges, fill=True, alpha=0.35, color=colour)
                axis.stairs(share, edges, color=colour, label=name)
            axis.locator_params(axis="x", nbins=5)
            if np.abs(edges).max() >= 1e5:  # 250k rather than 250000, which would run into its neighbour
                axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            if column.kind in ("datetime", "date"):
                ticks = np.linspace(edges[0], edges[-1], 3)
                axis.set_xticks(ticks, [str(np.datetime64(int(t), "s").astype("datetime64[D]")) for t in ticks])
    axes[0].legend(fontsize=8, frameon=False)


def _draw_series(figure: "Figure", synthetic: Any, real: Any, schema: Schema) -> None:
    """Up to four channels, a dozen series each."""
    parts = [(n, d, c) for n, d, c in (("real", real, REAL), ("synthetic", synthetic, SYNTHETIC)) if d is not None]
    channels = list(synthetic.channels)[:4]
    axes = figure.subplots(len(channels), len(parts), squeeze=False, sharex=True, sharey="row")
    for j, (name, data, colour) in enumerate(parts):
        for i, channel in enumerate(channels):
            axis = axes[i, j]
            axis.plot(data.values[:12, :, i].T, color=colour, alpha=0.55, linewidth=0.9)
            axis.tick_params(labelsize=7)
            axis.spines[["top", "right"]].set_visible(False)
            if i == 0:
                axis.set_title(name, fontsize=10)
            if j == 0:
                axis.set_ylabel(channel, fontsize=8)


def _draw_images(figure: "Figure", synthetic: Any, real: Any, schema: Schema) -> None:
    """Rows of classes: left real, right synthetic."""
    from zoo.data.image_io import sheet

    parts = [(n, d) for n, d in (("real", real), ("synthetic", synthetic)) if d is not None]
    for axis, (name, data) in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
        axis.imshow(sheet(data), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(name, fontsize=10)
        axis.set_axis_off()


def _draw_texts(figure: "Figure", synthetic: Any, real: Any, schema: Schema) -> None:
    """A dozen texts a side, each on one line; a box stands for what the font lacks."""
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont(_MONOSPACE))
    parts = [(n, d, c) for n, d, c in (("real", real, REAL), ("synthetic", synthetic, SYNTHETIC)) if d is not None]
    labels = [c.name for c in schema.by_role("label")][:1]
    for axis, (name, data, colour) in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
        axis.set_axis_off()
        axis.set_title(name, fontsize=10, color=colour)
        for i, row in enumerate(data.head(14).to_dict("records")):
            prefix = f"[{row[labels[0]]}] " if labels else ""
            line = (prefix + " ".join(str(row["text"]).split()))[: 118 // len(parts)]
            line = "".join(ch if ch.isprintable() and font.get_char_index(ord(ch)) else "□" for ch in line)
            axis.text(0, 1 - (i + 1) / 15.5, line.replace("$", r"\$"), fontsize=7, family=_MONOSPACE)
