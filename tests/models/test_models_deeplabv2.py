"""DeepLabv2: the paper's pyramid of summed scores, and scales of which the largest score counts."""

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
from torch.nn.functional import conv2d

from napari_cardioseg.domain import ModelError
from napari_cardioseg.models import build_network

SMALL = {"name": "deeplabv2", "backbone": "resnet18", "width": 2}


@pytest.mark.parametrize(("backbone", "published"), [("resnet50", 25_557_032), ("resnet101", 44_549_160)])
def test_it_has_a_published_trunk_and_four_convolutions_to_classes(backbone, published):
    # torchvision's trunks with their classifier of 2048 to 1000, and by the paper's section 4.1.2 four
    # branches, each a 3 x 3 convolution from 2048 features to PASCAL's 21 classes.
    with torch.device("meta"):
        network = build_network({"name": "deeplabv2", "channels": 3, "classes": 21, "backbone": backbone})
    assert parameters(network) == published - (2048 * 1000 + 1000) + 4 * (2048 * 3 * 3 * 21 + 21)


def test_features_have_output_stride_8_and_the_pyramid_the_papers_rates():
    network = build_network(SMALL).eval()
    assert network.backbone(torch.zeros(1, 1, 96, 64))[3].shape[-2:] == (12, 8)
    assert [branch.dilation[0] for branch in network.classifier] == [6, 12, 18, 24]
    assert network.scales == (0.5, 0.75, 1.0)


def test_the_pyramid_sums_the_scores_of_its_branches():
    network = build_network(SMALL)
    x = torch.randn(1, 16, 12, 9)
    scores = sum(
        conv2d(x, branch.weight, branch.bias, padding=rate, dilation=rate)
        for branch, rate in zip(network.classifier, (6, 12, 18, 24), strict=True)
    )
    torch.testing.assert_close(network.classifier(x), scores)


def test_the_largest_score_over_the_scales_counts_and_each_scale_learns():
    network = awake(SMALL)
    images = torch.randn(2, 1, 64, 96)
    with torch.no_grad():
        (weight, fused), *scales = network.training_outputs(images)
        torch.testing.assert_close(fused, network(images))
    assert [weight, *(weight for weight, _ in scales)] == [1.0] * 4
    by_scale = torch.stack([logits for _, logits in scales])
    assert torch.equal(fused, by_scale.amax(dim=0))
    assert len(by_scale.argmax(dim=0).unique()) == 3, "each scale is somewhere the largest"


def test_all_scales_share_one_set_of_weights():
    one = build_network({**SMALL, "scales": [1.0]})
    network = awake({**SMALL, "scales": [0.5, 1.0]})
    one.load_state_dict(network.state_dict())
    one.eval()
    images = torch.randn(1, 1, 64, 64)
    half = torch.nn.functional.interpolate(images, size=(32, 32), mode="bilinear")
    with torch.no_grad():
        small = torch.nn.functional.interpolate(one(half), size=(64, 64), mode="bilinear")
        _, (_, coarse), (_, fine) = network.training_outputs(images)
        assert torch.equal(fine, one(images))
        assert len(one.training_outputs(images)) == 1
    # Scores of 4 x 4 features straight to 64 pixels, or by way of 32: alike, not equal.
    assert torch.corrcoef(torch.stack([coarse.flatten(), small.flatten()]))[0, 1] > 0.98


@pytest.mark.parametrize("scales", [[1.0], [0.5, 0.75, 1.0], [1.0, 1.5]])
def test_no_pixel_reaches_further_than_stated(scales):
    network = awake({**SMALL, "rates": [1, 3], "scales": scales})
    reach = measured_reach(network)
    assert 0.8 * network.reach < reach <= network.reach


@pytest.mark.parametrize("scales", [[1.0], [0.5, 0.75, 1.0]])
def test_tiles_give_what_the_whole_image_gives(scales):
    assert_tiles_give_what_the_whole_image_gives(awake({**SMALL, "rates": [1, 3], "scales": scales}))


def test_half_precision_agrees():
    assert_bfloat16_agrees(awake({**SMALL, "width": 8}))


def test_it_learns_from_crops():
    assert_learns_from_crops(SMALL)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"rates": []}, "at least one rate"),
        ({"rates": [6, 0]}, "at least one rate"),
        ({"classes": 0}, "at least one class"),
        ({"scales": []}, "at least one scale"),
        ({"scales": [-1.0]}, "at least one scale"),
        ({"scales": [0.613]}, "fractions of small numbers"),
        ({"output_stride": 4}, "output stride"),
    ],
)
def test_impossible_networks_are_refused_with_a_sentence(arguments, sentence):
    with pytest.raises(ModelError, match=sentence):
        build_network({**SMALL, **arguments})
