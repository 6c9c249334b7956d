"""Images for the harness: principal components of the pixels, labels as codes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.data.image import ImageBatch
from zoo.errors import DataError, SchemaError
from zoo.evaluation.kit import Features, Kit, same_type
from zoo.evaluation.series import linear_hash
from zoo.evaluation.table import hash_columns
from zoo.evaluation.views import png_sheet
from zoo.schema import Schema

LABEL = "label"
_SIDE = 32  # larger images are averaged down to about this side before components are taken
_COMPONENTS = 32
_COMPONENTS_UTILITY = 64


def shrink(pixels: np.ndarray) -> np.ndarray:
    """Block means so that no side exceeds 32: ``float32 (N, D)`` in 0 to 1."""
    n, h, w, c = pixels.shape
    k = -(-max(h, w) // _SIDE)
    if k > 1:
        pixels = pixels[:, : h // k * k, : w // k * k]
        pixels = pixels.reshape(n, h // k, k, w // k, k, c).mean(axis=(2, 4), dtype=np.float32)
    return pixels.reshape(n, -1).astype(np.float32) / 255


def components(parts: tuple[ImageBatch, ...], k: int) -> tuple[np.ndarray, ...]:
    """Scores on the first ``k`` principal components of all parts together: ``float32 (N_i, k)`` each."""
    from sklearn.decomposition import PCA

    flat = [shrink(p.pixels) for p in parts]
    joined = np.concatenate(flat)
    k = min(k, *joined.shape)
    solver = "covariance_eigh" if joined.shape[1] <= 1024 else "randomized"
    with np.errstate(invalid="ignore"):  # of images that are all alike, shares of the variance are 0/0; none is used
        pca = PCA(k, svd_solver=solver, random_state=0).fit(joined)
    return tuple(pca.transform(f).astype(np.float32) for f in flat)


class ImageKit(Kit):
    """Images of one size: an ``ImageBatch``; the target can only be ``"label"``."""

    modality = "image"
    naive = "class means, pixels alone"

    def __init__(self, schema: Schema | None) -> None:
        self.schema = schema
        self.labelled = False

    def prepare(self, parts: Mapping[str, Any], target: str | None) -> dict[str, Any]:
        same_type(parts, "ImageBatch")
        train = parts["train"]
        for part, batch in parts.items():
            if batch.pixels.shape[1:] != train.pixels.shape[1:]:
                ours, theirs = train.pixels.shape[1:], batch.pixels.shape[1:]
                raise SchemaError(f"{part}: images are {theirs}, those of train {ours}; resize them")
            if batch.labels is not None and train.labels is not None and batch.classes != train.classes:
                raise SchemaError(f"{part}: classes {batch.classes} differ from train's {train.classes}")
        unlabelled = [part for part, batch in parts.items() if batch.labels is None]
        self.labelled = not unlabelled
        if target is not None and target != LABEL:
            raise DataError(f"target {target!r} is not known; images have the target 'label' only")
        if target is not None and unlabelled:
            raise DataError(f"target 'label': {unlabelled[0]} has no labels; leave target out or label it")
        return dict(parts)

    def length(self, data: ImageBatch) -> int:
        return len(data)

    def take(self, data: ImageBatch, index: np.ndarray) -> ImageBatch:
        return data[index]

    def independent(self, data: ImageBatch, n: int, rng: np.random.Generator) -> ImageBatch:
        """A class as often as it occurs, and every pixel drawn alone from its place in the training images of it.

        On average these are the means of the classes; without labels, the mean image.
        """
        flat = data.pixels.reshape(len(data), -1)
        drawn = np.zeros(n, dtype=np.int64)
        members, start = (
            np.arange(len(data)),
            np.array([0, len(data)]),
        )  # training images by class, and where one begins
        labels = None
        if data.labels is not None:
            labels = data.labels[rng.integers(len(data), size=n)]
            drawn, members = labels - data.labels.min(), np.argsort(data.labels, kind="stable")
            start = np.concatenate([[0], np.cumsum(np.bincount(data.labels - data.labels.min()))])
        out = np.empty((n, flat.shape[1]), dtype=np.uint8)
        for first in range(0, n, 1024):
            of = drawn[first : first + 1024]
            low, high = start[of][:, None], start[of + 1][:, None]
            rows = members[rng.integers(low, high, size=(len(of), flat.shape[1]))]
            out[first : first + len(of)] = np.take_along_axis(flat, rows, axis=0)
        return ImageBatch(out.reshape(n, *data.pixels.shape[1:]), labels, data.classes)

    def features(self, *parts: ImageBatch, without: str | None = None) -> Features:
        """Components of the pixels; with the label as a further column unless it is left out."""
        if without is not None:
            return Features(components(parts, _COMPONENTS_UTILITY), None, "logistic")
        matrices = components(parts, _COMPONENTS)
        if self.labelled and len(parts[0].classes) < 255:
            matrices = tuple(np.column_stack([m, self.labels(p, LABEL)]) for m, p in zip(matrices, parts))
        categorical = np.zeros(matrices[0].shape[1], dtype=bool)
        categorical[_COMPONENTS:] = self.labelled
        return Features(matrices, categorical, "boosting")

    def labels(self, data: ImageBatch, target: str) -> np.ndarray:
        assert data.labels is not None
        return data.labels

    def default_target(self) -> str | None:
        return LABEL if self.labelled else None

    def points(self, reference: ImageBatch, *parts: ImageBatch) -> tuple[np.ndarray, ...]:
        return components(parts, _COMPONENTS)

    def fingerprints(self, *parts: ImageBatch) -> tuple[np.ndarray, ...]:
        return tuple(
            hash_columns([linear_hash(p.pixels)] + ([p.labels] if self.labelled and p.labels is not None else []))
            for p in parts
        )

    def views(
        self, train: ImageBatch, synthetic: ImageBatch, *, private: bool, rng: np.random.Generator
    ) -> dict[str, Any]:
        columns = []
        if self.labelled and train.labels is not None and synthetic.labels is not None:
            size = len(train.classes)
            counts = [np.bincount(codes, minlength=size) / len(codes) for codes in (train.labels, synthetic.labels)]
            columns.append(_bars(LABEL, list(train.classes), counts))
        bins = np.linspace(0, 255, 25)
        light = [np.histogram(b.pixels.mean(axis=(1, 2, 3)), bins=bins)[0] / len(b) for b in (train, synthetic)]
        bright = _bars("mean brightness", [f"{e:.0f}" for e in bins], light)
        columns.append({**bright, "kind": "float", "shape": "histogram"})
        sheets = {"synthetic": _sheet(synthetic, rng), "real": None if private else _sheet(train, rng)}
        return {"columns": columns, "sheets": sheets}


def _bars(name: str, labels: list[str], shares: list[np.ndarray]) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "category",
        "shape": "bars",
        "labels": labels,
        "real": shares[0].tolist(),
        "synthetic": shares[1].tolist(),
        "missing": [0.0, 0.0],
    }


def _sheet(batch: ImageBatch, rng: np.random.Generator, n: int = 40) -> str:
    return png_sheet(batch.pixels[np.sort(rng.choice(len(batch), min(n, len(batch)), replace=False))])
