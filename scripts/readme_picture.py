"""Draw ``docs/real_beside_synthetic.png``: held-out real data beside samples of a bundled generator of each modality.

python scripts/readme_picture.py
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

import zoo
from zoo.cli import guarded
from zoo.pictures import picture

TARGET = Path(__file__).parents[1] / "docs" / "real_beside_synthetic.png"
SHOWN = (
    "tabular/tvae/adult_sample",
    "timeseries/rnn/occupancy",
    "image/cgan/digits",
    "text/gpt/sms_spam",
)
GAP = 24  # pixels between two pictures


def draw(names: tuple[str, ...], seed: int) -> Image.Image:
    """The pictures of the generators, two in a row."""
    parts = []
    for name in names:
        generator = zoo.load(name)
        real = zoo.load_dataset(name.split("/")[2], "test")
        chosen = np.random.default_rng(seed).permutation(generator.form.length(real))[:500]
        real = generator.form.take(real, chosen)
        synthetic = generator.sample(len(chosen), seed=seed)
        parts.append(Image.open(io.BytesIO(picture(synthetic, generator.schema, real, title=name))).convert("RGB"))
    width, height = parts[0].size
    rows = -(-len(parts) // 2)
    sheet = Image.new("RGB", (2 * width + GAP, rows * (height + GAP) - GAP), "white")
    for i, part in enumerate(parts):
        sheet.paste(part, ((i % 2) * (width + GAP), (i // 2) * (height + GAP)))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=SHOWN, help="pretrained generators; one a modality by default")
    parser.add_argument("--output", type=Path, default=TARGET)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    draw(tuple(options.names), options.seed).quantize(256).save(options.output, optimize=True)
    print(f"wrote {options.output} ({options.output.stat().st_size / 1e3:.0f} kB)")


if __name__ == "__main__":
    guarded(main)
