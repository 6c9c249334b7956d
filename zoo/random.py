"""Seeds and the isolation of global random state."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from zoo.errors import OptionError

if TYPE_CHECKING:
    import torch

MAX_SEED = 2**63 - 1


def check_seed(seed: int | None) -> int:
    """A valid seed: the caller's, or a fresh one from the operating system when it is None.

    Raises
    ------
    OptionError
        Unless 0 <= seed < 2**63.
    """
    if seed is None:
        return int(np.random.SeedSequence().entropy) & MAX_SEED  # type: ignore[arg-type]
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed <= MAX_SEED:
        raise OptionError(f"seed={seed!r} must be a whole number from 0 to 2**63 - 1, or None")
    return int(seed)


def block_rng(seed: int, block: int) -> np.random.Generator:
    """The generator of block ``block`` under ``seed``; independent of every other block's."""
    return np.random.default_rng(np.random.SeedSequence([seed, block]))


def torch_rng(rng: np.random.Generator, device: "torch.device | str" = "cpu") -> "torch.Generator":
    """A ``torch.Generator`` on ``device``, seeded by a draw from ``rng``."""
    import torch

    return torch.Generator(device).manual_seed(int(rng.integers(MAX_SEED)))


@contextmanager
def isolated_rng() -> Iterator[None]:
    """Restore the global random states of Python, NumPy and (where loaded) torch on leaving."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002 - the legacy global state is what has to be kept
    torch = sys.modules.get("torch")
    torch_state = torch.get_rng_state() if torch else None
    cuda_states = torch.cuda.get_rng_state_all() if torch and torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        if torch and torch_state is not None:
            torch.set_rng_state(torch_state)
        if torch and cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
