"""Measure every family on every data set that it can take, within a stated budget; write the leaderboard.

    python scripts/leaderboard.py                                     # all; a run that was killed goes on where it was
    python scripts/leaderboard.py --families 'tabular/*' --datasets adult magic --minutes 5 --rows 20000
    python scripts/leaderboard.py --again                             # measure anew what failed

Each pair is a process of its own, with a limit of time, and leaves one file in ``leaderboard/``; what is there, made
with the same budget, seed and version, is not made again. Then ``LEADERBOARD.md``, ``leaderboard.json``,
``leaderboard.png`` and the table in ``README.md`` are written from the files. Every number is the harness's, on the
set's test part.
"""

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FORM = 1
MARKS = ("<!-- leaderboard -->", "<!-- end of the leaderboard -->")
# Headline scores: the question, how the column is called, and the names of which the first that is measured stands.
COLUMNS = (
    ("columns", ("fidelity.shapes",)),
    ("pairs", ("fidelity.trends", "fidelity.trends_all")),
    ("C2ST", ("detection.c2st_auc",)),
    ("coverage", ("diversity.coverage",)),
    ("utility", ("utility.tstr_auc", "utility.tstr_r2", "utility.tstr_accuracy")),
    ("membership", ("privacy.membership_auc",)),
    ("at 1 %", ("privacy.membership_tpr_1",)),
    ("verbatim", ("privacy.verbatim",)),
)


