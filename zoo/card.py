"""The model card and the other files that a person reads beside an artifact; every number comes from the harness."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.artifact import CARD, dump_json
from zoo.pictures import picture

if TYPE_CHECKING:
    from zoo.evaluation import Report
    from zoo.generator import Generator

METRICS, PICTURE = "metrics.json", "picture.png"


def save_with_card(
    generator: "Generator",
    folder: str | os.PathLike[str],
    *,
    name: str,
    report: "Report | None",
    real: Any,
    seed: int,
    data_name: str | None,
) -> None:
    """Save an artifact with card, metrics and picture; and, beside it, ``report.html``.

    Parameters
    ----------
    generator
        A ready generator.
    folder
        Where to.
    name
        ``modality/family/dataset``.
    report
        The harness's report; without one the card says that nothing was measured.
    real
        Training data for the picture; not shown when the data is private.
    seed
        Seed of the samples in the picture.
    data_name
        Data set in the catalogue, for its licence and citation; None for a person's own data.
    """
    form, schema = generator.form, generator.schema
    synthetic = generator.sample(min(500, form.length(real)), seed=seed)
    shown = None
    if not schema.private:
        index = np.random.default_rng(seed).permutation(form.length(real))[:500]
        shown = form.take(real, np.sort(index))
    extra = {PICTURE: picture(synthetic, schema, shown)}
    if report is not None:
        extra[METRICS] = dump_json(metrics_of(report))
    extra[CARD] = card(generator, name=name, report=report, data_name=data_name).encode()
    generator.save(folder, extra=extra)
    if report is not None:
        report.to_html(Path(folder) / "report.html")


def metrics_of(report: "Report") -> dict[str, Any]:
    """What ``metrics.json`` holds: the report without its samples and timings."""
    return {k: v for k, v in report.to_dict().items() if k not in ("views", "seconds")}


def card(generator: "Generator", *, name: str, report: "Report | None", data_name: str | None) -> str:
    """A Hub-style card in Markdown: front matter, use, training, measured scores, data, limits."""
    import inspect
    import sys

    from zoo import __version__

    family = generator.name
    doc = inspect.getdoc(sys.modules[type(generator).__module__]) or ""
    front, about = _data(generator, data_name)
    training = ", ".join(f"{k} {v}" for k, v in generator.training.items()) or "in closed form, without steps"
    configured = json.dumps(generator.config, sort_keys=True, default=list)
    scores = report.to_markdown() if report else "Not measured.\n"
    shown = "Synthetic samples." if generator.schema.private else "Real beside synthetic samples."
    return f"""---
{front}
---
# {name}

{doc.split(chr(10))[0]}

![{shown}]({PICTURE})

{shown}

## Use

```python
import zoo

generator = zoo.load("{name}")
samples = generator.sample(1000, seed=0)
dataset = generator.to_dataset(1000, seed=0)  # a Hugging Face datasets.Dataset
```

## What it is

{doc}

- Family: `{family}`, configuration `{configured}`
- Training: {training}
- Made with zoo {__version__}, by the recipe `{name}`

## Measured

On held-out real data, by `zoo.evaluate`; each score beside what real data and a naive generator reach on the same data.

{scores}
## Data

{about}

## Limits

A generator repeats the biases of its data. Scores of privacy here are evidence, not proof; read them before sharing
samples of personal data.
"""


def _data(generator: "Generator", data_name: str | None) -> tuple[str, str]:
    """The front matter, and the paragraph on the data."""
    import yaml

    front: dict[str, Any] = {
        "library_name": "generative-zoo",
        "tags": ["synthetic-data", generator.modality, generator.name.split("/")[1]],
    }
    if data_name is None:
        return yaml.safe_dump(front, sort_keys=True).strip(), "The user's own data."
    from zoo.data.catalog import dataset_info

    known = dataset_info(data_name)
    front["datasets"] = [data_name]
    front["license"] = "other"
    front["license_name"] = known.licence
    about = f"`{data_name}`: {known.description}\n\nLicence: {known.licence}.\n\nCitation: {known.citation}"
    return yaml.safe_dump(front, sort_keys=True).strip(), about
