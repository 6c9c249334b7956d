"""What samples of other tables are worth: a regression, rare classes, and a table of continuous columns."""

from typing import Any

import numpy as np
import pandas as pd

import zoo


def magic(family: str, seed: int) -> dict[str, float | None]:
    """Scores on Magic (70/30) by the harness."""
    train, test = zoo.load_dataset("magic"), zoo.load_dataset("magic", "test")
    generator = zoo.create(family).fit(train, seed=seed)
    made = generator.sample(len(train), seed=seed)
    names = ["fidelity.*", "detection.c2st_auc", "utility.tstr_auc", "privacy.closer_to_train", "privacy.membership*"]
    report = zoo.evaluate(train, made, test, "class", schema=generator.schema, metrics=names, seed=seed)
    return report.values | {"real": report["utility.tstr_auc"].anchors["real"]}


def _codes(table: pd.DataFrame, like: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Features ``float64 (N, D)`` with categories as codes of ``like``, and which columns are categories."""
    columns, categorical = [], []
    for name in like:
        numeric = pd.api.types.is_numeric_dtype(like[name])
        known = {} if numeric else {v: i for i, v in enumerate(sorted(like[name].dropna().unique()))}
        columns.append(table[name].astype(float) if numeric else table[name].map(known).astype(float))
        categorical.append(not numeric and len(known) <= 255)
    return np.column_stack(columns), np.array(categorical)


def beijing(family: str, seed: int) -> dict[str, float]:
    """Root mean squared error of the logarithm of PM2.5, of a model trained on samples and of one on real rows.

    As TabSyn's benchmark (arXiv 2310.09656) defines it: rows whose target is known, without their number; year, month,
    day and hour as categories; nine tenths to train at random; the logarithm of the target, cut at 1; the model chosen
    from a small grid on an eighth of what it is trained on. The learner is scikit-learn's histogram boosting.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    whole = pd.concat([zoo.load_dataset("beijing_pm25"), zoo.load_dataset("beijing_pm25", "test")], ignore_index=True)
    whole = whole[whole["pm2_5"].notna()].drop(columns="No").reset_index(drop=True)
    times = ["year", "month", "day", "hour"]
    whole = whole.astype(dict.fromkeys(times, str))
    order = np.random.default_rng(seed).permutation(len(whole))
    cut = len(whole) * 9 // 10
    train, test = whole.iloc[order[:cut]], whole.iloc[order[cut:]]
    made = zoo.create(family).fit(train, seed=seed).sample(len(train), seed=seed)
    x_test, categorical = _codes(test.drop(columns="pm2_5"), train.drop(columns="pm2_5"))
    y_test = np.log(test["pm2_5"].clip(1, 20_000))
    found = {}
    for name, table in (("synthetic", made), ("real", train)):
        x, _ = _codes(table.drop(columns="pm2_5"), train.drop(columns="pm2_5"))
        y = np.log(table["pm2_5"].astype(float).clip(1, 20_000)).to_numpy()
        rows = np.random.default_rng(seed).permutation(len(x))
        fit, valid = rows[len(rows) // 8 :], rows[: len(rows) // 8]
        best = (np.inf, None)
        for rate in (0.05, 0.1):
            for leaves in (31, 127):
                model: Any = HistGradientBoostingRegressor(
                    max_iter=600, learning_rate=rate, max_leaf_nodes=leaves, categorical_features=categorical,
                    early_stopping=True, random_state=seed,
                ).fit(x[fit], y[fit])  # fmt: skip
                error = float(np.sqrt(np.mean((model.predict(x[valid]) - y[valid]) ** 2)))
                best = min(best, (error, model), key=lambda b: b[0])
        found[name] = float(np.sqrt(np.mean((best[1].predict(x_test) - y_test) ** 2)))
    return found


def nsl_kdd(family: str, seed: int) -> dict[str, float]:
    """Macro F1 over the classes of attacks on real connections: learned from real ones, and from balanced samples too.

    The names of the attacks and their difficulty are left out. As many samples as real rows, a fifth of each class. The
    learner stops early: 11 rows of a class make histogram boosting diverge otherwise.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import f1_score

    train, test = (zoo.load_dataset("nsl_kdd", s).drop(columns=["label", "difficulty"]) for s in ("train", "test"))
    made = zoo.create(family).fit(train, seed=seed).sample(len(train), balance="attack_class", seed=seed)
    features = train.drop(columns="attack_class")
    x_test, categorical = _codes(test.drop(columns="attack_class"), features)
    found = {}
    for name, table in (("real", train), ("real and balanced", pd.concat([train, made])), ("balanced", made)):
        x, _ = _codes(table.drop(columns="attack_class"), features)
        model = HistGradientBoostingClassifier(
            learning_rate=0.05, categorical_features=categorical, early_stopping=True, random_state=seed
        ).fit(x, table["attack_class"].astype(str))
        found[name] = float(f1_score(test["attack_class"], model.predict(x_test), average="macro"))
    return found
