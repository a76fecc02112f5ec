import pytest
import torch

from napari_cardioseg.domain import ModelError
from napari_cardioseg.models import build_network, network_names


def test_the_papers_unet_has_31_million_parameters():
    # Ronneberger's widths with padded convolutions: 31,031,685 weights and biases are usually quoted for
    # 1 channel and 1 class. Here batch normalisation's scale and shift replace each convolution's bias.
    network = build_network({"name": "unet", "classes": 1, "widths": (64, 128, 256, 512, 1024)})
    convolution_outputs = 2 * (64 + 128 + 256 + 512 + 1024) + 2 * (64 + 128 + 256 + 512)
    assert sum(p.numel() for p in network.parameters()) == 31_030_593 + convolution_outputs


@pytest.mark.parametrize(("channels", "classes", "widths"), [(1, 3, (4, 8)), (3, 5, (4, 8, 12, 16))])
def test_logits_have_the_size_of_the_image(channels, classes, widths):
    network = build_network(
        {"name": "unet", "channels": channels, "classes": classes, "widths": widths}
    ).eval()
    side = 3 * network.stride
    logits = network(torch.randn(2, channels, side, side + network.stride))
    assert logits.shape == (2, classes, side, side + network.stride)


def test_no_pixel_reaches_further_than_stated():
    torch.manual_seed(0)
    network = build_network({"name": "unet", "widths": (4, 4, 4)}).eval()
    side = 2 * network.stride * -(-(network.reach + 8) // network.stride)
    image = torch.randn(1, 1, side, side, requires_grad=True)
    centre = side // 2
    network(image)[0, :, centre, centre].sum().backward()
    touched = image.grad[0, 0].nonzero()
    assert (touched - centre).abs().max() <= network.reach
    assert (touched - centre).abs().max() > network.reach / 3  # the bound is not an empty one


def test_unknown_networks_and_arguments_are_refused_with_a_sentence():
    assert "unet" in network_names()
    with pytest.raises(ModelError, match="no network called 'unot'"):
        build_network({"name": "unot"})
    with pytest.raises(ModelError, match="has no name; known are unet"):
        build_network({"widths": [4, 8]})
    with pytest.raises(ModelError, match="depth, which is not known"):
        build_network({"name": "unet", "depth": 5})
    with pytest.raises(ModelError, match="widths must be a list of whole numbers, not 8"):
        build_network({"name": "unet", "widths": 8})
    with pytest.raises(ModelError, match="'ensemble' needs its argument members"):
        build_network({"name": "ensemble"})
    with pytest.raises(ModelError, match=r"no network called \['unet'\]"):
        build_network({"name": ["unet"]})
    with pytest.raises(ModelError, match="two levels"):
        build_network({"name": "unet", "widths": (8,)})
