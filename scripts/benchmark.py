"""Measure what the README promises: import, fits, samples, memory, quality; each in a process of its own.

    python scripts/benchmark.py                 # everything (Adult is needed: ZOO_DATA, the cache or the network)
    python scripts/benchmark.py import boosted  # some of it
    python scripts/benchmark.py --json out.json

Times are wall-clock seconds, memory is the peak resident set of a fresh process in MB (the import included).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SEEDS = (0, 1, 2)

_HEAD = """
import json, resource, sys, time
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
"""


def fresh(code: str) -> dict[str, Any]:
    """Run code in a fresh Python; its last line of output is JSON."""
    done = subprocess.run([sys.executable, "-c", _HEAD + code], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(f"benchmark failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def best_of(command: list[str], times: int = 5) -> float:
    """The shortest of several runs of a command, in seconds."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return min(taken)


Row = tuple[str, str, str]  # what, asked, measured


def imports() -> list[Row]:
    bare = best_of([sys.executable, "-c", "pass"])
    whole = best_of([sys.executable, "-c", "import zoo"])
    listing = best_of([sys.executable, "-m", "zoo.cli", "list"])
    return [
        ("import zoo (Python's start included)", "< 0.3 s", f"{whole:.2f} s (bare Python {bare:.2f} s)"),
        ("zoo list", "< 0.5 s", f"{listing:.2f} s"),
    ]


_FIT = """
import os, tempfile
import zoo
table = zoo.load_dataset("adult")
generator = zoo.create({family!r})
{warm}
start = time.perf_counter()
generator.fit(table, seed={seed}, train=zoo.TrainConfig({train}))
seconds = time.perf_counter() - start
generator.save({folder!r})
print(json.dumps({{"seconds": seconds, "peak": peak(), "training": generator.training}}))
"""

_SAMPLE = """
import zoo
generator = zoo.load({folder!r})
generator.sample(10, seed=1)
start = time.perf_counter()
made = generator.sample(1_000_000, seed=0)
assert len(made) == 1_000_000
print(json.dumps({{"seconds": time.perf_counter() - start, "peak": peak()}}))
"""

_STREAM = """
import zoo
generator = zoo.load({folder!r})
start, rows = time.perf_counter(), 0
for batch in generator.stream(batch_size=1000, seed=0):
    rows += len(batch)
    if rows >= 1_000_000: break
print(json.dumps({{"seconds": time.perf_counter() - start, "peak": peak()}}))
"""

_QUALITY = """
import zoo
generator = zoo.load({folder!r})
train, test = zoo.load_dataset("adult"), zoo.load_dataset("adult", "test")
made = generator.sample(len(train), seed={seed})
report = zoo.evaluate(train, made, holdout=test, target="income", schema=generator.schema, seed={seed})
print(json.dumps(report.values))
"""


def family(name: str, train: str, asked: dict[str, str]) -> list[Row]:
    """Fit, sample, stream and measure one tabular family on Adult; quality is the mean over the seeds."""
    import tempfile

    with tempfile.TemporaryDirectory() as root:
        folders = [f"{root}/{seed}" for seed in SEEDS]
        fits = [
            fresh(_FIT.format(family=name, train=train, seed=seed, folder=folder, warm=asked.get("warm", "")))
            for seed, folder in zip(SEEDS, folders, strict=True)
        ]
        sampled = [fresh(_SAMPLE.format(folder=folders[0])) for _ in SEEDS]
        streamed = fresh(_STREAM.format(folder=folders[0]))
        scores = [fresh(_QUALITY.format(folder=f, seed=s)) for s, f in zip(SEEDS, folders, strict=True)]
    mean = {k: sum(s[k] for s in scores) / len(scores) for k in scores[0] if scores[0][k] is not None}
    fit_times = sorted(f["seconds"] for f in fits)
    sample_times = sorted(s["seconds"] for s in sampled)
    quality = " / ".join(f"{mean[k]:.3f}" for k in QUALITY)
    others = ", ".join(f"{k} {v:.3f}" for k, v in mean.items() if k not in QUALITY)
    peak = max(s["peak"] for s in sampled)
    return [
        (f"{name}: fit on Adult, {train or 'defaults'}", asked["fit"], f"{fit_times[1]:.2f} s (median of 3)"),
        (
            f"{name}: 1,000,000 rows",
            asked["sample"],
            f"{sample_times[1]:.2f} s (median of 3), {peak:.0f} MB",
        ),
        (
            f"{name}: streamed 1,000,000 rows",
            asked.get("stream", "-"),
            f"{streamed['seconds']:.2f} s, {streamed['peak']:.0f} MB",
        ),
        (
            f"{name}: shapes / trends / TSTR AUC, C2ST AUC / closer to train",
            asked["quality"],
            f"{quality} (mean of 3 seeds)",
        ),
        (f"{name}: further scores", "-", others),
    ]


