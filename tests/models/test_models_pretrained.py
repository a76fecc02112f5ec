"""Checkpoints in torchvision's names and shapes, which are written out here from its documented structure."""

from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from napari_cardioseg.domain import ModelError
from napari_cardioseg.models import build_network
from napari_cardioseg.models.pretrained import load_checkpoint, read_checkpoint


def batch_norm(name, n):
    values = {f"{name}.{key}": (n,) for key in ("weight", "bias", "running_mean", "running_var")}
    return {**values, f"{name}.num_batches_tracked": ()}


def resnet18_shapes(width=64, classes=1000):
    shapes = {"conv1.weight": (width, 3, 7, 7), **batch_norm("bn1", width)}
    n_in = width
    for stage in range(1, 5):
        n = width << (stage - 1)
        for unit in range(2):
            block = f"layer{stage}.{unit}"
            shapes |= {f"{block}.conv1.weight": (n, n_in, 3, 3), **batch_norm(f"{block}.bn1", n)}
            shapes |= {f"{block}.conv2.weight": (n, n, 3, 3), **batch_norm(f"{block}.bn2", n)}
            if n_in != n:
                shapes |= {f"{block}.downsample.0.weight": (n, n_in, 1, 1)}
                shapes |= batch_norm(f"{block}.downsample.1", n)
            n_in = n
    return {**shapes, "fc.weight": (classes, n_in), "fc.bias": (classes,)}


def resnet50_trunk_shapes():
    shapes = {"conv1.weight": (64, 3, 7, 7), **batch_norm("bn1", 64)}
    n_in = 64
    for stage, units in enumerate((3, 4, 6, 3), start=1):
        n = 32 << stage
        for unit in range(units):
            block = f"layer{stage}.{unit}"
            sizes = ((n, n_in, 1, 1), (n, n, 3, 3), (4 * n, n, 1, 1))
            for i, size in enumerate(sizes, start=1):
                shapes |= {f"{block}.conv{i}.weight": size, **batch_norm(f"{block}.bn{i}", size[0])}
            if unit == 0:
                shapes |= {f"{block}.downsample.0.weight": (4 * n, n_in, 1, 1)}
                shapes |= batch_norm(f"{block}.downsample.1", 4 * n)
            n_in = 4 * n
    return shapes


def deeplabv3_resnet50_shapes():
    shapes = {f"backbone.{name}": shape for name, shape in resnet50_trunk_shapes().items()}
    pyramid = "classifier.0.convs"
    for branch, kernel in enumerate((1, 3, 3, 3)):
        shapes |= {f"{pyramid}.{branch}.0.weight": (256, 2048, kernel, kernel)}
        shapes |= batch_norm(f"{pyramid}.{branch}.1", 256)
    shapes |= {f"{pyramid}.4.1.weight": (256, 2048, 1, 1), **batch_norm(f"{pyramid}.4.2", 256)}
    project = "classifier.0.project"
    shapes |= {f"{project}.0.weight": (256, 1280, 1, 1), **batch_norm(f"{project}.1", 256)}
    shapes |= {"classifier.1.weight": (256, 256, 3, 3), **batch_norm("classifier.2", 256)}
    shapes |= {"classifier.4.weight": (21, 256, 1, 1), "classifier.4.bias": (21,)}
    shapes |= {"aux_classifier.0.weight": (256, 1024, 3, 3), **batch_norm("aux_classifier.1", 256)}
    return shapes | {"aux_classifier.4.weight": (21, 256, 1, 1), "aux_classifier.4.bias": (21,)}


def vgg16_bn_shapes(width=64, fc=4096, classes=1000):
    shapes, number, n_in = {}, 0, 3
    for stage, convolutions in enumerate((2, 2, 3, 3, 3)):
        n = width * min(2**stage, 8)
        for _ in range(convolutions):
            shapes |= {f"features.{number}.weight": (n, n_in, 3, 3), f"features.{number}.bias": (n,)}
            shapes |= batch_norm(f"features.{number + 1}", n)
            number, n_in = number + 3, n
        number += 1
    for layer, (n_out, n) in {0: (fc, 49 * n_in), 3: (fc, fc), 6: (classes, fc)}.items():
        shapes |= {f"classifier.{layer}.weight": (n_out, n), f"classifier.{layer}.bias": (n_out,)}
    return shapes


def checkpoint(shapes):
    generator = torch.Generator().manual_seed(1)
    values = {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}
    return {k: v.long() if k.endswith("num_batches_tracked") else v for k, v in values.items()}


def count(shapes):
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    sizes = [torch.Size(s).numel() for name, s in shapes.items() if not name.endswith(statistics)]
    return sum(sizes)


SMALL_RESNET = {"name": "deeplabv3", "backbone": "resnet18", "width": 4, "features": 8}
SMALL_FCN = {"name": "fcn8s", "width": 2, "fc": 8}


