"""Ensembles: the mean of probabilities, stable, tiled like any network, saved as one file."""

from __future__ import annotations

import pytest
import torch

from napari_cardioseg.domain import LV_SCHEME, ModelCard, ModelError
from napari_cardioseg.models import build_network
from napari_cardioseg.models.ensemble import merge_weights
from napari_cardioseg.predict import Model
from napari_cardioseg.predict.tiles import logits_of
from napari_cardioseg.store.models import ModelFile, read_model, write_model

SHALLOW = {"name": "unet", "widths": [2, 3]}
DEEP = {"name": "unet", "widths": [2, 3, 4]}
CONFIG = {"name": "ensemble", "members": [SHALLOW, DEEP, DEEP]}


@pytest.fixture
def ensemble():
    torch.manual_seed(0)
    return build_network(CONFIG).eval()


def test_its_probabilities_are_the_mean_of_its_members(ensemble):
    images = torch.randn(2, 1, 8, 12)
    mean = torch.stack([member(images).softmax(1) for member in ensemble.members]).mean(0)
    torch.testing.assert_close(ensemble(images).softmax(1), mean)
    torch.testing.assert_close(ensemble(images).exp(), mean, msg="they are log-probabilities already")


def test_members_that_are_very_sure_leave_no_infinity(ensemble):
    with torch.no_grad():
        for member in ensemble.members:
            member.head.bias.copy_(torch.tensor([3e4, 0.0, -3e4]))
    logits = ensemble(torch.randn(1, 1, 8, 8))
    assert torch.isfinite(logits).all()
    assert (logits[:, 0].exp() > 0.99).all()


def test_halved_members_are_averaged_in_full_precision(ensemble):
    assert ensemble.bfloat16()(torch.randn(1, 1, 8, 8, dtype=torch.bfloat16)).dtype == torch.float32


def test_it_is_as_coarse_and_reaches_as_far_as_its_members(ensemble):
    shallow, deep = build_network(SHALLOW), build_network(DEEP)
    assert ensemble.stride == deep.stride == 2 * shallow.stride
    assert ensemble.reach == deep.reach > shallow.reach
    pooled = {"name": "deeplabv3", "backbone": "resnet18", "width": 2, "features": 2, "output_stride": 8}
    mixed = build_network({"name": "ensemble", "members": [SHALLOW, pooled]})
    assert mixed.reach is None
    assert mixed.stride == 8


def test_tiles_give_what_the_whole_image_gives(ensemble):
    images = torch.randn(1, 1, 13, 171)
    with torch.no_grad():
        whole = logits_of(ensemble, images)
        torch.testing.assert_close(logits_of(ensemble, images, largest_side=16), whole, rtol=1e-4, atol=1e-5)


def test_members_take_the_ensembles_channels_and_classes_unless_they_state_their_own():
    network = build_network({**CONFIG, "channels": 2, "classes": 4})
    assert network(torch.zeros(1, 2, 8, 8)).shape == (1, 4, 8, 8)


def test_single_models_weights_become_one_model_file(tmp_path):
    torch.manual_seed(1)
    members = [build_network(config).eval() for config in (SHALLOW, DEEP)]
    config = {"name": "ensemble", "members": [SHALLOW, DEEP], "classes": 3}
    weights = merge_weights([{k: v.numpy() for k, v in m.state_dict().items()} for m in members])
    write_model(tmp_path / "folds.safetensors", ModelFile(ModelCard("folds", config, LV_SCHEME), weights))
    read = read_model(tmp_path / "folds.safetensors")
    network = Model.build(read.card, read.weights).network
    images = torch.randn(1, 1, 8, 8)
    mean = (members[0](images).softmax(1) + members[1](images).softmax(1)) / 2
    torch.testing.assert_close(network(images).exp(), mean)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"members": []}, "agree in their classes"),
        ({"members": [SHALLOW, {**DEEP, "classes": 2}]}, r"agree in their classes; here are \[2, 3\]"),
        ({"members": [SHALLOW, {**DEEP, "classes": 4}], "classes": 3}, r"here are \[3, 4\]"),
        ({"members": [{"name": "nobody"}]}, "no network called 'nobody'"),
        ({}, "members"),
    ],
)
def test_members_that_do_not_fit_are_refused_with_a_sentence(wrong, message):
    with pytest.raises(ModelError, match=message):
        build_network({"name": "ensemble", **wrong})
