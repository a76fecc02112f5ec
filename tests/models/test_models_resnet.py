"""ResNet trunks: torchvision's parameters, atrous rates for strides, a bound on their reach."""

from __future__ import annotations

import pytest
import torch

from napari_cardioseg.models.resnet import make_resnet


@pytest.mark.parametrize(
    ("name", "published"),
    # torchvision's documentation; with its classifier of 1000 classes and three channels
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
    ],
)
def test_a_trunk_has_the_published_number_of_parameters(name, published):
    with torch.device("meta"):
        trunk = make_resnet(name, channels=3)
    classifier = 1000 * trunk.widths[3] + 1000
    assert sum(p.numel() for p in trunk.parameters()) + classifier == published


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_the_output_stride_is_as_asked_for(output_stride):
    trunk = make_resnet("resnet18", output_stride=output_stride, width=4).eval()
    features = trunk(torch.zeros(1, 1, 96, 64))
    for stage, stride, width in zip(features, trunk.strides, trunk.widths, strict=True):
        assert stage.shape == (1, width, 96 // stride, 64 // stride)
    assert trunk.strides == tuple(min(s, output_stride) for s in (4, 8, 16, 32))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_atrous_rates_compute_what_strides_would(name):
    """At the places that the strided trunk keeps, the atrous one gives the same features."""
    torch.manual_seed(0)
    strided = make_resnet(name, width=4).double().eval()
    for module in strided.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    atrous = make_resnet(name, output_stride=8, width=4).double().eval()
    atrous.load_state_dict(strided.state_dict())
    images = torch.randn(1, 1, 640, 640, dtype=torch.float64)
    with torch.no_grad():
        coarse, fine = strided(images)[3], atrous(images)[3]
    # Near the border zero padding of the two differs; 640 pixels leave a middle that does not see it.
    inner = slice(8, -8)
    torch.testing.assert_close(fine[..., ::4, ::4][..., inner, inner], coarse[..., inner, inner])


@pytest.mark.parametrize("output_stride", [8, 32])
def test_no_feature_depends_on_input_beyond_its_reach(output_stride):
    torch.manual_seed(0)
    trunk = make_resnet("resnet18", output_stride=output_stride, multi_grid=(1, 2), width=2).double().eval()
    for module in trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)  # else each unit is its shortcut, which reaches nowhere
    side = 2 * trunk.reaches[3] + 65
    side += -side % 32
    images = torch.rand(1, 1, side, 32, dtype=torch.float64, requires_grad=True)
    middle = side // 2 // trunk.strides[3]
    trunk(images)[3][0, :, middle].sum().backward()
    touched = images.grad.abs().sum(dim=(0, 1, 3)).nonzero()[:, 0]
    place = middle * trunk.strides[3]
    assert 0 < place - int(touched.min()) <= trunk.reaches[3]
    assert 0 < int(touched.max()) - place <= trunk.reaches[3]


@pytest.mark.parametrize("arguments", [{"output_stride": 4}, {"width": 0}, {"multi_grid": (0,)}])
def test_impossible_trunks_are_refused(arguments):
    with pytest.raises(ValueError, match="ResNet"):
        make_resnet("resnet18", **arguments)


def test_an_unknown_backbone_is_refused_with_those_known():
    with pytest.raises(ValueError, match="resnet18, resnet34, resnet50, resnet101"):
        make_resnet("resnet19")
