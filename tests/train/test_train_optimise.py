import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, PolynomialLR

from napari_cardioseg.domain import ConfigError
from napari_cardioseg.train.optimise import (
    OptimiserConfig,
    average_decay,
    build_optimiser,
    follow,
    learning_rate,
    momentum,
    set_rates,
)


class Net(nn.Module):
    """A trunk of two layers and a head."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({name: self.layer() for name in ("layer1", "layer10")})
        self.head = nn.Conv2d(2, 2, 1)

    @staticmethod
    def layer():
        return nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.Tanh())

    def forward(self, x):
        return self.head(self.backbone["layer10"](self.backbone["layer1"](x)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Net()


def take_step(network, how):
    """Take one step; give how far each entry of the network's state has moved."""
    before = copy.deepcopy(network.state_dict())
    optimiser = build_optimiser(network, how)
    network.train()
    images = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    (network(images) - 3).square().mean().backward()
    optimiser.step()
    return {n: float((v - before[n]).abs().max()) for n, v in network.state_dict().items()}


def rates(**settings):
    how = OptimiserConfig(learning_rate=1.0, **settings)
    return [learning_rate(step, how) for step in range(how.steps + 1)]


def test_the_rate_warms_up_and_falls_to_zero_by_half_a_cosine():
    course = rates(steps=110, warm_up=10)
    assert course[0] == pytest.approx(0.1)
    assert max(course) == course[9] == course[10] == 1.0
    assert course[60] == pytest.approx(0.5)
    assert course[35] == pytest.approx(0.5 + math.sqrt(0.125))
    assert course[110] == pytest.approx(0)
    assert all(a >= b for a, b in pairwise(course[10:]))


def test_poly_is_that_of_torch_after_a_constant_stretch():
    course = rates(steps=60, warm_up=0, hold=20, schedule="poly", power=0.9)
    assert set(course[:21]) == {1.0}
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = PolynomialLR(optimiser, total_iters=40, power=0.9)
    for rate in course[20:]:
        assert rate == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimiser.step()
        theirs.step()
    assert course[60] == 0


@pytest.mark.parametrize("method", ["sgd", "adamw"])
def test_one_cycle_is_that_of_torch(method):
    how = OptimiserConfig(steps=100, learning_rate=0.3, momentum=0.95, schedule="one-cycle", method=method)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    theirs = OneCycleLR(optimiser, max_lr=0.3, total_steps=100)
    ours = build_optimiser(Net(), how)
    for step in range(100):
        group = optimiser.param_groups[0]
        assert learning_rate(step, how) == pytest.approx(group["lr"], rel=1e-9)
        assert momentum(step, how) == pytest.approx(group["momentum"], rel=1e-9)
        set_rates(ours, step, how)
        for mine in ours.param_groups:
            assert mine["lr"] == learning_rate(step, how)
            assert (mine["betas"][0] if method == "adamw" else mine["momentum"]) == momentum(step, how)
        optimiser.step()
        if step < 99:
            theirs.step()


@pytest.mark.parametrize("schedule", ["cosine", "poly", "one-cycle", "constant"])
def test_no_schedule_leaps(schedule):
    course = rates(steps=400, warm_up=40, hold=40, schedule=schedule)
    assert max(abs(a - b) for a, b in pairwise(course[:-2])) < 0.03
    assert max(course) == pytest.approx(1.0, abs=1e-3)
    assert course[400] == pytest.approx(1.0 if schedule == "constant" else 0.0, abs=1e-5)
    assert all(rate >= 0 for rate in rates(steps=1, warm_up=0, schedule=schedule))


