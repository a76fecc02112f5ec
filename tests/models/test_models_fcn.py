"""FCN-32s, -16s, -8s: the paper's sizes and receptive field, skips that start at nothing, tiles."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_cardioseg.domain import ModelError
from napari_cardioseg.models import build_network
from napari_cardioseg.predict.tiles import logits_of

NAMES = ("fcn32s", "fcn16s", "fcn8s")
SMALL = {"width": 2, "fc": 8}
every_fcn = pytest.mark.parametrize("name", NAMES)


def build(name, **arguments):
    torch.manual_seed(0)
    return build_network({"name": name, **SMALL, **arguments}).eval()


def open_skips(network):
    for score in network.score_pools:
        nn.init.normal_(score.weight)
    return network


def test_with_1000_classes_fcn32s_is_vgg16_parameter_by_parameter():
    with torch.device("meta"):
        network = build_network({"name": "fcn32s", "channels": 3, "classes": 1000})
    assert sum(p.numel() for p in network.parameters()) == 138_365_992  # torchvision, vgg16_bn


def test_it_has_the_134_million_parameters_of_the_paper():
    with torch.device("meta"):
        network = build_network({"name": "fcn32s", "channels": 3, "classes": 21, "backbone": "vgg16"})
    assert round(sum(p.numel() for p in network.parameters()) / 1e6) == 134  # table 1


def test_a_score_sees_the_404_pixels_of_the_paper():
    network = build("fcn32s", backbone="vgg16").double()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.01, 1.0)  # so that no path is closed
    for name, layer in network.backbone.features.named_children():
        if isinstance(layer, nn.MaxPool2d):
            network.backbone.features[int(name)] = nn.AvgPool2d(2)  # whose gradient reaches all of its input
    images = torch.rand(1, 1, 32, 640, dtype=torch.float64, requires_grad=True)
    network.score(network.head(network.backbone(images)[-1]))[..., 10].sum().backward()
    touched = images.grad.sum(dim=(0, 1, 2)).nonzero()[:, 0]
    assert int(touched.max() - touched.min()) + 1 == 404  # table 1


@every_fcn
def test_no_pixel_reaches_further_than_stated(name):
    network = open_skips(build(name, backbone="vgg16", learn_last=True)).double()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.01, 1.0)
    images = torch.rand(1, 1, 32, 608, dtype=torch.float64, requires_grad=True)
    logits = network(images)
    for place in range(288, 320):  # of one stride, for each lies otherwise between the scores
        (gradient,) = torch.autograd.grad(logits[..., place].sum(), images, retain_graph=True)
        touched = gradient.abs().sum(dim=(0, 1, 2)).nonzero()[:, 0]
        furthest = max(place - int(touched.min()), int(touched.max()) - place)
        assert 0.7 * network.reach < furthest <= network.reach


@every_fcn
def test_tiles_give_what_the_whole_image_gives(name):
    network = open_skips(build(name))
    images = torch.randn(1, 1, 40, 900)
    assert 2 * network.reach + 64 < 900, "the test has to see more than one tile"
    with torch.no_grad():
        whole = logits_of(network, images, largest_side=1024)
        tiled = logits_of(network, images, largest_side=64)
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("coarse", "fine"), [("fcn32s", "fcn16s"), ("fcn16s", "fcn8s")])
def test_the_finer_network_starts_out_as_the_coarser_one(coarse, fine):
    trained, fresh = open_skips(build(coarse)), build(fine)
    missing, unexpected = fresh.load_state_dict(trained.state_dict(), strict=False)
    assert not unexpected
    number = len(fresh.score_pools) - 1
    assert set(missing) == {
        f"score_pools.{number}.weight",
        f"score_pools.{number}.bias",
        f"upsample.{number}.weight",
    }
    images = torch.randn(1, 1, 256, 256)
    with torch.no_grad():
        before, after = trained(images), fresh(images)
    inner = slice(32, -32)  # a transposed convolution fades towards the border
    difference = (after - before)[..., inner, inner].abs().max()
    assert difference < 0.15 * (before.max() - before.min())  # bilinear in two steps and in one


def test_the_last_upsampling_starts_bilinear_and_is_learnt_if_asked_for():
    fixed, learnt = build("fcn8s"), build("fcn8s", learn_last=True)
    names = {name for name, p in learnt.named_parameters() if p.requires_grad and "upsample" in name}
    assert names == {"upsample.0.weight", "upsample.1.weight", "upsample_last.weight"}
    assert "upsample_last.weight" not in dict(fixed.named_parameters())
    learnt.load_state_dict(fixed.state_dict(), strict=False)
    images = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        expected, found = fixed(images), learnt(images)
    torch.testing.assert_close(found[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4])


@every_fcn
def test_it_computes_in_bfloat16_and_channels_last(name):
    network = open_skips(build(name, channels=2, classes=4)).to(memory_format=torch.channels_last)
    images = torch.randn(2, 2, 64, 96).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        exact = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(images)
    assert rough.shape == (2, 4, 64, 96)
    assert (rough.float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_it_learns_from_crops_of_64_pixels_one_at_a_time():
    network = build("fcn8s").train()
    network(torch.randn(1, 1, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_impossible_networks_are_refused_with_a_sentence():
    with pytest.raises(ModelError, match="at least one class"):
        build_network({"name": "fcn8s", "classes": 0})
    with pytest.raises(ModelError, match="vgg16_bn, vgg16"):
        build_network({"name": "fcn8s", "backbone": "resnet50"})
    with pytest.raises(ModelError, match="feature maps"):
        build_network({"name": "fcn8s", "width": 1, "fc": 0})
