"""DeepLabv3: torchvision's parameters, the paper's rates, reach and output stride."""

from __future__ import annotations

import pytest
import torch
from network_properties import assert_tiles_give_what_the_whole_image_gives, awake, measured_reach

from napari_cardioseg.domain import ModelError
from napari_cardioseg.models import build_network

SMALL = {"backbone": "resnet18", "width": 4, "features": 8}


def atrous_rates(network):
    return [branch[0].dilation[0] for branch in network.classifier[0].convs[1:4]]


@pytest.mark.parametrize(("backbone", "published"), [("resnet50", 42_004_074), ("resnet101", 60_996_202)])
def test_it_has_the_number_of_parameters_that_torchvision_publishes(backbone, published):
    with torch.device("meta"):
        network = build_network(
            {"name": "deeplabv3", "channels": 3, "classes": 21, "backbone": backbone, "auxiliary": True}
        )
    assert sum(p.numel() for p in network.parameters()) == published


def test_rates_are_the_papers_and_double_where_the_output_stride_halves():
    assert atrous_rates(build_network({"name": "deeplabv3", **SMALL})) == [6, 12, 18]
    assert atrous_rates(build_network({"name": "deeplabv3", "output_stride": 8, **SMALL})) == [12, 24, 36]


@pytest.mark.parametrize("name", ["deeplabv3", "deeplabv3_cascade"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_logits_have_the_inputs_size_and_features_the_output_stride(name, output_stride):
    arguments = {k: v for k, v in SMALL.items() if k != "features"}
    network = build_network({"name": name, "classes": 5, "output_stride": output_stride, **arguments}).eval()
    images = torch.zeros(1, 1, 96, 64)
    assert network(images).shape == (1, 5, 96, 64)
    assert network.backbone(images)[3].shape[-2:] == (96 // output_stride, 64 // output_stride)


def test_one_set_of_weights_serves_at_both_output_strides():
    coarse = build_network({"name": "deeplabv3", **SMALL})
    build_network({"name": "deeplabv3", "output_stride": 8, **SMALL}).load_state_dict(coarse.state_dict())


def test_the_cascade_doubles_its_rates():
    network = build_network({"name": "deeplabv3_cascade", "backbone": "resnet50", "width": 4})
    rates = [[unit.conv2.dilation[0] for unit in stage] for stage in network.cascade]
    assert rates == [[4, 8, 4], [8, 16, 8], [16, 32, 16]]


@pytest.mark.parametrize(
    "config",
    [
        {"name": "deeplabv3", "rates": [1, 2, 3], "image_pooling": False, **SMALL},
        {"name": "deeplabv3_cascade", "backbone": "resnet18", "width": 4, "blocks": 5, "multi_grid": [1]},
    ],
)
def test_without_image_pooling_the_reach_is_a_bound_and_tiles_give_what_the_whole_image_gives(config):
    network = awake({"output_stride": 8, **config})
    assert 0.9 * network.reach < measured_reach(network) <= network.reach
    assert_tiles_give_what_the_whole_image_gives(network)


def test_fresh_logits_are_small():
    torch.manual_seed(0)
    for name in ("deeplabv3", "deeplabv3_cascade"):
        network = build_network({"name": name, "backbone": "resnet18", "width": 16})
        assert float(network(torch.randn(2, 1, 96, 96)).detach().std()) < 1.5


def test_image_pooling_makes_every_output_depend_on_the_whole_image():
    network = build_network({"name": "deeplabv3", **SMALL})
    assert network.reach is None


def test_the_auxiliary_head_learns_beside_the_main_one():
    network = build_network({"name": "deeplabv3", "auxiliary": True, **SMALL}).eval()
    images = torch.randn(2, 1, 64, 64)
    (first, logits), (second, auxiliary) = network.training_outputs(images)
    assert (first, second) == (1.0, 0.5)
    assert torch.equal(logits, network(images))
    assert auxiliary.shape == logits.shape


def test_impossible_networks_are_refused_with_a_sentence():
    with pytest.raises(ModelError, match="positive"):
        build_network({"name": "deeplabv3", "rates": [0], **SMALL})
    with pytest.raises(ModelError, match="four stages"):
        build_network({"name": "deeplabv3_cascade", "blocks": 3})
