"""Dilated convolutions: the context module's receptive field and identity, the front end, tiles."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_cardioseg.domain import ModelError
from napari_cardioseg.models import build_network
from napari_cardioseg.models.dilated import Context
from napari_cardioseg.predict.tiles import logits_of

SMALL = {"width": 2, "fc": 8}
every_context = pytest.mark.parametrize("context", ["none", "basic", "large"])


def build(context="basic", **arguments):
    torch.manual_seed(0)
    return build_network({"name": "dilated", "context": context, **SMALL, **arguments}).eval()


def convolutions(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize("kind", ["basic", "large"])
def test_the_context_module_grows_its_field_as_in_table_1(kind):
    module = Context(3, kind).double()
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.01, 1.0)  # so that no path is closed
    scores = torch.rand(1, 3, 1, 81, dtype=torch.float64, requires_grad=True)
    fields, x = [], scores
    for layer in module:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            (gradient,) = torch.autograd.grad(x[..., 40].sum(), scores, retain_graph=True)
            fields.append(int((gradient.sum(dim=1) != 0).sum()))
    assert fields == [3, 5, 9, 17, 33, 65, 67, 67]
    assert module.reach == 33


def test_the_context_module_has_the_maps_of_table_1():
    assert [layer.out_channels for layer in convolutions(Context(21, "basic"))] == [21] * 8
    large = [layer.out_channels for layer in convolutions(Context(21, "large"))]
    assert large == [21 * factor for factor in (2, 2, 4, 8, 16, 32, 32, 1)]
    # Section 3 counts about 64 C^2 parameters for the basic module: its weights.
    assert sum(layer.weight.numel() for layer in convolutions(Context(21, "basic"))) == 64 * 21**2


@pytest.mark.parametrize(("kind", "tolerance"), [("basic", 0.0), ("large", 0.1)])
def test_a_fresh_context_module_hands_on_what_is_above_zero(kind, tolerance):
    torch.manual_seed(0)
    scores = torch.randn(2, 3, 24, 20)
    with torch.no_grad():
        outcome = Context(3, kind)(scores)
    torch.testing.assert_close(outcome, scores.relu(), rtol=0.0, atol=max(tolerance, 1e-6))
    assert kind == "basic" or not torch.allclose(outcome, scores.relu(), atol=1e-6)  # the copies differ


def test_a_network_with_context_starts_out_as_its_front_end():
    front = build("none")
    nn.init.constant_(front.score.bias, 100.0)  # scores above zero, none of which the truncation cuts off
    whole = build("basic")
    missing, unexpected = whole.load_state_dict(front.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("context.") for name in missing)
    images = torch.randn(1, 1, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(whole(images), front(images))


def test_the_front_end_is_vgg16_at_stride_8_dilated_by_2_and_4():
    network = build()
    assert network.stride == 8
    rates = [layer.dilation[0] for layer in convolutions(network.backbone)]
    assert rates == [1] * 10 + [2] * 3
    assert network.head.fc6.dilation == (4, 4)
    with torch.device("meta"):
        whole = build_network({"name": "dilated", "context": "none", "channels": 3, "classes": 1000})
    assert sum(p.numel() for p in whole.parameters()) == 138_365_992  # torchvision, vgg16_bn


@every_context
def test_no_pixel_reaches_further_than_stated(context):
    network = build(context, backbone="vgg16").double()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.01, 1.0)
    half = network.reach + 8
    half += -half % 8
    images = torch.rand(1, 1, 8, 2 * half, dtype=torch.float64, requires_grad=True)
    logits = network(images)
    for place in range(half, half + 8):
        (gradient,) = torch.autograd.grad(logits[..., place].sum(), images, retain_graph=True)
        touched = gradient.abs().sum(dim=(0, 1, 2)).nonzero()[:, 0]
        furthest = max(place - int(touched.min()), int(touched.max()) - place)
        assert 0.8 * network.reach < furthest <= network.reach


@every_context
def test_tiles_give_what_the_whole_image_gives(context):
    network = build(context)
    if network.context is not None:
        for layer in convolutions(network.context):
            nn.init.kaiming_normal_(layer.weight)  # the identity would see no seam
    images = torch.randn(1, 1, 20, 1100)
    assert 2 * network.reach + 64 < 1100, "the test has to see more than one tile"
    with torch.no_grad():
        whole = logits_of(network, images, largest_side=2048)
        tiled = logits_of(network, images, largest_side=64)
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-4)
    assert whole.std() > 0


@every_context
def test_it_computes_in_bfloat16_and_channels_last(context):
    network = build(context, channels=2, classes=4).to(memory_format=torch.channels_last)
    images = torch.randn(2, 2, 64, 96).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        exact = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(images)
    assert rough.shape == (2, 4, 64, 96)
    assert (rough.float() - exact).abs().max() < 0.05 * exact.abs().max()


@every_context
def test_it_learns_from_crops_of_64_pixels_one_at_a_time(context):
    network = build(context).train()
    network(torch.randn(1, 1, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_impossible_networks_are_refused_with_a_sentence():
    with pytest.raises(ModelError, match="known are basic, large"):
        build_network({"name": "dilated", "context": "huge", **SMALL})
    with pytest.raises(ModelError, match="at least one class"):
        build_network({"name": "dilated", "classes": 0, **SMALL})
