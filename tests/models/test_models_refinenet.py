"""RefineNet: published sizes, the paper's units, and the way from coarse to fine."""

from __future__ import annotations

import pytest
import torch
from network_properties import (
    assert_bfloat16_agrees,
    assert_learns_from_crops,
    assert_tiles_give_what_the_whole_image_gives,
    awake,
    measured_reach,
    parameters,
)
from torch import nn

from napari_cardioseg.domain import ModelError
from napari_cardioseg.models import build_network
from napari_cardioseg.models.refinenet import ChainedResidualPooling, ResidualConvolutionUnit

SMALL = {"name": "refinenet", "backbone": "resnet18", "width": 2, "features": 4}


@pytest.mark.parametrize(("backbone", "millions"), [("resnet50", 99), ("resnet101", 118)])
def test_it_has_the_published_number_of_parameters(backbone, millions):
    # Nekrasov et al. 2018 (arXiv 1810.03272), who count the authors' models with four poolings in a chain.
    config = {"name": "refinenet", "channels": 3, "classes": 21, "backbone": backbone, "pools": 4}
    with torch.device("meta"):
        network = build_network(config)
    assert round(parameters(network) / 1e6) == millions


def test_it_has_the_papers_layers():
    def convolution(n_in, n_out):
        return 9 * n_in * n_out + n_out

    with torch.device("meta"):
        network = build_network({"name": "refinenet", "channels": 3, "classes": 21})
    trunk = 44_549_160 - (2048 * 1000 + 1000)  # torchvision's ResNet-101 without its classifier
    adaptation = sum(convolution(n, m) for n, m in ((2048, 512), (1024, 256), (512, 256), (256, 256)))
    # Two units on each stage's features; three between blocks; three after the last.
    units = (2 + 3) * (2 * convolution(512, 512)) + 3 * (2 + 3) * (2 * convolution(256, 256))
    fusion = convolution(512, 256) + 2 * convolution(256, 256) + 3 * convolution(256, 256)
    pooling = 2 * convolution(512, 512) + 3 * 2 * convolution(256, 256)
    assert parameters(network) == trunk + adaptation + units + fusion + pooling + convolution(256, 21)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.blocks.modules())
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.5]


def test_a_residual_unit_adds_to_its_input():
    unit = ResidualConvolutionUnit(4)
    x = torch.randn(1, 4, 8, 8)
    kept = x.clone()
    expected = x + unit.conv2(unit.conv1(x.clamp(min=0)).clamp(min=0))
    torch.testing.assert_close(unit(x), expected)
    assert torch.equal(x, kept)


def test_pooling_is_chained_and_every_link_is_added():
    pooling = ChainedResidualPooling(1, 2)
    for conv in pooling.convs:  # each a copy of its input, so that what is left is the pooling
        nn.init.dirac_(conv.weight)
        nn.init.zeros_(conv.bias)
    x = torch.zeros(1, 1, 13, 13)
    x[0, 0, 6, 6] = 1.0
    x[0, 0, 0, 0] = -1.0
    row = pooling(x)[0, 0, 6]
    assert row.tolist() == [0, 0, 1, 1, 2, 2, 3, 2, 2, 1, 1, 0, 0]


def test_blocks_go_from_a_32nd_to_a_quarter_of_the_image():
    network = build_network({**SMALL, "classes": 5}).eval()
    seen = []
    for block in network.blocks:
        block.register_forward_hook(lambda _module, _inputs, x: seen.append(tuple(x.shape[1:])))
    logits = network(torch.zeros(1, 1, 96, 64))
    assert seen == [(8, 3, 2), (4, 6, 4), (4, 12, 8), (4, 24, 16)]
    assert network.stride == 32
    assert logits.shape == (1, 5, 96, 64)


@pytest.mark.parametrize("pools", [1, 2])
def test_no_pixel_reaches_further_than_stated(pools):
    # Max pooling passes each gradient to one of its inputs only: a mean has the same field, and shows it.
    network = awake({**SMALL, "pools": pools})
    for block in network.blocks:
        block.refine[0].pool = nn.AvgPool2d(5, stride=1, padding=2)
    assert 0.9 * network.reach < measured_reach(network) <= network.reach


def test_tiles_give_what_the_whole_image_gives():
    assert_tiles_give_what_the_whole_image_gives(awake(SMALL))


def test_half_precision_agrees():
    assert_bfloat16_agrees(awake({**SMALL, "width": 8, "features": 16}))


def test_it_learns_from_crops():
    assert_learns_from_crops(SMALL)


@pytest.mark.parametrize("arguments", [{"features": 0}, {"pools": 0}, {"classes": 0}])
def test_impossible_networks_are_refused_with_a_sentence(arguments):
    with pytest.raises(ModelError, match="positive numbers of classes, features and pools"):
        build_network({**SMALL, **arguments})
