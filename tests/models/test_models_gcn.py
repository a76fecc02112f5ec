"""GCN: the paper's large kernels, boundary refinement and way up."""

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

from napari_cardioseg.domain import ModelError
from napari_cardioseg.models import build_network
from napari_cardioseg.models.gcn import BoundaryRefinement, GlobalConvolution

SMALL = {"name": "gcn", "backbone": "resnet18", "width": 2, "kernel": 5}


@pytest.mark.parametrize(("kernel", "thousands"), [(3, 260), (5, 434), (7, 608), (9, 782)])
def test_a_global_convolution_has_the_papers_number_of_weights(kernel, thousands):
    # The paper's table 2: from ResNet's 2048 features to PASCAL's 21 classes.
    block = GlobalConvolution(2048, 21, kernel)
    assert sum(p.numel() for p in block.parameters() if p.ndim == 4) // 1000 == thousands


def test_the_network_has_the_layers_of_figure_2():
    with torch.device("meta"):
        network = build_network({"name": "gcn", "channels": 3, "classes": 21})
    trunk = 44_549_160 - (2048 * 1000 + 1000)  # torchvision's ResNet-101 without its classifier
    convolutions = sum(2 * (15 * n * 21 + 21) + 2 * (15 * 21 * 21 + 21) for n in (256, 512, 1024, 2048))
    refinements = (4 + 5) * 2 * (9 * 21 * 21 + 21)
    deconvolutions = 5 * 4 * 4 * 21 * 21
    assert parameters(network) == trunk + convolutions + refinements + deconvolutions


def test_a_global_convolution_is_linear_and_sees_its_whole_kernel():
    block = GlobalConvolution(2, 3, 7)
    x, y = torch.randn(2, 1, 2, 15, 15)
    zero = block(torch.zeros_like(x))
    torch.testing.assert_close(block(x + y) - zero, (block(x) - zero) + (block(y) - zero), atol=1e-4, rtol=0)
    x.requires_grad_()
    block(x)[0, :, 7, 7].sum().backward()
    seen = x.grad[0].abs().sum(dim=0) > 0
    assert seen[4:11, 4:11].all()
    assert seen.sum() == 7 * 7


def test_boundary_refinement_starts_as_identity_and_the_way_up_as_bilinear():
    x = torch.randn(1, 3, 6, 6)
    assert torch.equal(BoundaryRefinement(3)(x), x)
    network = build_network(SMALL).eval()
    fine = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(network.upsample[0](x)[..., 1:-1, 1:-1], fine[..., 1:-1, 1:-1])


def test_stages_have_strides_of_4_to_32_and_logits_the_images_size():
    network = build_network({**SMALL, "classes": 5}).eval()
    images = torch.zeros(1, 1, 96, 64)
    assert [features.shape[-1] for features in network.backbone(images)] == [16, 8, 4, 2]
    assert network.stride == 32
    assert network(images).shape == (1, 5, 96, 64)


def test_no_pixel_reaches_further_than_stated():
    network = awake(SMALL)
    assert 0.9 * network.reach < measured_reach(network) <= network.reach


def test_tiles_give_what_the_whole_image_gives():
    assert_tiles_give_what_the_whole_image_gives(awake(SMALL))


def test_half_precision_agrees():
    assert_bfloat16_agrees(awake({**SMALL, "width": 8}))


def test_it_learns_from_crops():
    assert_learns_from_crops(SMALL)


@pytest.mark.parametrize("arguments", [{"kernel": 4}, {"kernel": -1}, {"classes": 0}])
def test_impossible_networks_are_refused_with_a_sentence(arguments):
    with pytest.raises(ModelError, match="one class and an odd, positive kernel"):
        build_network({**SMALL, **arguments})
