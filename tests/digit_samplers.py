"""What samplers of networks over digits have in common in tests."""

import numpy as np

from zoo.nn.column_sampler import ColumnSampler


def calibrated(sampler: ColumnSampler, other: ColumnSampler) -> tuple[list[tuple[float, float]], np.ndarray]:
    """Calibrate a sampler by draws of another, whose biases are moved a little.

    Returns how far each digit's frequencies were from the other's before and after, and the rows that it draws then.
    """
    r = np.random.default_rng(0)
    rows = np.zeros((30_000, len(sampler.digits.sizes)), dtype=np.int64)
    other.arrays["head_bias"] += r.normal(size=len(other.arrays["head_bias"])).astype(np.float32) * 0.15
    other._cut()
    other.draw(rows, (), range(rows.shape[1]), r)  # a law near to the sampler's
    drawn = [np.zeros_like(rows) for _ in range(2)]
    sampler.draw(drawn[0], (), range(rows.shape[1]), np.random.default_rng(1))
    sampler.calibrate(rows)
    sampler.draw(drawn[1], (), range(rows.shape[1]), np.random.default_rng(1))
    far = []
    for j, size in enumerate(sampler.digits.sizes):
        before, after, wanted = (np.bincount(d[:, j], minlength=size) / len(d) for d in (*drawn, rows))
        far.append((float(np.abs(before - wanted).sum()), float(np.abs(after - wanted).sum())))
    return far, drawn[1]
