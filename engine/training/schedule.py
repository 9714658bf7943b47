"""How fast weights change at each step, and the optimiser that changes them."""

from __future__ import annotations

import math

import torch
from torch import nn

from engine.training.settings import OptimiserSettings


def rate_at(step: int, steps: int, settings: OptimiserSettings) -> float:
    """The learning rate of a step.

    It depends on nothing but the step, so a continued run needs no memory of it.

    Args:
        step: counted from 0.
        steps: of the whole run.
        settings: the highest rate, how it rises, and how it falls.
    """
    if step < settings.warmup_steps:
        return settings.rate * (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return settings.rate
    done = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    left = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return settings.rate * (settings.final_share + (1 - settings.final_share) * left)


def make_optimiser(module: nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """Adam as in the original, or AdamW, whose decay spares what has one dimension.

    Scales and shifts are no directions that decay could shorten without harm.
    """
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    if settings.kind == "adam":
        return torch.optim.Adam(weights, lr=settings.rate, weight_decay=settings.weight_decay)
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.rate)


class RunningMean:
    """The exponential running mean of a network's weights (Polyak and Juditsky, 1992).

    Args:
        module: the network; its weights now are the first mean.
        decay: what stays of the mean at a step; less in the first ones, or the beginning would
            weigh on it for long.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}
        self._decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after a step, counted from 0; counters and the like are copied."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            mean = self.state[name]
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
