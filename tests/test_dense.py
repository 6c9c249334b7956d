"""Dense layers in NumPy: as torch computes them, stored in half precision, checked when they come back; draws."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from zoo.nn.dense import DenseStack, draw_codes, publishable


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def test_the_same_as_torch_up_to_half_precision() -> None:
    x = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    kept = x.copy()
    rounded = network().half().float()
    wanted = rounded(torch.from_numpy(x.T)).detach().numpy().T
    np.testing.assert_allclose(DenseStack.of(network())(x), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(x, kept)


def test_arrays_come_back_to_the_same_bytes() -> None:
    stack = DenseStack.of(network())
    arrays = stack.arrays()
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.float16)}
    back = DenseStack.from_arrays(arrays, [5, 16, 8, 3])
    x = np.ones((5, 3), dtype=np.float32)
    np.testing.assert_array_equal(back(x), stack(x))
    assert all(np.array_equal(arrays[k], v) for k, v in back.arrays().items())


def test_what_would_overflow_keeps_its_precision() -> None:
    large = np.array([1e6, 1.0], dtype=np.float32)
    assert publishable(large).dtype == np.float32 and publishable(large[1:]).dtype == np.float16


@pytest.mark.parametrize("what", ["missing", "surplus", "shape", "nan", "integer"])
def test_unsound_arrays_are_refused(what: str) -> None:
    arrays = DenseStack.of(network()).arrays()
    if what == "missing":
        del arrays["1.bias"]
    elif what == "surplus":
        arrays["3.bias"] = np.zeros(3)
    elif what == "shape":
        arrays["0.weight"] = arrays["0.weight"].T
    elif what == "nan":
        arrays["2.bias"] = np.full(3, np.nan)
    else:
        arrays["2.bias"] = np.zeros(3, dtype=np.int64)
    with pytest.raises(ValueError, match="layer"):
        DenseStack.from_arrays(arrays, [5, 16, 8, 3])


@pytest.mark.parametrize("codes", [5, 300])
def test_codes_are_drawn_in_proportion(codes: int) -> None:
    rng = np.random.default_rng(0)
    weight = rng.random(codes).astype(np.float32)
    weight[-1] = weight[0] = 0.0
    drawn = draw_codes(np.repeat(weight[:, None], 60_000, axis=1), rng)
    counts = np.bincount(drawn, minlength=codes)
    assert counts[0] == 0 and counts[-1] == 0
    inner = slice(1, -1)
    wanted = weight[inner].astype(np.float64)
    assert stats.chisquare(counts[inner], 60_000 * wanted / wanted.sum()).pvalue > 1e-3


def test_a_code_of_weight_zero_is_never_drawn_however_sums_round() -> None:
    weight = np.tile(np.array([[3e-8], [1.0], [0.0]], dtype=np.float32), (1, 200_000))
    assert draw_codes(weight, np.random.default_rng(1)).max() == 1
