"""How weights learn: the optimiser, the course of its rate, what is frozen, and the moving average."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from napari_cardioseg.domain import ConfigError

METHODS = ("adamw", "sgd")
SCHEDULES = ("cosine", "poly", "one-cycle", "constant")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")

_SMALLEST_CROP = 16  # pixels


@dataclass(frozen=True)
class OptimiserConfig:
    """How long and how fast to learn.

    By default AdamW (Loshchilov & Hutter, 2019) with a linear warm-up and a cosine decay to zero, and an
    exponential moving average of the weights, which is what is kept.

    Parameters
    ----------
    steps : int
        Steps of the optimiser in all.
    batch : int
        Crops in a step, or in each of its `accumulate` parts.
    crop : int
        Side of a crop in pixels.
    method : {"adamw", "sgd"}
        Optimiser.
    learning_rate : float
        The highest.
    momentum : float
        SGD's momentum, or AdamW's first beta.
    nesterov : bool
        SGD with Nesterov's momentum.
    weight_decay : float
        Of all weights but those of normalisation, and not of biases: AdamW's decoupled, SGD's L2 penalty.
    schedule : {"cosine", "poly", "one-cycle", "constant"}
        Course of the rate (`learning_rate`).
    warm_up : int
        Steps in which the rate rises to its highest; one-cycle rises in its own way instead.
    hold : int
        Steps at the highest rate before its decay; of no matter to one-cycle.
    power : float
        Exponent of the poly schedule.
    average : float
        Decay of the moving average in each step; 0 keeps the weights themselves.
    gradient_norm : float
        Gradients longer than this are shortened to it; 0 leaves them as they are.
    accumulate : int
        Batches whose gradients are averaged in one step.
    precision : {"auto", "fp32", "bf16", "fp16"}
        Of the convolutions: "auto" is bfloat16 where the hardware has it, else float32.
    frozen : tuple of str
        Parts of the network, by the names of its modules ("backbone.layer1"), that do not learn.
    rates : mapping of str to float
        Factors on the learning rate of parts of the network; of two that hold a parameter the longer counts.
    freeze_norm : bool
        Keep the statistics and weights of batch normalisation as they are, as befits small batches.
    validate_every : int
        Steps between validations.
    keep_best : bool
        Keep the weights that did best on the validation patients rather than the last.
    patience : int
        Validations without a new best score after which the run stops early; 0 to run to its end.
    seed : int
        Seed of all randomness.
    """

    steps: int = 8000
    batch: int = 8
    crop: int = 160
    method: str = "adamw"
    learning_rate: float = 2e-3
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.02
    schedule: str = "cosine"
    warm_up: int = 200
    hold: int = 0
    power: float = 0.9
    average: float = 0.998
    gradient_norm: float = 5.0
    accumulate: int = 1
    precision: str = "auto"
    frozen: tuple[str, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    freeze_norm: bool = False
    validate_every: int = 500
    keep_best: bool = True
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "crop", "learning_rate", "validate_every", "accumulate", "power"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"The training setting {name} must be more than 0.")
        if self.crop < _SMALLEST_CROP:
            raise ConfigError(f"A crop of {self.crop} pixels shows no heart; give at least {_SMALLEST_CROP}.")
        for name in ("weight_decay", "warm_up", "hold", "gradient_norm", "patience", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"The training setting {name} must be at least 0.")
        for name in ("average", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"The training setting {name} must be at least 0 and less than 1.")
        for name, choices in (("method", METHODS), ("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"The training setting {name} is {getattr(self, name)!r}; it can be {', '.join(choices)}."
                )
        if self.nesterov and (self.method != "sgd" or not self.momentum):
            raise ConfigError("The training setting nesterov needs the method sgd and a momentum.")
        frozen: Any = self.frozen
        if isinstance(frozen, str):
            raise ConfigError('The training setting frozen is a list, as in frozen = ["backbone"].')
        rates: Any = self.rates
        if not isinstance(rates, Mapping):
            raise ConfigError("The training setting rates is a table, as in rates = { backbone = 0.1 }.")
        object.__setattr__(self, "frozen", tuple(frozen))
        for part, factor in rates.items():
            if not isinstance(factor, int | float) or factor <= 0:
                raise ConfigError(
                    f"The rate of {part!r} must be a factor of more than 0, with the part's name in quotes, "
                    'as in "backbone.layer1" = 0.1; parts that do not learn go under frozen.'
                )


def learning_rate(step: int, how: OptimiserConfig) -> float:
    """Give the learning rate of a step counted from 0.

    The rate rises linearly through the warm-up, stays at its highest while it is held, and then falls to
    zero: by half a cosine, or by (1 - share of the decay done) ^ power (poly, as in DeepLab), or not at all
    (constant). One-cycle (Smith & Topin, "Super-convergence", 2018) rises by half a cosine from 1/25 of the
    highest through the first 30 % of the steps, and falls by another through the rest.
    """
    if how.schedule == "one-cycle":
        return how.learning_rate * _one_cycle(step, how.steps, 1 / 25, 1.0, 1 / 25e4)
    if step < how.warm_up:
        return how.learning_rate * (step + 1) / how.warm_up
    start = how.warm_up + how.hold
    done = min(max(step - start, 0) / max(how.steps - start, 1), 1.0)
    if how.schedule == "cosine":
        return how.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    if how.schedule == "poly":
        return how.learning_rate * math.pow(1 - done, how.power)
    return how.learning_rate


def momentum(step: int, how: OptimiserConfig) -> float:
    """Give the momentum of a step counted from 0: one-cycle lowers it by 0.1 where the rate is highest."""
    if how.schedule == "one-cycle":
        return _one_cycle(step, how.steps, how.momentum, max(how.momentum - 0.1, 0.0), how.momentum)
    return how.momentum


def _one_cycle(step: int, steps: int, first: float, peak: float, last: float) -> float:
    turn = max(0.3 * steps - 1, 0.0)
    if step < turn:
        start, end, done = first, peak, step / turn
    else:
        start, end, done = peak, last, min((step - turn) / max(steps - 1 - turn, 1.0), 1.0)
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * done))


def set_rates(optimiser: torch.optim.Optimizer, step: int, how: OptimiserConfig) -> None:
    """Give each group of parameters its learning rate and momentum of a step counted from 0."""
    rate, inertia = learning_rate(step, how), momentum(step, how)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
        if how.method == "adamw":
            group["betas"] = (inertia, group["betas"][1])
        else:
            group["momentum"] = inertia


def build_optimiser(network: nn.Module, how: OptimiserConfig) -> torch.optim.Optimizer:
    """Freeze what is not to learn, and make the optimiser of the rest.

    Frozen batch normalisation keeps its statistics, and works with them, even when the network is told to
    train. Each group of parameters has its factor on the learning rate under "factor", for `set_rates`.
    Layers must not be exchanged afterwards (`convert_sync_batchnorm` comes before).

    Parameters
    ----------
    network : Module
        On the device where it will learn.
    how : OptimiserConfig

    Raises
    ------
    ConfigError
        If a name under `frozen` or `rates` is of no part of the network, or nothing is left to learn.
    """
    _freeze(network, how)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            part = max(_holding(name, how.rates), key=len, default=None)
            factor = 1.0 if part is None else float(how.rates[part])
            # Weight decay on normalisation parameters and biases only slows learning.
            groups.setdefault((factor, parameter.ndim > 1), []).append(parameter)
    if not groups:
        raise ConfigError(
            "The training settings freeze every part of the network, so that nothing can learn."
        )
    described: list[dict[str, Any]] = [
        {"params": members, "factor": factor, "weight_decay": how.weight_decay if decays else 0.0}
        for (factor, decays), members in groups.items()
    ]
    if how.method == "sgd":
        optimiser: torch.optim.Optimizer = torch.optim.SGD(
            described, how.learning_rate, momentum=how.momentum, nesterov=how.nesterov, fused=True
        )
    else:
        optimiser = torch.optim.AdamW(described, how.learning_rate, betas=(how.momentum, 0.999), fused=True)
    set_rates(optimiser, 0, how)
    return optimiser


def _freeze(network: nn.Module, how: OptimiserConfig) -> None:
    names = [name for name, _ in network.named_parameters()]
    for part in (*how.frozen, *how.rates):
        if not any(_holding(name, (part,)) for name in names):
            parts = dict.fromkeys(name.partition(".")[0] for name in names)
            raise ConfigError(f"The network has no part {part!r} to train apart; it has {', '.join(parts)}.")
    for name, parameter in network.named_parameters():
        if any(_holding(name, how.frozen)):
            parameter.requires_grad_(False)
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm) and (
            how.freeze_norm or any(_holding(name, how.frozen))
        ):
            module.requires_grad_(False)
            module.register_forward_pre_hook(_stay_as_it_is)


def _holding(name: str, parts: Iterable[str]) -> list[str]:
    """Give those of `parts` of a network that hold the parameter or module called `name`."""
    return [part for part in parts if name == part or name.startswith(part + ".")]


def _stay_as_it_is(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    module.eval()


def average_decay(step: int, how: OptimiserConfig) -> float:
    """Give the moving average's decay in a step counted from 1; less in the first, to forget the start."""
    return min(how.average, step / (step + 10))


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights, and the statistics of batch normalisation, towards the network's."""
    for a, b in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if a.is_floating_point():
            a.lerp_(b, 1 - decay)
        else:
            a.copy_(b)
