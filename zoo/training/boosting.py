"""Gradient-boosted binary classifiers by LightGBM, whose trees come back as arrays.

LightGBM (MIT) is the one learner of this speed on tables of bytes without a compiler at hand: 40 trees on 32,000 rows
and 14 columns take 0.13 s of one core. It is used for learning only. A booster runs in one thread, so that its trees do
not depend on the number of cores; many boosters run side by side.
"""

import ctypes
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import MissingExtraError
from zoo.statistics.tree_ensemble import TreeEnsemble, join

_LOWEST = 3e-4  # loss on the held-out rows below which what is asked is as good as certain

_CERTAIN = 0.01  # share of the rarer label up to which a leaf is settled at once
_PRIOR = 0.3  # rows of each label that a leaf is taken together with


def load_lightgbm() -> Any:
    """The module ``lightgbm``, with the OpenMP library that it needs and slim systems lack.

    torch ships one; it is loaded from there without importing torch.

    Raises
    ------
    MissingExtraError
        If LightGBM or an OpenMP library is not there.
    """
    try:
        if sys.platform == "linux":
            _find_openmp()
        import lightgbm
    except (ImportError, OSError) as error:
        raise MissingExtraError(
            f"LightGBM cannot be loaded: {error}; pip install lightgbm, and apt-get install libgomp1 for its OpenMP"
        ) from error
    return lightgbm


