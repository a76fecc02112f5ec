import pytest
import torch

from napari_cardioseg.models import build_network
from napari_cardioseg.predict.tiles import logits_of


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network({"name": "unet", "widths": (4, 8, 8, 8)}).eval()


@pytest.mark.parametrize("shape", [(301, 417), (64, 300), (129, 129)])
def test_tiles_have_no_seams(network, shape):
    image = torch.randn(1, 1, *shape)
    with torch.inference_mode():
        whole = logits_of(network, image, largest_side=1024)
        tiled = logits_of(network, image, largest_side=64)
    assert whole.shape[-2:] == shape
    assert (whole - tiled).abs().max() < 1e-5


def test_beyond_the_border_lies_the_mirror_image(network):
    image = torch.randn(1, 1, 44, 44)  # the stride is 8: four more rows and columns are needed
    mirrored = torch.nn.functional.pad(image, (0, 4, 0, 4), mode="reflect")
    with torch.inference_mode():
        torch.testing.assert_close(logits_of(network, image), network(mirrored)[..., :44, :44])


def test_images_smaller_than_the_stride_are_mirrored_as_often_as_needed(network):
    with torch.inference_mode():
        assert logits_of(network, torch.randn(1, 1, 3, 1)).shape == (1, 3, 3, 1)
