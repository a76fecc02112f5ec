"""SegNet: the paper's size, values put back to their places, tiles."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from napari_cardioseg.domain import ModelError
from napari_cardioseg.models import build_network
from napari_cardioseg.models.segnet import _unpool
from napari_cardioseg.predict.tiles import logits_of


def build(**arguments):
    torch.manual_seed(0)
    return build_network({"name": "segnet", "width": 4, **arguments}).eval()


@pytest.mark.parametrize("classes", [11, 37])  # CamVid's and SUN RGB-D's
def test_it_has_the_papers_29_million_parameters(classes):
    with torch.device("meta"):
        network = build_network({"name": "segnet", "channels": 3, "classes": classes})
    count = sum(p.numel() for p in network.parameters()) / 1e6
    assert count == pytest.approx(29.45, abs=0.02)  # the paper's table of inference time and memory


def test_the_decoder_mirrors_the_encoder():
    def widths(layers):
        return [m.weight.shape[:2] for m in layers.modules() if isinstance(m, torch.nn.Conv2d)]

    network = build(channels=3, classes=3)
    there, back = widths(network.backbone), widths(network.decoder)
    assert [(n_in, n_out) for n_out, n_in in back[::-1]] == [tuple(pair) for pair in there]


def test_unpooling_is_torchs_own():
    x = torch.randn(2, 3, 8, 12)
    pooled, indices = F.max_pool2d(x, 2, return_indices=True)
    expected = F.max_unpool2d(pooled, indices, 2)
    assert torch.equal(_unpool(pooled, indices), expected)
    last = pooled.contiguous(memory_format=torch.channels_last)
    assert torch.equal(_unpool(last, indices.contiguous(memory_format=torch.channels_last)), expected)


def test_a_bright_pixel_keeps_its_place_through_all_poolings():
    """Encoder and decoder without convolutions: only the places of the maxima are left to say where."""
    network = build(width=1, classes=1)
    network.decoder = torch.nn.ModuleList([torch.nn.Identity()] * 5)
    network.backbone.stages = lambda: (torch.nn.Identity(),) * 5
    images = torch.zeros(1, 1, 64, 64)
    images[0, 0, 13, 50] = 1.0
    assert torch.equal(network(images), images)


def test_no_pixel_reaches_further_than_stated():
    network = build(width=2).double()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.uniform_(module.weight, 0.0, 1.0)
    images = torch.rand(1, 1, 64, 576, dtype=torch.float64, requires_grad=True)
    logits = network(images)
    for place in (280, 287, 288, 300):
        (gradient,) = torch.autograd.grad(logits[..., place].sum(), images, retain_graph=True)
        touched = gradient.abs().sum(dim=(0, 1, 2)).nonzero()[:, 0]
        furthest = max(place - int(touched.min()), int(touched.max()) - place)
        assert 0.7 * network.reach < furthest <= network.reach


def test_tiles_give_what_the_whole_image_gives():
    network = build()
    images = torch.randn(1, 1, 40, 900)
    assert 2 * network.reach + 64 < 900, "the test has to see more than one tile"
    with torch.no_grad():
        whole = logits_of(network, images, largest_side=1024)
        tiled = logits_of(network, images, largest_side=64)
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-4)


def test_it_computes_in_bfloat16_and_channels_last():
    network = build(channels=2, classes=4).to(memory_format=torch.channels_last)
    images = torch.randn(2, 2, 64, 96).contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = network(images)
    assert logits.shape == (2, 4, 64, 96)
    assert torch.isfinite(logits).all()


def test_it_learns_reproducibly_from_one_crop_of_64_pixels():
    torch.use_deterministic_algorithms(True)
    try:
        network = build().train()
        network(torch.randn(1, 1, 64, 64)).square().mean().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_impossible_networks_are_refused_with_a_sentence():
    with pytest.raises(ModelError, match="at least one class"):
        build_network({"name": "segnet", "classes": 0})
    with pytest.raises(ModelError, match="positive"):
        build_network({"name": "segnet", "width": 0})
