"""`weights`: a network that starts from a checkpoint which the user has downloaded."""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cardioseg.cli.options import add_set_option, check_output, read_setting
from napari_cardioseg.domain import LV_SCHEME, ConfigError, ModelCard

if TYPE_CHECKING:
    from napari_cardioseg.models.pretrained import LoadReport

_FOLDED = "first layer folded to the image's channels"

_EPILOG = """\
examples:
  napari-cardioseg weights resnet50-11ad3fa6.pth --network deeplabv3 -o start.safetensors
  napari-cardioseg weights vgg16_bn-6c64b313.pth --network fcn8s -o start.safetensors
  napari-cardioseg weights deeplabv3_resnet50_coco-cd0a2569.pth --network deeplabv3 \\
      --set auxiliary=true -o start.safetensors

Download the checkpoint yourself, from torchvision's pages; nothing is fetched here, and its licence is
between you and its makers. Model files of this program are taken too, as of fcn32s for fcn16s. The first
layer is folded to the channels of the image. Name the file written as `parent` in a training run with the
same [network] to start from it.
"""


def add_commands(commands: Any) -> None:
    """Add `weights` to the program."""
    parser = commands.add_parser(
        "weights",
        help="start a network from a downloaded ImageNet or COCO checkpoint",
        description="Bring what fits of CHECKPOINT into a network of this program, and say what did not fit.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="a .pth state dict or a .safetensors file"
    )
    parser.add_argument("--network", required=True, metavar="NAME", help="the network, as in [network] name")
    add_set_option(parser, 'its other arguments, as in [network]: backbone=resnet50 "rates=[2, 4, 6]"')
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="START.safetensors",
        help="the model file to write",
    )
    parser.add_argument("--verbose", action="store_true", help="list every tensor, not only the parts")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Load, report and write."""
    config = _network(options.network, options.settings)
    _check_paths(options.checkpoint, options.output)
    from napari_cardioseg.models.pretrained import start_network
    from napari_cardioseg.store.models import ModelFile, write_model

    network, report = start_network(config, options.checkpoint)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    write_model(options.output, ModelFile(_card(config, options, report), weights))
    total = len(report.loaded) + len(report.fresh)
    print(
        f"{options.output}: {options.network} with {len(report.loaded)} of its {total} tensors "
        f"from {options.checkpoint.name}"
    )
    print("\n".join(_every_tensor(report) if options.verbose else _by_part(report)))


def _network(name: str, settings: Sequence[str]) -> dict[str, Any]:
    """Make the description of the network from what the shell gave."""
    config: dict[str, Any] = {"name": name}
    for setting in settings:
        given = read_setting(setting, "backbone=resnet50")
        if taken := given.keys() & {"name", "classes"}:
            raise ConfigError(
                f"{', '.join(sorted(taken))} cannot be --set: the name is --network's, and the classes are "
                f"background, {', '.join(c.name for c in LV_SCHEME)}."
            )
        config |= given
    return {**config, "classes": len(LV_SCHEME) + 1}


def _check_paths(checkpoint: Path, output: Path) -> None:
    from napari_cardioseg.store.models import SUFFIX

    if not checkpoint.is_file():
        raise ConfigError(f"There is no checkpoint {checkpoint}; download it first.")
    if output.suffix != SUFFIX:
        raise ConfigError(f"{output} cannot be written: model files are called something{SUFFIX}.")
    check_output(output)
    if output.exists() and output.samefile(checkpoint):
        raise ConfigError(f"{output} is the checkpoint itself; give the model file another name.")


def _card(config: dict[str, Any], options: argparse.Namespace, report: LoadReport) -> ModelCard:
    source: Path = options.checkpoint
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    start = {"file": source.name, "sha256": digest, "loaded": len(report.loaded), "fresh": len(report.fresh)}
    return ModelCard(
        name=options.output.stem,
        network=config,
        training={"checkpoint": start},
        description=f"A start for training, with weights of {source.name}; not trained further.",
    )


def _by_part(report: LoadReport) -> list[str]:
    """Give a table with a line for each part of the network, and a line on what was not used."""
    from napari_cardioseg.models.pretrained import stage_of

    loaded = Counter(stage_of(name) for name in report.loaded)
    fresh = Counter(stage_of(name) for name in report.fresh)
    remarks: dict[str, list[str]] = {stage_of(name): [_FOLDED] for name in report.folded}
    for name, reason in report.fresh.items():
        remarks.setdefault(stage_of(name), []).append(reason)
    parts = list(dict.fromkeys([*loaded, *fresh]))
    width = max(map(len, parts))
    lines = [f"  {'part':<{width}}  from file  fresh"]
    for part in parts:
        said = "; ".join(dict.fromkeys(remarks.get(part, [])))
        lines.append(f"  {part:<{width}}  {loaded[part] or '-':>9}  {fresh[part] or '-':>5}  {said}".rstrip())
    unused = Counter(stage_of(name) for name in report.unused)
    if unused:
        lines.append("not used from the file: " + ", ".join(f"{part} ({n})" for part, n in unused.items()))
    return lines


def _every_tensor(report: LoadReport) -> list[str]:
    folded = set(report.folded)
    lines = [f"  loaded  {name}{f'  ({_FOLDED})' if name in folded else ''}" for name in report.loaded]
    lines += [f"  fresh   {name}  ({reason})" for name, reason in report.fresh.items()]
    return lines + [f"  unused  {name}" for name in report.unused]
