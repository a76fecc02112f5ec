"""What every network of the registry promises, held against each of them."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from napari_cardioseg.domain import LabelClass, LabelScheme, ModelCard
from napari_cardioseg.models import build_network, network_names
from napari_cardioseg.predict import Model
from napari_cardioseg.predict.tiles import logits_of
from napari_cardioseg.store.models import ModelFile, read_model, write_model

_RESNET = {"backbone": "resnet18", "width": 4}
_VGG = {"width": 4, "fc": 16, "dropout": 0.1}
_DENSE = {"growth": 2, "layers": [1, 1], "bottleneck": 1, "first": 4}
# Arguments with which each is small enough to be tested in a moment.
SMALL = {
    "unet": {"widths": [4, 8, 8]},
    "fcn32s": _VGG,
    "fcn16s": _VGG,
    "fcn8s": _VGG,
    "segnet": {"width": 4},
    "dilated": _VGG,
    "deeplabv2": _RESNET,
    "deeplabv3": {**_RESNET, "features": 8},
    "deeplabv3_cascade": {**_RESNET, "blocks": 5},
    "refinenet": {**_RESNET, "features": 8},
    "pspnet": _RESNET,
    "gcn": {**_RESNET, "kernel": 7},
    "fcdensenet56": _DENSE,
    "fcdensenet67": _DENSE,
    "fcdensenet103": _DENSE,
    "ensemble": {"members": [{"name": "unet", "widths": [4, 8]}, {"name": "unet", "widths": [4, 4, 4]}]},
}
every_network = pytest.mark.parametrize("name", network_names())


def build(name, channels=1, classes=3):
    torch.manual_seed(0)
    return build_network({"name": name, "channels": channels, "classes": classes, **SMALL[name]})


def test_every_network_is_tested():
    assert set(SMALL) == set(network_names())


@every_network
@pytest.mark.parametrize(("channels", "classes", "size"), [(1, 2, (65, 83)), (2, 4, (40, 37))])
def test_logits_have_the_images_size_whatever_it_is(name, channels, classes, size):
    network = build(name, channels, classes).eval()
    assert network.classes == classes
    with torch.no_grad():
        logits = logits_of(network, torch.randn(2, channels, *size))
    assert logits.shape == (2, classes, *size)
    assert torch.isfinite(logits).all()


@every_network
def test_a_network_in_use_gives_the_same_each_time_for_each_image_alone(name):
    network = build(name).eval()
    images = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        together = network(images)
        assert torch.equal(network(images), together)
        torch.testing.assert_close(network(images[1:]), together[1:], rtol=1e-3, atol=1e-4)


@every_network
def test_half_precision_weights_come_back_from_a_model_file(name, tmp_path):
    network = build(name).half().float().eval()
    config = {"name": name, "channels": 1, "classes": 3, **SMALL[name]}
    scheme = LabelScheme((LabelClass(1, "a", "A", (1, 0, 0)), LabelClass(2, "b", "B", (0, 1, 0))))
    weights = {
        key: (value.half() if value.is_floating_point() else value).numpy()
        for key, value in network.state_dict().items()
    }
    write_model(tmp_path / "model.safetensors", ModelFile(ModelCard("model", config, scheme), weights))
    read = read_model(tmp_path / "model.safetensors")
    again = Model.build(read.card, read.weights).network
    images = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(images), network(images))


@every_network
def test_the_networks_own_logits_come_first_among_what_it_learns_from(name):
    network = build(name).eval()
    images = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        outputs = network.training_outputs(images)
        torch.testing.assert_close(outputs[0][1], network(images))
    assert all(weight > 0 and logits.shape == (2, 3, 64, 64) for weight, logits in outputs)


@every_network
def test_a_few_steps_lower_the_loss_and_reach_every_weight(name):
    network = build(name)
    images = torch.randn(2, 1, 64, 64)
    target = (images[:, 0] > 0.5).long() + (images[:, 0] > 1).long()
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = sum(
            weight * cross_entropy(logits, target) for weight, logits in network.training_outputs(images)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.95 * losses[0]
    idle = [key for key, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle, "these weights have no part in any output"


@every_network
def test_nothing_beyond_the_reach_changes_a_pixel(name):
    """Change an image's right end: what lies further left than the reach stays as it was."""
    network = build(name).double().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # so that no path starts out closed
            torch.nn.init.ones_(module.weight)
            torch.nn.init.constant_(module.bias, 0.5)
    far = 32 if network.reach is None else -(-network.reach // network.stride) * network.stride
    images = torch.randn(1, 1, 64, 64 + far, dtype=torch.float64)
    other = images.clone()
    other[..., -32:] += 3.0
    with torch.no_grad():
        change = (network(images) - network(other)).abs().amax(dim=(0, 1, 2))
    assert change[-32:].min() > 0
    assert (change[:32].max() > 0) == (network.reach is None)
