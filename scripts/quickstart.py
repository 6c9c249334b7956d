"""The first minutes with the zoo, on real data that rides in the package; run by ``scripts/quickstart.sh``.

Lists the registry; loads and samples a pretrained generator of each modality; trains one by its recipe; evaluates it
on held-out real data; trains a classifier on the synthetic data; leaves everything in ``out/quickstart/``.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import zoo
from zoo.cli import guarded
from zoo.pictures import picture

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).parents[1]
OUT = Path("out/quickstart")
PRETRAINED = (
    "tabular/tvae/adult_sample",
    "timeseries/rnn/occupancy",
    "image/cgan/digits",
    "text/gpt/sms_spam",
)
RECIPE = "tabular/gaussian_copula/adult_sample"
FILES = {"tabular": "rows.parquet", "timeseries": "series.npz", "image": "digits.png", "text": "messages.parquet"}


def step(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def main() -> None:
    start = time.monotonic()
    OUT.mkdir(parents=True, exist_ok=True)
    step("1. What there is")
    for name in zoo.list_generators():
        made = [p.rsplit("/", 1)[1] for p in zoo.list_pretrained(f"{name}/*")]
        print(f"   {name:28} pretrained on {', '.join(made) or 'nothing yet'}")

    step("2. Sample from a pretrained generator of each modality")
    (OUT / "samples").mkdir(exist_ok=True)
    for name in PRETRAINED:
        began = time.monotonic()
        generator = zoo.load(name)
        n = {"tabular": 5000, "text": 100}.get(generator.modality, 500)
        samples = generator.sample(n, seed=0)
        path = OUT / "samples" / FILES[generator.modality]
        generator.form.write(samples, str(path))
        print(f"   {name:28} {n:>5} samples in {time.monotonic() - began:.1f} s -> {path}")

    step(f"3. Train by a recipe: python recipes/{RECIPE}.py")
    if (OUT / "artifact").exists():
        shutil.rmtree(OUT / "artifact")
    subprocess.run(
        [
            sys.executable,
            str(ROOT / "recipes" / f"{RECIPE}.py"),
            "--out",
            str(OUT / "artifact"),
            "--evaluate.no-enabled",
        ],
        check=True,
    )

    step("4. Evaluate it on held-out real data")
    generator = zoo.load(OUT / "artifact")
    train, test = zoo.load_dataset("adult_sample"), zoo.load_dataset("adult_sample", "test")
    synthetic = generator.sample(len(train), seed=0)
    report = zoo.evaluate(train, synthetic, holdout=test, target="income", schema=generator.schema, quick=True)
    report.to_html(OUT / "report.html")
    report.to_json(OUT / "report.json")
    (OUT / "picture.png").write_bytes(
        picture(synthetic, generator.schema, train, title="UCI Adult, real and synthetic")
    )
    print(report)

    step("5. Train a classifier on synthetic rows, test it on real ones")
    real, fake = accuracy(train, test), accuracy(synthetic, test)
    print(f"   accuracy on real test rows: {fake:.3f} trained on synthetic, {real:.3f} trained on real")

    print(f"\nDone in {time.monotonic() - start:.0f} s. Look at:")
    for what in ("report.html", "picture.png", "samples/digits.png", "samples/rows.parquet", "artifact/README.md"):
        print(f"   {OUT / what}")
    print("\nThree numbers:")
    for title, sentence in report.headline(3):
        print(f"   {title}: {sentence}")


def accuracy(train: "pd.DataFrame", test: "pd.DataFrame") -> float:
    """Accuracy on real test rows of boosted trees trained on a table."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    texts = [c for c in train.columns if train[c].dtype == "str" and c != "income"]
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    model = make_pipeline(
        make_column_transformer((codes, texts), remainder="passthrough"),
        HistGradientBoostingClassifier(random_state=0),
    )
    model.fit(train.drop(columns="income"), train["income"])
    return float(model.score(test.drop(columns="income"), test["income"]))


if __name__ == "__main__":
    guarded(main)
