"""How long to train where the caller does not say: a number of updates, in whole epochs, for a table of any size."""

import dataclasses

import numpy as np

from zoo.training.config import TrainConfig

_VALIDATION_ROWS = 2000  # at most: more are no help to early stopping, and are missed in training


def with_budget(
    train: TrainConfig,
    rows: int,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    epochs: int = 300,
    patience: int = 20,
) -> TrainConfig:
    """What the caller left open: as many epochs as make the steps, an average over their last twentieth.

    Parameters
    ----------
    train
        What the caller said.
    rows
        Rows to train on; small tables stop early, by held-out rows.
    steps, batch_size, learning_rate
        The family's choice: updates; rows of each; step size.
    epochs
        At most, however few the rows.
    patience
        Epochs without a better loss of held-out rows after which training ends.
    """
    batch = train.batch_size or batch_size
    passes = train.epochs or int(np.clip(-(-steps * batch // rows), 1, epochs))
    taken = passes * -(-rows // batch)
    if train.max_steps is not None:
        taken = min(taken, train.max_steps) if train.epochs else train.max_steps
    train = train.with_defaults(
        epochs=passes,
        batch_size=batch,
        learning_rate=learning_rate,
        patience=patience,
        ema_decay=float(np.clip(1 - 20 / taken, 0.0, 0.995)),
    )
    return dataclasses.replace(train, validation_fraction=min(train.validation_fraction, _VALIDATION_ROWS / rows))