def test_the_shapes_written_here_count_as_torchvision_publishes():
    assert count(resnet18_shapes()) == 11_689_512
    assert count(resnet50_trunk_shapes()) + 1000 * 2048 + 1000 == 25_557_032
    assert count(vgg16_bn_shapes()) == 138_365_992
    assert count(deeplabv3_resnet50_shapes()) == 42_004_074


@pytest.mark.parametrize("channels", [1, 3])
def test_a_resnet18_fills_the_backbone_whole(channels):
    network = build_network({**SMALL_RESNET, "channels": channels})
    weights = checkpoint(resnet18_shapes(width=4))
    report = load_checkpoint(network, weights)
    backbone = network.backbone.state_dict()
    assert set(backbone) == set(weights) - {"fc.weight", "fc.bias"}
    for name, value in backbone.items():
        if name != "conv1.weight" or channels == 3:
            assert torch.equal(value, weights[name]), name
    assert set(report.loaded) == {f"backbone.{name}" for name in backbone}
    assert report.folded == (() if channels == 3 else ("backbone.conv1.weight",))
    assert report.unused == ("fc.weight", "fc.bias")
    assert report.fresh["classifier.4.weight"] == "not in the file"
    assert not any(name.startswith("backbone.") for name in report.fresh)


@pytest.mark.parametrize(
    "name", ["deeplabv2", "deeplabv3", "deeplabv3_cascade", "refinenet", "pspnet", "gcn"]
)
def test_every_network_on_a_resnet_takes_its_checkpoint(name):
    network = build_network({"name": name, "backbone": "resnet18", "width": 4})
    weights = checkpoint(resnet18_shapes(width=4))
    report = load_checkpoint(network, weights)
    assert report.folded == ("backbone.conv1.weight",)
    assert report.unused == ("fc.weight", "fc.bias")
    assert not any(name.startswith("backbone.") for name in report.fresh)
    assert torch.equal(network.backbone.layer4[1].conv2.weight, weights["layer4.1.conv2.weight"])


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_a_grey_image_gets_the_answer_that_it_got_in_colour(channels):
    weights = checkpoint(resnet18_shapes(width=4))
    network = build_network({**SMALL_RESNET, "channels": channels}).double()
    load_checkpoint(network, weights)
    grey = torch.randn(1, 1, 32, 32, dtype=torch.float64)
    filters = weights["conv1.weight"].double()
    expected = torch.conv2d(grey.expand(-1, 3, -1, -1), filters, stride=2, padding=3)
    found = network.backbone.conv1(grey.expand(-1, channels, -1, -1))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # the weights are float32


def test_vgg16s_fully_connected_layers_become_convolutions():
    network = build_network(SMALL_FCN).eval()
    weights = checkpoint(vgg16_bn_shapes(width=2, fc=8))
    report = load_checkpoint(network, weights)
    assert report.unused == ("classifier.6.weight", "classifier.6.bias")
    assert report.folded == ("backbone.features.0.weight",)
    assert not any(name.startswith(("backbone.", "head.")) for name in report.fresh)
    features = torch.rand(1, 16, 7, 7)
    hidden = nn.functional.linear(
        features.flatten(1), weights["classifier.0.weight"], weights["classifier.0.bias"]
    ).relu()
    expected = nn.functional.linear(hidden, weights["classifier.3.weight"], weights["classifier.3.bias"])
    torch.testing.assert_close(network.head(features)[:, :, 3, 3], expected.relu())


@pytest.mark.parametrize("name", ["segnet", "dilated", "fcn32s"])
def test_every_network_on_vgg16_takes_its_checkpoint(name):
    arguments = {} if name == "segnet" else {"fc": 8}
    network = build_network({"name": name, "width": 2, **arguments})
    weights = checkpoint(vgg16_bn_shapes(width=2, fc=8))
    load_checkpoint(network, weights)
    assert torch.equal(network.backbone.features[40].weight, weights["features.40.weight"])


def test_torchvisions_deeplabv3_has_our_names_and_shapes():
    with torch.device("meta"):
        network = build_network({"name": "deeplabv3", "channels": 3, "classes": 21, "auxiliary": True})
    ours = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert ours == deeplabv3_resnet50_shapes()


def test_heads_for_other_classes_stay_fresh_with_the_reason():
    source = build_network({**SMALL_RESNET, "channels": 3, "classes": 21, "auxiliary": True})
    network = build_network(SMALL_RESNET)
    before = network.classifier[4].weight.clone()
    report = load_checkpoint(network, source.state_dict())
    assert dict(report.fresh) == {
        "classifier.4.weight": "21 classes in the file, 3 here",
        "classifier.4.bias": "21 classes in the file, 3 here",
    }
    assert torch.equal(network.classifier[4].weight, before)
    assert {name.split(".")[0] for name in report.unused} == {"aux_classifier"}


