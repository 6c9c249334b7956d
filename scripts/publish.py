"""Make the bundled pretrained generators: run their recipes, keep artifact, card and picture, pin them in the index.

    python scripts/publish.py                          # all of them
    python scripts/publish.py tabular/tvae/adult       # one
    python scripts/publish.py --measure image/cgan/digits   # as it is there, evaluated and described anew
    python scripts/publish.py --index                  # only write the index anew

Everything in ``model_cards/`` is made here and by nobody's hand.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import zoo
from zoo.artifact import CARD, MANIFEST, dump_json, open_artifact
from zoo.cli import guarded
from zoo.errors import ArtifactError
from zoo.recipe import load_recipe, run
from zoo.registry import INDEX

ROOT = Path(__file__).parents[1]
CARDS = ROOT / "model_cards"

# Sets whose terms allow weights to be shared; the other recipes are for people to run.
PUBLISHED = (
    "tabular/gaussian_copula/adult",
    "tabular/gaussian_copula/adult_sample",
    "tabular/boosted/adult",
    "tabular/boosted/magic",
    "tabular/cart/adult",
    "tabular/cart/magic",
    "tabular/hybrid_copula/adult",
    "tabular/tvae/adult",
    "tabular/tvae/adult_sample",
    "timeseries/rnn/occupancy",
    "image/cgan/digits",
    "text/gpt/sms_spam",
)


def publish(name: str, *, smoke: bool, again: bool = False) -> None:
    """Run one recipe, or take the generator that is there again, and move what was saved into ``model_cards/``."""
    from zoo.data.catalog import dataset_info

    recipe = load_recipe(name)
    if not dataset_info(str(recipe.data.name)).licence_allows_weights:
        raise ArtifactError(f"the terms of {recipe.data.name} do not allow weights to be published; run its recipe")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made"
        chosen = recipe.parse(["--out", str(made), *(["--smoke"] if smoke else [])])
        run(chosen, recipe, zoo.load(str(CARDS / name)) if again else None)
        opened = open_artifact(made)
        opened.verify()
        target = CARDS / name
        if target.exists():
            shutil.rmtree(target)
        for file in (MANIFEST, CARD, *opened.files):
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / file, target / file)


def write_index() -> None:
    """Pin every manifest."""
    artifacts = {}
    for manifest in sorted(CARDS.glob(f"*/*/*/{MANIFEST}")):
        opened = open_artifact(manifest.parent)
        opened.verify()
        scores = opened.read_json("metrics.json")["scores"]
        artifacts[manifest.parent.relative_to(CARDS).as_posix()] = {
            "manifest_sha256": opened.manifest_sha256,
            "bytes": sum(size for _, size in opened.files.values()),
            "headline": ", ".join(f"{s['name']} {s['value']:.3f}" for s in scores[:3] if s["value"] is not None),
        }
    (CARDS / INDEX).write_bytes(dump_json({"format_version": 1, "artifacts": artifacts}))
    total = sum(p.stat().st_size for p in CARDS.rglob("*") if p.is_file())
    print(f"{len(artifacts)} artifacts, {total / 1e6:.1f} MB in {CARDS}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="recipes; all published ones by default")
    parser.add_argument("--index", action="store_true", help="only write index.json anew")
    parser.add_argument("--measure", action="store_true", help="evaluate what is there anew, and train nothing")
    parser.add_argument("--smoke", action="store_true", help="with the recipes' tiny settings, to try this script")
    options = parser.parse_args()
    for name in [] if options.index else options.names or PUBLISHED:
        print(f"== {name} (zoo {zoo.__version__})", file=sys.stderr)
        publish(name, smoke=options.smoke, again=options.measure)
    write_index()


if __name__ == "__main__":
    guarded(main)
