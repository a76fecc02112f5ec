"""PSPNet: the paper's pyramid of regions, its layers and its auxiliary loss."""

from __future__ import annotations

import pytest
import torch
from network_properties import assert_bfloat16_agrees, assert_learns_from_crops, awake, parameters
from torch.nn.functional import adaptive_avg_pool2d

from napari_cardioseg.domain import ModelError
from napari_cardioseg.models import build_network
from napari_cardioseg.models.pspnet import region_means

SMALL = {"name": "pspnet", "backbone": "resnet18", "width": 4}


def test_it_has_the_published_number_of_parameters():
    # 46.716 million with ResNet-50 and 21 classes (table 2 of PMC12440891), for an implementation without
    # the auxiliary head whose trunk starts with three 3 x 3 convolutions (3-64-64-128) in place of a 7 x 7.
    with torch.device("meta"):
        network = build_network({"name": "pspnet", "channels": 3, "classes": 21, "auxiliary": False})
    seven = 7 * 7 * 3 * 64 + 2 * 64
    three = 9 * (3 * 64 + 64 * 64 + 64 * 128) + 2 * (64 + 64 + 128)
    wider_input_of_the_first_stage = 64 * 64 + 64 * 256
    total = parameters(network) - seven + three + wider_input_of_the_first_stage
    assert round(total / 1e6, 3) == 46.716


def test_its_head_has_the_papers_layers():
    with torch.device("meta"):
        network = build_network({"name": "pspnet", "channels": 3, "classes": 21, "backbone": "resnet101"})
    trunk = 44_549_160 - (2048 * 1000 + 1000)  # torchvision's, without its classifier
    pyramid = 4 * (2048 * 512 + 2 * 512)
    classifier = 9 * (2048 + 4 * 512) * 512 + 2 * 512 + 512 * 21 + 21
    auxiliary = 9 * 1024 * 256 + 2 * 256 + 256 * 21 + 21
    assert parameters(network) == trunk + pyramid + classifier + auxiliary
    dropouts = [module.p for module in network.modules() if isinstance(module, torch.nn.Dropout)]
    assert dropouts == [0.1, 0.1]


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(32, 32), (17, 23), (5, 4)])
def test_regions_are_those_of_adaptive_pooling(bins, size):
    x = torch.randn(2, 3, *size)
    torch.testing.assert_close(region_means(x, bins), adaptive_avg_pool2d(x, bins))


@pytest.mark.parametrize("output_stride", [8, 16])
def test_features_have_the_output_stride(output_stride):
    network = build_network({**SMALL, "output_stride": output_stride}).eval()
    features = network.backbone(torch.zeros(1, 1, 96, 64))[3]
    assert features.shape[-2:] == (96 // output_stride, 64 // output_stride)
    assert network.pyramid(features).shape[1:] == (2 * 32, *features.shape[-2:])
    assert network.stride == output_stride


def test_every_output_depends_on_the_whole_image():
    network = awake({**SMALL, "bins": [1]})
    assert network.reach is None
    images = torch.rand(1, 1, 32, 1536, requires_grad=True)  # far longer than the trunk's reach
    assert network.backbone.reaches[3] < 700
    network(images)[0, :, 16, 8].sum().backward()
    assert (images.grad.abs().amax(dim=(0, 1, 2)) > 0).all()


def test_the_auxiliary_head_learns_from_the_third_stage_with_the_papers_weight():
    network = awake(SMALL)
    images = torch.randn(2, 1, 64, 64)
    (first, logits), (second, auxiliary) = network.training_outputs(images)
    assert (first, second) == (1.0, 0.4)
    torch.testing.assert_close(logits, network(images))
    assert auxiliary.shape == logits.shape
    auxiliary.sum().backward()
    stages = [network.backbone.layer3, network.backbone.layer4]
    assert [any(p.grad is not None for p in stage.parameters()) for stage in stages] == [True, False]
    assert len(build_network({**SMALL, "auxiliary": False}).eval().training_outputs(images)) == 1


def test_fresh_networks_are_not_confident():
    torch.manual_seed(0)
    images = torch.randn(2, 1, 64, 64)
    network = build_network({**SMALL, "width": 32})
    with torch.no_grad():
        assert all(logits.std() < 1 for _, logits in network.training_outputs(images))


def test_half_precision_agrees():
    assert_bfloat16_agrees(awake({**SMALL, "width": 8}))


def test_it_learns_from_crops():
    assert_learns_from_crops(SMALL)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"bins": []}, "one level of bins"),
        ({"bins": [0]}, "one level of bins"),
        ({"classes": 0}, "at least one class"),
        ({"backbone": "resnet19"}, "no backbone 'resnet19'"),
    ],
)
def test_impossible_networks_are_refused_with_a_sentence(arguments, sentence):
    with pytest.raises(ModelError, match=sentence):
        build_network({**SMALL, **arguments})
