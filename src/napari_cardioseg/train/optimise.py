"""How weights learn: the optimiser, the course of its rate, what is frozen, and the moving average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from napari_cardioseg.domain import ConfigError

METHODS = ("adamw", "sgd")
SCHEDULES = ("cosine", "poly", "one-cycle", "constant")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


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
        Steps between validations, which are also the steps between checkpoints.
    keep_best : bool
        Keep the weights that did best on the validation patients rather than the last.
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
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "crop", "learning_rate", "validate_every", "accumulate", "power"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"The training setting {name} must be more than 0.")
        for name in ("weight_decay", "warm_up", "hold", "gradient_norm"):
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
        if isinstance(self.frozen, str):
            raise ConfigError('The training setting frozen is a list, as in frozen = ["backbone"].')
        object.__setattr__(self, "frozen", tuple(self.frozen))
        for part, factor in self.rates.items():
            if not isinstance(factor, int | float) or factor <= 0:
                raise ConfigError(
                    f"The rate of {part!r} must be a factor of more than 0, with the part's name in quotes, "
                    'as in "backbone.layer1" = 0.1; parts that do not learn go under frozen.'
                )