def test_a_finer_fcn_starts_from_a_coarser_one_of_ours(tmp_path):
    coarse = build_network({**SMALL_FCN, "name": "fcn32s"})
    save_file({name: value.half() for name, value in coarse.state_dict().items()}, tmp_path / "a.safetensors")
    fine = build_network({**SMALL_FCN, "name": "fcn16s"})
    report = load_checkpoint(fine, read_checkpoint(tmp_path / "a.safetensors"))
    assert set(report.fresh) == {"score_pools.0.weight", "score_pools.0.bias", "upsample.0.weight"}
    assert report.unused == ()
    assert fine.head.fc6.weight.dtype == torch.float32
    torch.testing.assert_close(fine.head.fc6.weight, coarse.head.fc6.weight, rtol=1e-3, atol=1e-4)


def test_old_checkpoints_without_counters_are_complete():
    weights = {
        name: value
        for name, value in checkpoint(resnet18_shapes(width=4)).items()
        if not name.endswith("num_batches_tracked")
    }
    report = load_checkpoint(build_network(SMALL_RESNET), weights)
    assert not any(name.startswith("backbone.") for name in report.fresh)


@pytest.mark.parametrize(
    ("config", "shapes", "complaint"),
    [
        ({"name": "unet", "widths": [4, 8]}, resnet18_shapes(width=4), "Nothing in the checkpoint fits"),
        ({**SMALL_RESNET, "width": 8}, resnet18_shapes(width=4), r"conv1\.weight: 4 x 3 x 7 x 7 in the file"),
        ({**SMALL_RESNET, "backbone": "resnet34"}, resnet18_shapes(width=4), r"layer1\.2.*not in the file"),
        ({**SMALL_RESNET, "backbone": "resnet50"}, resnet18_shapes(width=4), "another backbone"),
        (
            SMALL_RESNET,
            {**resnet18_shapes(width=4), "layer3.2.conv1.weight": (16, 16, 3, 3)},
            r"layer3\.2\.conv1\.weight has no place",
        ),
        ({**SMALL_FCN, "backbone": "vgg16"}, vgg16_bn_shapes(width=2, fc=8), "another backbone"),
    ],
)
def test_checkpoints_of_other_networks_are_refused_and_leave_no_trace(config, shapes, complaint):
    network = build_network(config)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ModelError, match=complaint):
        load_checkpoint(network, checkpoint(shapes))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_state_dicts_are_read_as_training_scripts_leave_them(tmp_path, zipped, wrapper):
    weights = {"conv1.weight": torch.rand(4, 3, 7, 7), "bn1.bias": nn.Parameter(torch.rand(4))}
    content = (
        weights if wrapper is None else {wrapper: {f"module.{k}": v for k, v in weights.items()}, "e": 3}
    )
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    again = read_checkpoint(tmp_path / "a.pth")
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], value) for name, value in weights.items())


class Trap:
    """What a pickle can do when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (self.path.touch, ())


@pytest.mark.parametrize("zipped", [True, False, None])
def test_pickled_objects_are_refused_and_their_code_is_not_run(tmp_path, zipped):
    sprung = tmp_path / "sprung"
    content = {"conv1.weight": torch.rand(2), "trap": Trap(sprung)}
    path = tmp_path / "evil.pth"
    if zipped is None:
        path.write_bytes(pickle.dumps(Trap(sprung)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"evil\.pth holds Python objects .*not loaded"):
        read_checkpoint(path)
    assert not sprung.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_damaged_files_are_refused_with_a_sentence(tmp_path, zipped, share):
    path = tmp_path / "cut.pth"
    torch.save({"conv1.weight": torch.rand(64, 3, 7, 7)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match="damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_no_damage_ends_in_anything_but_a_sentence(tmp_path, zipped):
    path = tmp_path / "flipped.pth"
    torch.save({"conv1.weight": torch.rand(2, 3)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    refused = 0
    for place in range(2, min(len(whole), 700), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            read_checkpoint(path)
        except ModelError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("page.pth", b"<!DOCTYPE html>", "no checkpoint of PyTorch"),
        ("empty.pth", b"", "no checkpoint of PyTorch"),
        ("short.pth", b"\x80\x02}q\x00", "damaged"),
        ("page.safetensors", b"<!DOCTYPE html>", "cannot be read"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, name, content, complaint):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=complaint):
        read_checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({}, "no weights by name"),
        ([torch.zeros(2)], "no weights by name"),
        ({"conv1.weight": torch.zeros(2), "epoch": 3}, "'epoch' beside weights"),
        ({"conv1.weight": torch.tensor([1.0, float("nan")])}, "not finite"),
    ],
)
def test_what_is_not_weights_alone_is_refused(tmp_path, content, complaint):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=complaint):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["gone.pth", "gone.safetensors"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(ModelError, match=name):
        read_checkpoint(tmp_path / name)
