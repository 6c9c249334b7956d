"""The examples feed generators into training jobs; here with small arguments and the smallest generators that will do.

Each example loads a pretrained generator by name. Where the package does not hold it, a quickly trained one is saved
under that name in ``$ZOO_HOME``, where ``zoo.load`` looks first.
"""

import importlib.util
import math
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import datasets
import numpy as np
import pytest
import torch

import zoo
from zoo.recipe import load_recipe
from zoo.registry import index

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pretrained(name: str, *arguments: str) -> Any:
    """The generator of this name; trained by its recipe and put in place if the package has none."""
    if name not in index():
        folder = Path(os.environ["ZOO_HOME"]) / name
        load_recipe(name).run_arguments(["--smoke", "--evaluate.no-enabled", "--out", str(folder), *arguments])
    return zoo.load(name)


@pytest.fixture
def seen() -> list[Any]:
    """What ``fit`` of an example was given to learn from, in order."""
    return []


def watch(module: ModuleType, seen: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fit = module.fit

    def watched(data: Any, *arguments: Any) -> float:
        seen.append(data)
        return fit(data, *arguments)

    monkeypatch.setattr(module, "fit", watched)


def test_dataloader(capsys: pytest.CaptureFixture[str]) -> None:
    pretrained("tabular/tvae/adult_sample", "--data.rows", "2000", "--train.epochs", "4")
    threads = torch.get_num_threads()
    scores = example("dataloader").main(steps=60, workers=2)
    assert torch.get_num_threads() == threads
    assert 0.5 < scores["commonest"] < 1
    assert math.isfinite(scores["accuracy"]) and scores["accuracy"] > 0.5, "two classes, learned from the stream"
    assert f"{scores['accuracy']:.3f}" in capsys.readouterr().out


def test_vision(seen: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained("image/cgan/digits")
    module = example("vision")
    watch(module, seen, monkeypatch)
    scores = module.main(real_a_class=2, synthetic=60, steps=4)
    assert all(0 <= score <= 1 for score in scores.values())
    real, mixed = seen
    assert len(real) == 20 and len(mixed) == 10 * 20 + 60
    first = np.stack([mixed[i][0].numpy() for i in range(20)])
    assert np.array_equal(first, np.stack([real[i][0].numpy() for i in range(20)])), "the real images are in the mix"
    made, labels = zip(*(mixed[i] for i in range(200, 260)))
    assert (
        made[0].shape == real[0][0].shape and 0 <= float(torch.stack(made).min()) <= float(torch.stack(made).max()) <= 1
    )
    assert len({int(label) for label in labels}) > 3, "several classes are synthesised"


def test_nlp(seen: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained("text/gpt/sms_spam")
    module = example("nlp")
    watch(module, seen, monkeypatch)
    scores = module.main(real=10, synthetic=24, steps=2)
    assert all(0 <= score <= 1 for score in scores.values())
    real, mixed = seen
    assert isinstance(mixed, datasets.Dataset) and mixed.features == real.features
    assert len(real) == 10 and len(mixed) == 5 * 10 + 24
    assert mixed[:10] == real[:10], "the real messages are in the mix"
    labels = mixed.features["label"].names
    assert [labels[code] for code in mixed[50:]["label"]] == ["ham"] * 12 + ["spam"] * 12, "as many of either kind"
