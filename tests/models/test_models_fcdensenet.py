"""FC-DenseNet: the paper's layers, feature maps and parameters; only new features are carried up."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_cardioseg.domain import ModelError
from napari_cardioseg.models import build_network
from napari_cardioseg.predict.tiles import logits_of

SMALL = {"growth": 2, "layers": [1, 2], "bottleneck": 2, "first": 3}


def camvid(name):
    with torch.device("meta"):
        return build_network({"name": name, "channels": 3, "classes": 11})


@pytest.mark.parametrize(
    ("name", "counted"),
    # The paper's table 3 has 1.5, 3.5 and 9.4 million. Its authors' program counts the running mean and
    # variance of batch normalisation too; it gives 1.40 million for FC-DenseNet56, not 1.5.
    [("fcdensenet56", 1.4), ("fcdensenet67", 3.5), ("fcdensenet103", 9.4)],
)
def test_the_number_of_parameters_is_the_papers(name, counted):
    values = camvid(name).state_dict()
    n = sum(value.numel() for key, value in values.items() if "num_batches" not in key)
    assert round(n / 1e6, 1) == counted


@pytest.mark.parametrize("layers", [56, 67, 103])
def test_it_has_as_many_convolutions_as_its_name_says(layers):
    modules = camvid(f"fcdensenet{layers}").modules()
    assert sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in modules) == layers


def test_feature_maps_are_those_of_the_papers_table():
    network = camvid("fcdensenet103")
    down = [transition[2].in_channels for transition in network.transition_down]
    assert down == [112, 192, 304, 464, 656]
    up = [block.layers[-1][2].in_channels + 16 for block in network.up]
    assert up == [1088, 816, 576, 384, 256]  # the paper prints 578 for the third, which no sum gives
    assert network.head.in_channels == 256


def test_the_transposed_convolutions_see_only_what_their_block_made():
    network = camvid("fcdensenet103")
    assert [layer.in_channels for layer in network.transition_up] == [
        15 * 16,
        12 * 16,
        10 * 16,
        7 * 16,
        5 * 16,
    ]
    assert all(layer.kernel_size == (3, 3) and layer.stride == (2, 2) for layer in network.transition_up)


def test_dropout_works_in_training_only():
    torch.manual_seed(0)
    network = build_network({"name": "fcdensenet56", "dropout": 0.5, **SMALL})
    images = torch.randn(2, 1, 16, 16)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


def test_no_pixel_depends_on_input_beyond_the_reach():
    torch.manual_seed(0)
    network = build_network({"name": "fcdensenet56", **SMALL}).double().eval()
    side = 2 * (network.reach // 4 + 2) * 4
    images = torch.randn(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    centre = side // 2
    network(images)[0, 0, centre, centre].backward()
    seen = (images.grad[0, 0] != 0).nonzero()
    distance = (seen - centre).abs().max().item()
    assert network.reach // 2 < distance <= network.reach


def test_tiles_give_what_the_whole_image_gives():
    torch.manual_seed(0)
    network = build_network({"name": "fcdensenet67", **SMALL}).eval()
    images = torch.randn(1, 1, 20, 203)
    with torch.no_grad():
        whole = logits_of(network, images)
        torch.testing.assert_close(logits_of(network, images, largest_side=16), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrong", [{"layers": []}, {"growth": 0}, {"dropout": 1.0}])
def test_impossible_networks_are_refused_with_a_sentence(wrong):
    with pytest.raises(ModelError, match="FC-DenseNet"):
        build_network({"name": "fcdensenet56", **wrong})
