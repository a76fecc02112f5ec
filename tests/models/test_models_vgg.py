"""VGG16 trunks: torchvision's names and counts, fully connected layers as convolutions, dilation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_cardioseg.models.vgg import ConvolutionalHead, make_vgg


def test_names_and_shapes_are_torchvisions():
    with torch.device("meta"):
        trunk = make_vgg("vgg16_bn", channels=3)
    shapes = {name: tuple(value.shape) for name, value in trunk.state_dict().items()}
    # From torchvision's configuration "D": conv, bn, relu each count one, and so does a pooling.
    expected, number, n_in = {}, 0, 3
    for entry in (64, 64, "M", 128, 128, "M", *(256,) * 3, "M", *(512,) * 3, "M", *(512,) * 3, "M"):
        if entry == "M":
            number += 1
            continue
        expected[f"features.{number}.weight"] = (entry, n_in, 3, 3)
        expected[f"features.{number}.bias"] = (entry,)
        for statistic in ("weight", "bias", "running_mean", "running_var"):
            expected[f"features.{number + 1}.{statistic}"] = (entry,)
        expected[f"features.{number + 1}.num_batches_tracked"] = ()
        number, n_in = number + 3, entry
    assert shapes == expected
    assert len(trunk.features) == 44


@pytest.mark.parametrize(("name", "published"), [("vgg16", 138_357_544), ("vgg16_bn", 138_365_992)])
def test_with_its_classifier_it_has_the_number_of_parameters_that_torchvision_publishes(name, published):
    with torch.device("meta"):
        parts = nn.ModuleList([make_vgg(name, channels=3), ConvolutionalHead(512), nn.Conv2d(4096, 1000, 1)])
    assert sum(p.numel() for p in parts.parameters()) == published


def test_the_convolutional_head_computes_the_fully_connected_layers():
    torch.manual_seed(0)
    head = ConvolutionalHead(6, fc=10).eval()
    fc6, fc7 = nn.Linear(6 * 7 * 7, 10), nn.Linear(10, 10)
    with torch.no_grad():
        head.fc6.weight.copy_(fc6.weight.view(10, 6, 7, 7))
        head.fc7.weight.copy_(fc7.weight.view(10, 10, 1, 1))
        head.fc6.bias.copy_(fc6.bias)
        head.fc7.bias.copy_(fc7.bias)
        features = torch.randn(2, 6, 7, 9)
        outcome = head(features)
        for left in range(3):  # slid along x, as over a wider image
            flat = features[..., left : left + 7].flatten(1)
            expected = fc7(fc6(flat).relu()).relu()
            torch.testing.assert_close(outcome[:, :, 3, left + 3], expected)


@pytest.mark.parametrize(
    ("output_stride", "strides", "dilation"),
    [(32, (2, 4, 8, 16, 32), 1), (16, (2, 4, 8, 16, 16), 2), (8, (2, 4, 8, 8, 8), 4)],
)
def test_the_output_stride_is_as_asked_for(output_stride, strides, dilation):
    trunk = make_vgg("vgg16_bn", output_stride=output_stride, width=2).eval()
    assert (trunk.strides, trunk.dilation) == (strides, dilation)
    for features, stride, width in zip(trunk(torch.zeros(1, 1, 64, 96)), strides, trunk.widths, strict=True):
        assert features.shape == (1, width, 64 // stride, 96 // stride)


def test_dilation_computes_what_pooling_by_subsampling_would():
    """Where pooling keeps the first of each 2 x 2 values, the dilated trunk gives the same features."""
    torch.manual_seed(0)
    coarse = make_vgg("vgg16_bn", width=2).double().eval()
    for end in (33, 43):
        coarse.features[end] = nn.MaxPool2d(1, stride=2)
    fine = make_vgg("vgg16_bn", output_stride=8, width=2).double().eval()
    fine.load_state_dict(coarse.state_dict())
    images = torch.randn(1, 1, 448, 448, dtype=torch.float64)
    with torch.no_grad():
        expected, found = coarse(images)[4], fine(images)[4][..., ::4, ::4]
    inner = slice(4, -4)  # zeros beyond the border lie elsewhere in the two
    torch.testing.assert_close(found[..., inner, inner], expected[..., inner, inner])
    assert expected[..., inner, inner].abs().max() > 0


@pytest.mark.parametrize("stage", range(5))
@pytest.mark.parametrize("output_stride", [8, 32])
def test_features_depend_on_input_as_far_as_stated_and_no_further(stage, output_stride):
    torch.manual_seed(0)
    trunk = make_vgg("vgg16", output_stride=output_stride, width=2).double().eval()
    for parameter in trunk.parameters():
        nn.init.uniform_(parameter, 0.01, 1.0)  # so that no path is closed
    for name, layer in trunk.features.named_children():
        if isinstance(layer, nn.MaxPool2d):
            trunk.features[int(name)] = nn.AvgPool2d(2)  # whose gradient reaches all of its input
    images = torch.rand(1, 1, 32, 480, dtype=torch.float64, requires_grad=True)
    stride, reach = trunk.strides[stage], trunk.reaches[stage]
    place = 224 // stride
    trunk(images)[stage][..., place].sum().backward()
    touched = images.grad.sum(dim=(0, 1, 2)).nonzero()[:, 0]
    assert int(touched.min()) == place * stride - reach
    assert int(touched.max()) == place * stride + stride - 1 + reach


@pytest.mark.parametrize("arguments", [{"output_stride": 4}, {"width": 0}, {"channels": 0}])
def test_impossible_trunks_are_refused(arguments):
    with pytest.raises(ValueError, match="VGG16"):
        make_vgg("vgg16_bn", **arguments)


def test_an_unknown_backbone_is_refused_with_those_known():
    with pytest.raises(ValueError, match="vgg16_bn, vgg16"):
        make_vgg("vgg19")