def test_weights_decay_but_not_biases_and_normalisation(network):
    optimiser = build_optimiser(network, OptimiserConfig(weight_decay=0.1))
    decay = {id(p): g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
    found = {name: decay.pop(id(p)) for name, p in network.named_parameters()}
    assert not decay
    for name, value in found.items():
        normalises = ".1." in name
        assert value == (0.0 if normalises or name.endswith("bias") else 0.1), name


def test_a_frozen_part_does_not_move_nor_do_its_statistics(network):
    moved = take_step(network, OptimiserConfig(frozen=("backbone.layer1",), warm_up=0))
    for name, distance in moved.items():
        if name.startswith("backbone.layer1."):
            assert distance == 0, name
        else:  # layer10 is another layer
            assert distance > 0, name


def test_frozen_normalisation_stays_through_training_and_uses_its_statistics(network):
    how = OptimiserConfig(freeze_norm=True, warm_up=0, average=0.0)
    moved = take_step(network, how)
    for name, distance in moved.items():
        assert (distance == 0) == (".1." in name), name
    images = torch.randn(4, 2, 8, 8)
    network.train()
    trained = network(images)
    torch.testing.assert_close(trained, network.eval()(images))


def test_a_rate_scales_the_first_step(network):
    lower = {"backbone": 0.1, "backbone.layer1": 0.01}
    how = OptimiserConfig(method="sgd", learning_rate=0.1, weight_decay=0.0, warm_up=0)
    plain = take_step(copy.deepcopy(network), how)
    slower = take_step(network, OptimiserConfig(**{**vars(how), "rates": lower}))
    for name, _ in network.named_parameters():
        factor = 1.0 if name.startswith("head") else 0.01 if "layer1." in name else 0.1
        assert slower[name] == pytest.approx(factor * plain[name], rel=1e-3, abs=1e-7), name


def test_a_part_that_is_not_there_is_named_with_those_that_are(network):
    for wrong in ({"frozen": ("back",)}, {"rates": {"backbone.layer": 0.1}}):
        with pytest.raises(ConfigError, match=r"no part 'back.*; it has backbone, head\."):
            build_optimiser(network, OptimiserConfig(**wrong))
    with pytest.raises(ConfigError, match="nothing can learn"):
        build_optimiser(network, OptimiserConfig(frozen=("backbone", "head")))


def test_sgd_takes_the_step_of_the_textbook():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(2.0)
    how = OptimiserConfig(
        method="sgd", learning_rate=0.1, momentum=0.5, nesterov=True, weight_decay=0.1, warm_up=0
    )
    optimiser = build_optimiser(network, how)
    weight, velocity = 2.0, 0.0
    for _ in range(3):
        optimiser.zero_grad()
        network(torch.ones(1, 1)).sum().backward()
        optimiser.step()
        gradient = 1 + 0.1 * weight
        velocity = 0.5 * velocity + gradient
        weight -= 0.1 * (gradient + 0.5 * velocity)
        assert float(network.weight.detach()) == pytest.approx(weight)


def test_the_average_follows_weights_and_statistics(network):
    average = copy.deepcopy(network)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.add_(2)
    before = copy.deepcopy(average.state_dict())
    follow(average, network, 0.75)
    for name, value in average.state_dict().items():
        by = 2 if name.endswith("num_batches_tracked") else 0.5
        torch.testing.assert_close(value, before[name] + by)
    follow(average, network, 0.0)
    for name, value in average.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name])


def test_the_average_forgets_the_first_steps():
    how = OptimiserConfig(average=0.99)
    assert [average_decay(step, how) for step in (1, 10)] == [pytest.approx(1 / 11), 0.5]
    assert average_decay(10_000, how) == 0.99
    assert average_decay(10_000, OptimiserConfig(average=0.0)) == 0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"steps": 0}, "steps must be more than 0"),
        ({"accumulate": 0}, "accumulate must be more than 0"),
        ({"hold": -1}, "hold must be at least 0"),
        ({"momentum": 1.0}, "momentum must be at least 0 and less than 1"),
        ({"method": "adam"}, "method is 'adam'; it can be adamw, sgd"),
        ({"schedule": "step"}, "schedule"),
        ({"precision": "int8"}, "precision"),
        ({"nesterov": True}, "nesterov needs the method sgd"),
        ({"frozen": "backbone"}, "is a list"),
        ({"rates": 0.1}, "is a table"),
        ({"rates": {"backbone": 0.0}}, "frozen"),
        ({"rates": {"backbone": {"layer1": 0.1}}}, "in quotes"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, sentence):
    with pytest.raises(ConfigError, match=sentence):
        OptimiserConfig(**wrong)
