"""The learning rate over a run: a linear warm-up, then a cosine down to a share of the rate."""

import math
from typing import Any


def warmup_cosine(optimizer: Any, total_steps: float, *, warmup: float = 0.05, final: float = 0.1) -> dict[str, Any]:
    """What ``configure_optimizers`` returns for an optimizer whose rate warms up and decays.

    Reference: I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, arXiv
    1608.03983; the warm-up is that of P. Goyal et al., 2017, arXiv 1706.02677.

    Parameters
    ----------
    optimizer
        A ``torch.optim.Optimizer`` at its highest rate.
    total_steps
        Updates of the run, ``trainer.estimated_stepping_batches``; where they are infinite the rate stays up after 100
        steps of warm-up.
    warmup
        Share of the steps over which the rate rises.
    final
        Share of the rate that is left in the end.
    """
    from torch.optim.lr_scheduler import LambdaLR

    endless = math.isinf(total_steps)
    warm = 100 if endless else max(1, int(warmup * total_steps))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        if endless:
            return 1.0
        done = min(1.0, (step - warm) / max(1.0, total_steps - warm))
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))

    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}
