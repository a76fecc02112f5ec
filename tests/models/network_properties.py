"""Properties that tests of several networks measure."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from napari_cardioseg.models import SegmentationNetwork, build_network
from napari_cardioseg.predict.tiles import logits_of


def awake(config) -> SegmentationNetwork:
    """Build a network for use in which no path is closed: residual branches that start at zero are drawn."""
    torch.manual_seed(0)
    network = build_network(config).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.constant_(module.bias, 0.2)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    return network


def parameters(network) -> int:
    return sum(p.numel() for p in network.parameters())


def measured_reach(network) -> int:
    """Measure by gradient how far the input may lie that an output pixel in the middle depends on.

    Outputs at every phase of the network's grid are looked at, as some see further than others.
    """
    network = copy.deepcopy(network).double()
    stride = network.stride
    length = 2 * (-(-network.reach // stride) + 2) * stride
    images = torch.rand(1, 1, length, stride, dtype=torch.float64, requires_grad=True)
    logits = network(images)
    furthest = 0
    for place in {length // 2 + offset for offset in (0, 1, stride // 2 - 1, stride // 2, stride - 1)}:
        (gradient,) = torch.autograd.grad(logits[0, :, place].sum(), images, retain_graph=True)
        touched = gradient.abs().sum(dim=(0, 1, 3)).nonzero()[:, 0]
        furthest = max(furthest, place - int(touched.min()), int(touched.max()) - place)
    return furthest


def assert_tiles_give_what_the_whole_image_gives(network) -> None:
    piece = -(-network.reach // network.stride) * network.stride
    images = torch.randn(1, 1, 3 * piece - 5, 24)
    with torch.no_grad():
        whole = logits_of(network, images, largest_side=4 * piece)
        tiled = logits_of(network, images, largest_side=piece)
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-4)


def assert_bfloat16_agrees(network) -> None:
    images = torch.randn(2, 1, 96, 64)
    with torch.no_grad():
        exact = network(images)
        fast = copy.deepcopy(network).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            rough = fast(images.contiguous(memory_format=torch.channels_last))
    assert rough.shape == exact.shape
    assert (rough.float() - exact).abs().mean() < 0.05 * exact.std()


def assert_learns_from_crops(config, sides=(64, 96, 160)) -> None:
    """Take steps on crops of several sizes; every weight has to have moved."""
    torch.manual_seed(0)
    network = build_network(config)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for side in sides:
        images = torch.randn(2, 1, side, side)
        outputs = network.training_outputs(images)
        loss = sum(weight * cross_entropy(logits, (images[:, 0] > 0).long()) for weight, logits in outputs)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        assert torch.isfinite(loss)
    still = [name for name, p in network.named_parameters() if torch.equal(p, before[name])]
    assert not still