def _find_openmp() -> None:
    """Load the system's libgomp, else torch's copy, whose name in the process is the same."""
    try:
        ctypes.CDLL("libgomp.so.1", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        torch = importlib.util.find_spec("torch")
        copies = sorted(Path(torch.origin).parent.glob("lib/libgomp*.so*")) if torch and torch.origin else []
        if not copies:
            raise
        ctypes.CDLL(str(copies[0]), mode=ctypes.RTLD_GLOBAL)


class BoostingData:
    """Rows of byte features, from which boosters of subsets of rows learn.

    Parameters
    ----------
    levels
        ``uint8 (F, n)``.
    parameters
        LightGBM's names: ``num_leaves``, ``learning_rate``, …
    """

    def __init__(self, levels: np.ndarray, parameters: Mapping[str, Any]) -> None:
        self._lightgbm = load_lightgbm()
        self._levels = levels
        self._parameters = {
            "objective": "binary",
            "metric": "binary_logloss",
            "boost_from_average": False,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "use_missing": False,
            "min_data_in_bin": 1,
            "feature_pre_filter": False,
            "enable_bundle": False,
            "verbosity": -1,
            **parameters,
        }
        self._data = self._lightgbm.Dataset(
            np.ascontiguousarray(levels.T).astype(np.float32), params=self._parameters
        ).construct()

    def boost(
        self,
        rows: np.ndarray,
        label: np.ndarray,
        start: np.ndarray,
        fold: np.ndarray,
        ensembles: int,
        rounds: int,
        patience: int,
        begins: bool,
    ) -> TreeEnsemble | None:
        """Trees that improve on the log odds ``start``, judged on held-out rows; None if none do.

        Of several ensembles, each with other rows held out, the mean is taken; one whose trees do not help counts as 0.

        Parameters
        ----------
        rows
            ``int (m,)``, rising.
        label
            ``bool (m,)``.
        start
            ``float (m,)`` log odds to begin from.
        fold
            ``int (m,)``: rows of fold k decide how many trees ensemble k keeps.
        ensembles
            How many are averaged.
        rounds
            Trees of each at most.
        patience
            Trees without a lower loss on the held-out rows after which to stop.
        begins
            Whether these are the first trees, and ``start`` is one number.
        """
        certain = self._certain(rows, label, start) if begins and len(np.unique(fold)) > 1 else None
        if certain is not None:
            start = start + certain(self._levels, rows)
        made = [self._one(rows, label, start, fold == k, rounds, patience) for k in range(ensembles)]
        kept = [_scaled(e, 1 / ensembles) for e in made if e is not None]
        if certain is not None:
            kept.insert(0, certain)
        return join(kept) if kept else None

    def _one(
        self,
        rows: np.ndarray,
        label: np.ndarray,
        start: np.ndarray,
        held_out: np.ndarray,
        rounds: int,
        patience: int,
    ) -> TreeEnsemble | None:
        """The trees of one ensemble, if they help on the rows ``held_out (m,)``."""
        if not held_out.any() or held_out.all():
            return None
        train, valid = (self._subset(rows[part], label[part], start[part]) for part in (~held_out, held_out))
        booster = self._lightgbm.Booster(self._parameters, train)
        booster.add_valid(valid, "valid")
        lowest, best = booster.eval_valid()[0][2], 0
        for i in range(1, rounds + 1):
            if lowest < _LOWEST or booster.update():  # nothing left to learn, or to split
                break
            loss = booster.eval_valid()[0][2]
            if loss < lowest:
                lowest, best = loss, i
            if i - best >= patience:
                break
        if not best:
            return None
        made = _read(booster.model_to_string(num_iteration=best), best, self._parameters["num_leaves"])
        before = start[held_out]
        after = before + made(self._levels, rows[held_out])
        gain = _losses(before, label[held_out]) - _losses(after, label[held_out])
        return made if gain.sum() > 0 else None  # as rounded values have it

    def _certain(self, rows: np.ndarray, label: np.ndarray, start: np.ndarray) -> TreeEnsemble | None:
        """A tree that settles the rows that are nearly all of one label; None if there are no such leaves.

        Shrunk steps need fifty trees to say what never occurs, and early stopping comes first.
        """
        booster = self._lightgbm.Booster({**self._parameters, "learning_rate": 1.0}, self._subset(rows, label, start))
        if booster.update():
            return None
        tree = _read(booster.model_to_string(), 1, self._parameters["num_leaves"])
        leaves = tree.value.shape[1]
        tree.value[0] = np.arange(leaves)
        leaf = tree(self._levels, rows).astype(np.int64)
        total = np.bincount(leaf, minlength=leaves)
        right = np.bincount(leaf, weights=label, minlength=leaves)
        odds = np.log((right + _PRIOR) / (total - right + _PRIOR))
        sure = (np.minimum(right, total - right) <= _CERTAIN * total) & (total > 0)
        if not sure.any():
            return None
        return TreeEnsemble(
            tree.leaf, tree.feature, tree.threshold, np.where(sure, odds - start[0], 0.0).astype(np.float16)[None]
        )

    def _subset(self, rows: np.ndarray, label: np.ndarray, start: np.ndarray) -> Any:
        part = self._data.subset(rows)
        part.construct()
        part.set_label(label.astype(np.float32))
        part.set_init_score(start.astype(np.float64))
        return part


def _scaled(trees: TreeEnsemble, factor: float) -> TreeEnsemble:
    value = (trees.value.astype(np.float32) * factor).astype(np.float16)
    return TreeEnsemble(trees.leaf, trees.feature, trees.threshold, value)


def _losses(log_odds: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Negative log likelihood of each label, ``(n,)``."""
    return np.logaddexp(0.0, np.where(label, -log_odds, log_odds))


def _read(text: str, trees: int, leaves: int) -> TreeEnsemble:
    """The trees of LightGBM's text form."""
    splits = leaves - 1
    leaf = np.zeros((trees, splits), dtype=np.uint8)
    feature = np.zeros((trees, splits), dtype=np.uint16)
    threshold = np.full((trees, splits), 255, dtype=np.uint8)
    value = np.zeros((trees, leaves), dtype=np.float16)
    t = -1
    left: list[int] = []
    for line in text.splitlines():
        key, _, entry = line.partition("=")
        if key == "Tree":
            t += 1
        elif t < 0:
            continue
        elif key == "split_feature" and entry:
            numbers = [int(x) for x in entry.split()]
            feature[t, : len(numbers)] = numbers
        elif key == "threshold" and entry:
            cuts = [int(float(x)) for x in entry.split()]  # between two levels
            threshold[t, : len(cuts)] = cuts
        elif key == "left_child" and entry:
            left = [int(x) for x in entry.split()]
            for i, child in enumerate(left):
                while child >= 0:  # the left part of a divided leaf keeps its number
                    child = left[child]
                leaf[t, i] = -child - 1
        elif key == "leaf_value":
            values = [float(x) for x in entry.split()]
            value[t, : len(values)] = values
        elif key == "end of trees":
            break
    return TreeEnsemble(leaf, feature, threshold, value)
