"""Stacks of dense layers, evaluated in NumPy.

Families of tables train in torch and sample in NumPy: importing torch takes half a gigabyte and seconds, and a network
of two or three dense layers needs none of it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from torch import nn


class DenseStack:
    """Linear layers with ReLU between them, on features by rows: ``(in, B)`` to ``(out, B)``.

    Rows run along the last axis, so that everything done to a feature afterwards is done to contiguous numbers.

    Parameters
    ----------
    layers
        Weight ``(out, in)`` and bias ``(out,)`` of each layer.
    """

    def __init__(self, layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        self._stored = [(publishable(weight), publishable(bias)) for weight, bias in layers]
        self._layers = [(w.astype(np.float32), b.astype(np.float32)[:, None]) for w, b in self._stored]

    @classmethod
    def of(cls, network: "nn.Sequential") -> Self:
        """The linear layers of a torch network, rounded to what is published."""
        from torch import nn

        linear = [m for m in network if isinstance(m, nn.Linear)]
        return cls([(m.weight.detach().cpu().numpy(), m.bias.detach().cpu().numpy()) for m in linear])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Output ``float32 (out, B)`` for input ``(in, B)``."""
        for i, (weight, bias) in enumerate(self._layers):
            if i:
                np.maximum(x, 0, out=x)  # of the layer before: the caller's array is only read
            x = weight @ x  # (out, B)
            x += bias
        return x

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for an artifact: ``0.weight``, ``0.bias``, ``1.weight``, …"""
        out = {f"{i}.weight": weight for i, (weight, _) in enumerate(self._stored)}
        return out | {f"{i}.bias": bias for i, (_, bias) in enumerate(self._stored)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], sizes: Sequence[int]) -> Self:
        """Take back what :meth:`arrays` gave, checked: it may come from an artifact of unknown origin.

        Parameters
        ----------
        arrays
            The arrays, none besides.
        sizes
            Width of the input and of each layer's output.

        Raises
        ------
        ValueError
            If an array is missing, has another shape or holds what is not finite.
        """
        wanted: dict[str, tuple[int, ...]]
        wanted = {f"{i}.weight": (sizes[i + 1], sizes[i]) for i in range(len(sizes) - 1)}
        wanted |= {f"{i}.bias": (sizes[i + 1],) for i in range(len(sizes) - 1)}
        if set(arrays) != set(wanted):
            raise ValueError(f"layers {sorted(set(arrays) ^ set(wanted))[0]!r} are missing or too many")
        for name, shape in wanted.items():
            array = arrays[name]
            if array.shape != shape:
                raise ValueError(f"layer {name!r} has shape {array.shape}, the configuration asks for {shape}")
            if array.dtype.kind != "f" or not np.isfinite(array).all():
                raise ValueError(f"layer {name!r} holds numbers that are not finite")
        return cls([(arrays[f"{i}.weight"], arrays[f"{i}.bias"]) for i in range(len(sizes) - 1)])


def publishable(array: np.ndarray) -> np.ndarray:
    """An array as it is stored: in half precision, or as it is where that would overflow."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.isfinite(half).all() else array


def draw_codes(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One code for each row, in proportion to weights.

    Parameters
    ----------
    weight
        ``float32 (K, B)``, at least one above 0 in each of the B columns; overwritten.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray
        ``int64 (B,)``; a code of weight 0 is never drawn.
    """
    for k in range(1, len(weight)):  # five times faster than cumsum along this axis
        np.add(weight[k], weight[k - 1], out=weight[k])
    end = weight[-1]
    point = rng.random(len(end), dtype=np.float32) * end
    np.minimum(point, np.nextafter(end, np.float32(0)), out=point)  # the product may round up to the end itself
    count = np.add.reduce((weight <= point).view(np.uint8), axis=0, dtype=np.uint8 if len(weight) < 256 else np.int32)
    return count.astype(np.int64)