def write(path: Path, text: str) -> None:
    """Replace a file at once, so that a kill leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def measure(family: str, dataset: str, budget: dict[str, Any], config: dict[str, Any] | None = None) -> dict[str, Any]:
    """Fit, sample and evaluate one family on one set, in this process."""
    import resource

    import numpy as np

    import zoo
    from zoo.data.catalog import dataset_info
    from zoo.data.form import native_form

    info = dataset_info(dataset)
    form = native_form(info.modality)
    train, test = zoo.load_dataset(dataset, "train"), zoo.load_dataset(dataset, "test")
    if form.length(train) > budget["rows"]:
        rows = np.random.default_rng(budget["seed"]).choice(form.length(train), budget["rows"], replace=False)
        train = form.take(train, np.sort(rows))
    schema = form.infer(train)
    generator = zoo.create(family, **(config or {}))
    start, used = time.perf_counter(), time.process_time()
    generator.fit(train, schema=schema, seed=budget["seed"], train=zoo.TrainConfig(max_minutes=budget["minutes"]))
    fitted, fit_used = time.perf_counter(), time.process_time()
    synthetic = generator.sample(form.length(train), seed=budget["seed"])
    sampled = time.perf_counter()
    report = zoo.evaluate(
        train, synthetic, test, info.target, schema=generator.schema, seed=budget["seed"], depth=budget["depth"]
    )
    kept = ("name", "value", "interval", "anchors", "normalised", "reason")
    return {
        "status": "measured",
        "rows": dict(report.rows),
        "fit_seconds": round(fitted - start, 2),
        "fit_cpu_seconds": round(fit_used - used, 2),
        "sample_seconds": round(sampled - fitted, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "training": generator.training,
        "scores": [{k: s[k] for k in kept} for s in report.to_dict()["scores"]],
    }


def pairs(families: list[str], datasets: list[str]) -> list[tuple[str, str]]:
    """Families and sets of the same modality that match the patterns; a set that cannot be loaded is said and left."""
    import zoo
    from zoo.data.catalog import dataset_info

    def chosen(known: list[str], patterns: list[str]) -> list[str]:
        found = [n for n in known if any(fnmatch.fnmatchcase(n, p) for p in patterns)]
        lacking = [p for p in patterns if not fnmatch.filter(known, p)]
        if lacking:
            raise SystemExit(f"leaderboard: nothing matches {lacking[0]!r}; there are {', '.join(known)}")
        return found

    sets = chosen(zoo.list_datasets(), datasets)
    return [
        (f, d)
        for f in chosen(zoo.list_generators(), families)
        for d in sets
        if f.startswith(dataset_info(d).modality + "/")
    ]


def run(
    family: str,
    dataset: str,
    budget: dict[str, Any],
    folder: Path,
    again: bool,
    config: dict[str, Any] | None = None,
    name: str = "",
) -> dict[str, Any]:
    """One pair, of a family as it is or with some of its configuration: what is stored, or measured now in a process.

    ``name`` is that of the file, the data set's by default.
    """
    path = folder / family / f"{name or dataset}.json"
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if (
            stored.get("budget") == budget
            and stored.get("form") == FORM
            and stored.get("config", {}) == (config or {})
            and not (again and stored["status"] != "measured")
        ):
            return stored
    command = [sys.executable, __file__, "--one", family, dataset, "--budget", json.dumps(budget)]
    command += ["--config", json.dumps(config)] if config else []
    limit = 60 * budget["minutes"] * 3 + 600  # fitting may take its minutes, loading and measuring some more
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        if done.returncode == 0:
            found = json.loads(done.stdout.strip().splitlines()[-1])
        else:
            found = {"status": "failed", "why": (done.stderr.strip().splitlines() or ["killed"])[-1][:300]}
    except subprocess.TimeoutExpired:
        found = {"status": "failed", "why": f"took longer than {limit:.0f} s"}
    found |= {"form": FORM, "family": family, "dataset": dataset, "budget": budget}
    found |= {"config": config} if config else {}
    found["seconds"] = round(time.perf_counter() - start, 1)
    write(path, json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False))
    return found


def headline(result: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any] | None:
    """The first of the scores that has a value."""
    scores = {s["name"]: s for s in result.get("scores", ())}
    return next((scores[n] for n in names if n in scores and scores[n]["value"] is not None), None)


def quality(result: dict[str, Any]) -> float | None:
    """Mean over pairs, detection, coverage and utility of the place from naive (0) to real (1), cut to 0..1."""
    found = []
    for _, names in COLUMNS[1:5]:
        score = headline(result, names)
        if score is not None and score["normalised"] is not None:
            found.append(min(max(score["normalised"], 0.0), 1.0))
    return sum(found) / len(found) if found else None


def table(results: list[dict[str, Any]], budget: dict[str, Any]) -> str:
    """The leaderboard as Markdown: one table a data set, best quality first, real and naive beside."""
    lines = [
        "# Leaderboard\n",
        f"Every family on every data set that it can take: at most {budget['minutes']:g} minutes of training and "
        f"{budget['rows']:,} rows, seed {budget['seed']}, defaults untouched; measured by `zoo.evaluate` (depth "
        f"{budget['depth']}) on the test part, zoo {budget['version']}. *Quality* is the mean, over pairs, C2ST, "
        "coverage and utility, of the place between the naive generator (0) and real data (1). Membership: area under "
        "the curve of the attack, 0.5 is chance. Made by `scripts/leaderboard.py`, by nobody's hand.\n",
    ]
    for dataset in dict.fromkeys(r["dataset"] for r in results):
        rows = [r for r in results if r["dataset"] == dataset]
        measured = sorted((r for r in rows if r["status"] == "measured"), key=lambda r: -(quality(r) or 0))
        lines.append(f"## {dataset}\n")
        heads = [c for c, _ in COLUMNS]
        lines.append("| family | quality | " + " | ".join(heads) + " | fit, CPU | sample | memory |")
        lines.append("| --- |" + " ---: |" * (len(heads) + 4))
        for r in measured:
            cells = [_cell(headline(r, names)) for _, names in COLUMNS]
            q = quality(r)
            cost = f"{r['fit_cpu_seconds']:.1f} s | {r['sample_seconds']:.1f} s | {r['peak_mb']:,} MB"
            lines.append(
                f"| `{r['family']}` | {'–' if q is None else f'{q:.2f}'} | " + " | ".join(cells) + f" | {cost} |"
            )
        for anchor, title in (("real", "real against real"), ("naive", "naive"), ("copy", "copies")):
            if measured:
                found = [headline(measured[0], names) for _, names in COLUMNS]
                cells = [_number(None if s is None else s["anchors"].get(anchor)) for s in found]
                lines.append(f"| *{title}* | | " + " | ".join(cells) + " | | | |")
        lines += [f"\n`{r['family']}` was not measured: {r['why']}" for r in rows if r["status"] != "measured"]
        lines.append("")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _cell(score: dict[str, Any] | None) -> str:
    return "–" if score is None else _number(score["value"])


def readme_block(results: list[dict[str, Any]], budget: dict[str, Any]) -> str:
    """What README says in numbers: every family of tables on Adult, best quality first."""
    rows = [r for r in results if r["dataset"] == "adult" and r["status"] == "measured"]
    rows.sort(key=lambda r: -(quality(r) or 0))
    heads = [c for c, _ in COLUMNS]
    lines = [f"| on Adult | {' | '.join(heads)} | fit, CPU |", "| --- |" + " ---: |" * (len(heads) + 1)]
    for r in rows:
        cells = [_cell(headline(r, names)) for _, names in COLUMNS]
        lines.append(f"| `{r['family'].split('/')[1]}` | {' | '.join(cells)} | {r['fit_cpu_seconds']:.1f} s |")
    for anchor, title in (("real", "real against real"), ("naive", "independent columns"), ("copy", "copies")):
        found = [headline(rows[0], names) for _, names in COLUMNS] if rows else []
        cells = [_number(None if s is None else s["anchors"].get(anchor)) for s in found]
        lines += [f"| *{title}* | {' | '.join(cells)} | |"] if rows else []
    said = (
        f"Defaults, at most {budget['minutes']:g} minutes of training, seed {budget['seed']}, on the test part, which "
        "no generator saw; more in [LEADERBOARD.md](LEADERBOARD.md), intervals in `leaderboard.json`. "
        "C2ST: how well boosted trees tell samples from real rows, 0.5 is guessing; utility: area under the curve of a "
        "model trained on samples; membership: what an attack reaches, 0.5 is guessing, and what it finds at 1 % "
        "false alarms; verbatim: share of samples that are training rows."
    )
    return "\n".join([*lines, "", said])


def with_block(text: str, block: str) -> str:
    """A page with what stands between the two marks replaced."""
    before, rest = text.split(MARKS[0], 1)
    return f"{before}{MARKS[0]}\n{block}\n{MARKS[1]}{rest.split(MARKS[1], 1)[1]}"


def picture(results: list[dict[str, Any]], path: Path) -> None:
    """Quality against what the membership attack gets; the larger a dot, the longer the fit."""
    import matplotlib

    matplotlib.use("Agg")
    import numpy as np
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    families = list(dict.fromkeys(r["family"] for r in results))
    for family in families:
        dots = [
            (quality(r), m["value"], r["fit_cpu_seconds"], r["dataset"])
            for r in results
            if r["family"] == family and r["status"] == "measured" and (m := headline(r, ("privacy.membership_auc",)))
        ]
        dots = [d for d in dots if d[0] is not None]
        if not dots:
            continue
        x, y, seconds, names = zip(*dots)
        axes.scatter(x, y, s=20 + 60 * np.log10(1 + np.array(seconds)), alpha=0.7, label=family)
        for at, name in zip(zip(x, y), names):
            axes.annotate(name, at, fontsize=7, xytext=(4, 4), textcoords="offset points")
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle="--")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.45), max(high, 0.65))  # differences of a hundredth are noise, and shall look like it
    axes.set(xlabel="quality: 0 naive, 1 real", ylabel="membership attack (0.5: chance)", title="Size: time of the fit")
    if axes.has_data():
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=["*"], help="patterns such as 'tabular/*'")
    parser.add_argument("--datasets", nargs="+", default=["*"], help="patterns; zoo datasets lists them")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training for each")
    parser.add_argument("--rows", type=int, default=50_000, help="of training data at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--depth", choices=("quick", "standard", "full"), default="standard")
    parser.add_argument("--again", action="store_true", help="measure anew what failed")
    parser.add_argument("--out", type=Path, default=ROOT, help="folder of LEADERBOARD.md and leaderboard/")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--budget", help=argparse.SUPPRESS)
    parser.add_argument("--config", default="{}", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(
            json.dumps(measure(*options.one, json.loads(options.budget), json.loads(options.config)), allow_nan=False)
        )
        return
    from zoo import __version__

    budget = {k: getattr(options, k) for k in ("minutes", "rows", "seed", "depth")} | {"version": __version__}
    results, todo = [], pairs(options.families, options.datasets)
    for i, (family, dataset) in enumerate(todo):
        print(f"[{i + 1}/{len(todo)}] {family} on {dataset} … ", end="", flush=True)
        result = run(family, dataset, budget, options.out / "leaderboard", options.again)
        results.append(result)
        print(
            result["status"] if result["status"] == "measured" else f"{result['status']}: {result['why']}", flush=True
        )
    write(options.out / "leaderboard.json", json.dumps({"form": FORM, "budget": budget, "results": results}, indent=1))
    write(options.out / "LEADERBOARD.md", table(results, budget))
    picture(results, options.out / "leaderboard.png")
    print(f"wrote LEADERBOARD.md, leaderboard.json and leaderboard.png in {options.out}")
    readme = options.out / "README.md"
    if readme.exists() and MARKS[0] in (text := readme.read_text(encoding="utf-8")):
        write(readme, with_block(text, readme_block(results, budget)))


if __name__ == "__main__":
    main()