_LIGHTNING = "import sklearn.mixture, zoo.training.trainer"  # a fit is timed, not the import of Lightning
# Family -> what training it is given, and what is asked of it on Adult: fit; a million rows; the quality that
# ``QUALITY`` names, in its order.
FAMILIES: dict[str, tuple[str, dict[str, str]]] = {
    "gaussian_copula": (
        "",
        {"fit": "<= 0.4 s", "sample": "<= 2 s, <= 600 MB", "stream": "< 300 MB", "quality": ">= 0.995 / 0.85 / 0.885"},
    ),
    "vine_copula": ("", {"fit": "<= 30 s", "sample": "<= 20 s", "quality": "-", "warm": "import pyvinecopulib"}),
    "tvae": (
        "epochs=20",
        {"fit": "<= 15 s", "sample": "<= 5 s, <= 600 MB", "quality": ">= 0.92 / 0.88 / 0.89", "warm": _LIGHTNING},
    ),
    "boosted": ("", {"fit": "<= 15 s", "sample": "<= 40 s", "quality": ">= 0.995 / 0.990 / 0.918, <= 0.515 / 0.510"}),
    "cart": ("", {"fit": "<= 2 s", "sample": "<= 8 s", "quality": ">= 0.995 / 0.990 / 0.918, <= 0.545 / 0.513"}),
    "autoregressive": (
        "",
        {
            "fit": "<= 120 s",
            "sample": "<= 8 s, <= 800 MB",
            "quality": ">= 0.991 / 0.980 / 0.918, <= 0.56 / 0.505",
            "warm": _LIGHTNING,
        },
    ),
    "diffusion": (
        "",
        {
            "fit": "<= 15 min",
            "sample": "<= 60 s",
            "quality": ">= 0.993 / 0.984 / 0.915, <= 0.55 / 0.505",
            "warm": _LIGHTNING,
        },
    ),
    "mixture": ("", {"fit": "<= 60 s", "sample": "<= 5 s", "quality": ">= 0.992 / 0.975 / 0.905, <= 0.60 / 0.505"}),
    "hybrid_copula": (
        "",
        {
            "fit": "<= 60 s",
            "sample": "<= 5 s",
            "quality": ">= 0.993 / 0.96 / 0.91, <= 0.70 / 0.505",
            "warm": _LIGHTNING,
        },
    ),
    "ctgan": (
        "",
        {
            "fit": "<= 3 s an epoch",
            "sample": "<= 5 s",
            "quality": ">= 0.93 / 0.90 / 0.89, <= 0.90 / 0.505",
            "warm": _LIGHTNING,
        },
    ),
}
QUALITY = (
    "fidelity.shapes",
    "fidelity.trends",
    "utility.tstr_auc",
    "detection.c2st_auc",
    "privacy.closer_to_train",
)


def table_family(name: str) -> list[Row]:
    train, asked = FAMILIES[name]
    return family(f"tabular/{name}", train, asked)


def trainer() -> list[Row]:
    sys.path.insert(0, str(ROOT / "scripts"))
    from bench.trainer_overhead import benchmark_trainer

    measured = benchmark_trainer()
    return [
        (
            "trainer: step at batch 500 against a bare loop",
            "<= 1.15",
            f"{measured['ratio']:.3f} ({measured['bare_ms']:.2f} ms bare, {measured['fit_ms']:.2f} ms fit)",
        )
    ]


_TABLES = """
sys.path.insert(0, "scripts")
from bench import tables
print(json.dumps(tables.{name}("tabular/{family}", {seed})))
"""
# What is asked of the leading family elsewhere than on Adult.
ELSEWHERE = {
    "magic": "C2ST <= 0.53 at closer to train <= 0.510, TSTR AUC within 0.012 of real",
    "beijing": "RMSE <= 0.56",
    "nsl_kdd": "real and balanced above real",
}


def elsewhere(name: str, families: tuple[str, ...] = ("boosted", "cart")) -> list[Row]:
    """Means over the seeds of what ``bench/tables.py`` measures."""
    rows = []
    for family in families:
        found = [fresh(_TABLES.format(name=name, family=family, seed=seed)) for seed in SEEDS]
        mean = {k: sum(f[k] for f in found) / len(found) for k in found[0] if found[0][k] is not None}
        measured = ", ".join(f"{k} {v:.3f}" for k, v in mean.items())
        rows.append((f"{family} on {name}", ELSEWHERE[name], f"{measured} (mean of 3 seeds)"))
    return rows


BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "import": imports,
    **{name: partial(table_family, name) for name in FAMILIES},
    **{name: partial(elsewhere, name) for name in ELSEWHERE},
    "trainer": trainer,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--json", type=Path, help="also write the rows as JSON")
    options = parser.parse_args()
    unknown = [n for n in options.names if n not in BENCHMARKS]  # argparse's choices would refuse no name at all
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start\n\n| what | asked | measured |\n| --- | --- | --- |")
    rows: list[Row] = []
    for name in options.names or BENCHMARKS:
        for row in BENCHMARKS[name]():
            rows.append(row)
            print("| " + " | ".join(row) + " |", flush=True)
    if options.json:
        options.json.write_text(json.dumps([dict(zip(("what", "asked", "measured"), r, strict=True)) for r in rows]))


if __name__ == "__main__":
    main()
