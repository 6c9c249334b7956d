"""Sweep one knob of each family of tables: what fidelity costs in privacy, as a picture and a table.

    python scripts/frontier.py                       # all; a run that was killed goes on where it was
    python scripts/frontier.py --families cart       # some

Half of Adult's training rows are learned from, and attacked as members; the test part are the strangers. Each point is
a process of its own that leaves one file in ``leaderboard/frontier/``; ``docs/frontier.md``, ``docs/frontier.json`` and
``docs/frontier.png`` are written from the files. Every number is the harness's.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from leaderboard import headline, run, write

ROOT = Path(__file__).parents[1]
ROWS = 16_280  # half of Adult's
# Family: the knob, and its values from safe to faithful; the default among them.
KNOBS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "boosted": ("leaves", (2, 4, 8)),
    "cart": ("min_leaf", (1000, 300, 100, 20, 5)),
    "mixture": ("states", (4, 16, 64, 256)),
    "hybrid_copula": ("width", (8, 64, 512)),
    "gaussian_copula": ("", (None,)),
    "vine_copula": ("", (None,)),
}
SCORES = {
    "C2ST": ("detection.c2st_auc",),
    "pairs": ("fidelity.trends",),
    "utility": ("utility.tstr_auc",),
    "membership": ("privacy.membership_auc",),
    "at 1 %": ("privacy.membership_tpr_1",),
    "closer to train": ("privacy.closer_to_train",),
}


def table(points: list[dict[str, Any]]) -> str:
    """All points, a family at a time."""
    lines = [
        "# Fidelity against privacy\n",
        "What one knob of each family buys and costs: half of Adult is learned from, and a membership attack (the "
        "ratio of distances to the nearest synthetic and to real reference records) tries to tell it from the test "
        "part. C2ST: area under the curve of a classifier that tells samples from real rows, 0.5 is best; membership: "
        "area under the curve of the attack, 0.5 is best; at 1 %: share of members found at 1 % false alarms, 0.01 is "
        "guessing. One seed a point; differences below 0.01 are noise. Made by `scripts/frontier.py`, by nobody's "
        "hand.\n",
        "![C2ST against the attack, a curve a family](frontier.png)\n",
        "| family | " + " | ".join(SCORES) + " | fit, CPU |",
        "| --- |" + " ---: |" * (len(SCORES) + 1),
    ]
    for point in points:
        knob = ", ".join(f"{k} {v}" for k, v in point.get("config", {}).items()) or "defaults"
        if point["status"] != "measured":
            lines.append(f"| `{point['family']}`, {knob} | not measured: {point['why']} |" + " |" * len(SCORES))
            continue
        cells = [f"{score['value']:.3f}" if (score := headline(point, n)) else "–" for n in SCORES.values()]
        lines.append(f"| `{point['family']}`, {knob} | {' | '.join(cells)} | {point['fit_cpu_seconds']:.1f} s |")
    anchors = {"real": "*real against real*", "naive": "*independent columns*", "copy": "*copies*"}
    measured = [p for p in points if p["status"] == "measured"]
    for anchor, title in anchors.items() if measured else ():
        found = [headline(measured[0], names) for names in SCORES.values()]
        values = [None if s is None else s["anchors"].get(anchor) for s in found]
        lines.append(f"| {title} | {' | '.join('–' if v is None else f'{v:.3f}' for v in values)} | |")
    return "\n".join(lines) + "\n"


def picture(points: list[dict[str, Any]], path: Path) -> None:
    """A curve a family; the lower left corner is best."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    measured = [p for p in points if p["status"] == "measured"]
    for family in dict.fromkeys(p["family"] for p in measured):
        mine = [p for p in measured if p["family"] == family]
        x = [headline(p, SCORES["C2ST"])["value"] for p in mine]
        y = [headline(p, SCORES["membership"])["value"] for p in mine]
        (line,) = axes.plot(x, y, marker="o", alpha=0.8, label=family.split("/")[1])
        for at, point in zip(zip(x, y), mine):
            label = ", ".join(f"{k}={v}" for k, v in point.get("config", {}).items())
            axes.annotate(label, at, fontsize=7, color=line.get_color(), xytext=(4, 4), textcoords="offset points")
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle="--")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.49), max(high, 0.56))  # differences of a hundredth are noise, and shall look like it
    axes.axvline(0.5, color="grey", linewidth=0.8, linestyle="--")
    axes.set(
        xlabel="classifier tells samples from real rows (0.5: cannot)",
        ylabel="attack tells members from strangers (0.5: cannot)",
        title="Adult, half as members",
    )
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(KNOBS), choices=list(KNOBS))
    parser.add_argument("--dataset", default="adult")
    parser.add_argument("--rows", type=int, default=ROWS, help="learned from")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training for each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--depth", choices=("quick", "standard"), default="standard")
    parser.add_argument("--again", action="store_true", help="measure anew what failed")
    parser.add_argument("--out", type=Path, default=ROOT, help="folder of docs/ and leaderboard/")
    options = parser.parse_args()
    from zoo import __version__

    budget = {k: getattr(options, k) for k in ("minutes", "rows", "seed", "depth")} | {"version": __version__}
    points = []
    for family in options.families:
        knob, values = KNOBS[family]
        for value in values:
            config = {knob: value} if knob else None
            print(f"{family} {config or ''} … ", end="", flush=True)
            name = f"{options.dataset}-{knob}-{value}" if knob else options.dataset
            folder = options.out / "leaderboard" / "frontier"
            point = run(f"tabular/{family}", options.dataset, budget, folder, options.again, config, name)
            points.append(point)
            print(point["status"] if point["status"] == "measured" else f"failed: {point['why']}", flush=True)
    write(options.out / "docs" / "frontier.json", json.dumps(points, indent=1))
    write(options.out / "docs" / "frontier.md", table(points))
    picture(points, options.out / "docs" / "frontier.png")
    print(f"wrote frontier.md, frontier.json and frontier.png in {options.out / 'docs'}")


if __name__ == "__main__":
    main()
