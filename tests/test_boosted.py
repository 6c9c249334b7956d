"""Boosted: dependence is learned, certain relations hold, updates go on, cores change nothing, altered artifacts."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import zoo
from zoo.data.tabular import TableForm
from zoo.errors import ArtifactError, SchemaError
from zoo.generators.tabular.boosted import Boosted


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def waves(n: int = 4000, shift: float = 0.0) -> pd.DataFrame:
    """y follows x, not monotonically; the label says on which side; grade repeats level in words."""
    r = rng(int(shift) + 1)
    x = r.uniform(-3, 3, n)
    y = np.sin(2 * x) + 0.1 * r.normal(size=n) + shift
    level = r.integers(0, 4, n)
    grade = np.array(["none", "low", "mid", "high"])[level]
    return pd.DataFrame({"x": x, "y": y, "level": level, "grade": grade, "up": y > shift})


@pytest.fixture(scope="module")
def fitted() -> Boosted:
    return Boosted().fit(waves(), seed=0)


def test_what_is_not_monotone_is_learned(fitted: Boosted) -> None:
    made = fitted.sample(4000, seed=0)
    residual = made.y - np.sin(2 * made.x)
    assert residual.abs().median() < 0.15  # 0.07 in the data, 0.9 of independent columns
    assert ((made.y > 0) == made.up).mean() > 0.97


def test_what_is_certain_stays_certain(fitted: Boosted) -> None:
    made = fitted.sample(4000, seed=0)
    words = made.level.map({0: "none", 1: "low", 2: "mid", 3: "high"})
    assert (words == made.grade).mean() > 0.99


def test_the_number_of_cores_changes_nothing(fitted: Boosted, tmp_path: Path) -> None:
    fitted.save(tmp_path / "a")
    waves().to_parquet(tmp_path / "t.parquet")
    code = (
        "import os, sys, pandas as pd\n"
        "os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[:1]))\n"
        "from zoo.generators.tabular.boosted import Boosted\n"
        "Boosted().fit(pd.read_parquet(sys.argv[1]), seed=0).save(sys.argv[2])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    arguments = [sys.executable, "-c", code, str(tmp_path / "t.parquet"), str(tmp_path / "b")]
    subprocess.run(arguments, check=True, env=environment)
    one, many = (zoo.load(str(tmp_path / name)).sample(9000, seed=1) for name in "ba")
    assert TableForm().equal(one, many)


def test_ensembles_are_averaged_and_not_added() -> None:
    """Their mean leaves log odds as large as one ensemble's, and has more trees."""
    odds, trees = [], []
    for ensembles in (1, 4):
        made = Boosted(ensembles=ensembles).fit(waves(), seed=0)
        column = next(c for c in made._trees[1:] if c.trees and c.trees[0] is not None)
        levels = rng(1).integers(0, 255, (5, 2000), dtype=np.uint8)
        odds.append(np.abs(column.log_odds(0, levels)).mean())
        trees.append(sum(len(e) for t in made._trees for e in t.trees if e is not None))
    assert 0.6 < odds[1] / odds[0] < 1.6
    assert trees[1] > 2 * trees[0]


def test_an_update_learns_what_is_new_and_keeps_what_was() -> None:
    first = pd.concat([waves(3000), waves(400, shift=5)], ignore_index=True)
    schema = TableForm().infer(pd.concat([first, waves(3000, shift=5)], ignore_index=True))  # the range to come
    before = Boosted().fit(first, schema=schema, seed=0)
    old = before.sample(3000, seed=0)
    after = Boosted().fit(first, schema=schema, seed=0).update(waves(3000, shift=5), seed=1)
    made = after.sample(6000, seed=0)
    assert 0.08 < (old.y > 2.5).mean() < 0.16
    assert 0.4 < (made.y > 2.5).mean() < 0.6  # 3,400 of 6,400
    for part, shift in ((made[made.y < 2.5], 0), (made[made.y > 2.5], 5)):
        assert (part.y - np.sin(2 * part.x) - shift).abs().median() < 0.35
    again = Boosted().fit(first, schema=schema, seed=0).update(waves(3000, shift=5), seed=1)
    assert TableForm().equal(again.sample(50, seed=0), made.head(50))


def test_an_update_of_another_table_is_refused(fitted: Boosted) -> None:
    before = fitted.sample(20, seed=0)
    with pytest.raises(SchemaError, match="'grade'"):
        fitted.update(waves(50).assign(grade="unheard of"))
    assert TableForm().equal(fitted.sample(20, seed=0), before)


def change(folder: Path, edit: Any) -> None:
    """Alter the arrays of an artifact and make its manifest true again, as an attacker would."""
    file = folder / "model.safetensors"
    arrays = load_file(file)
    edit(arrays)
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, file)
    manifest = json.loads((folder / "manifest.json").read_text())
    about = manifest["files"]["model.safetensors"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if isinstance(about, dict):
        about |= {"sha256": digest} | ({"size": file.stat().st_size} if "size" in about else {})
    else:
        manifest["files"]["model.safetensors"] = digest
    (folder / "manifest.json").write_text(json.dumps(manifest))


EDITS: dict[str, Any] = {
    "a feature behind its column": lambda a: a.update({"2.feature": a["2.feature"] + 7}),
    "values that are not finite": lambda a: a.update({"2.value": a["2.value"] * np.float16(np.inf)}),
    "counts below zero": lambda a: a.update({"1.counts": -a["1.counts"]}),
    "forks that are no tree": lambda a: a.update({"1.forks": a["1.forks"] + 1}),
    "too few trees": lambda a: a.update({"1.trees": a["1.trees"] * 2}),
    "no counts": lambda a: a.pop("1.counts"),
    "an order of no columns": lambda a: a.update({"sequence.order": a["sequence.order"] * 0}),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_altered_artifact_gives_one_error(name: str, fitted: Boosted, tmp_path: Path) -> None:
    fitted.save(tmp_path / "a")
    change(tmp_path / "a", lambda arrays: None)
    assert zoo.load(str(tmp_path / "a")).is_ready  # the manifest is accepted: it is the arrays that are refused
    change(tmp_path / "a", EDITS[name])
    with pytest.raises(ArtifactError) as error:
        zoo.load(str(tmp_path / "a"))
    assert "\n" not in str(error.value)
