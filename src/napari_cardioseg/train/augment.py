"""Random changes of a batch that an MRI could have shown: pose, size, contrast, bias field, noise.

Sampling of the parameters stands apart from their application, so that each can be tested.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from napari_cardioseg.domain import ConfigError, Preprocessing
from napari_cardioseg.predict.preprocess import normalise


@dataclass(frozen=True)
class Augmentation:
    """How far a batch is changed; 0 switches a change off, for `scale`, `stretch` and `gamma` 1 does.

    Parameters
    ----------
    rotation : float
        Largest rotation in degrees, either way.
    scale : float
        Largest factor of enlargement; its inverse is the largest of shrinking.
    stretch : float
        Largest factor between the sizes along y and along x.
    shift : float
        Largest displacement in pixels of the crop's centre from the heart's.
    anywhere : float
        Share of crops centred anywhere in the frame rather than near the heart, so that the network
        also learns what is not heart.
    turn : float
        Share of frames also mirrored and turned by a random multiple of 90 degrees.
    local : float
        Share of crops normalised by their own intensities, as prediction does around the heart, instead
        of by the whole frame's.
    gamma : float
        Largest exponent applied to the intensities (and its inverse the smallest).
    contrast, brightness : float
        Largest relative change of the standard deviation, and shift of the mean in standard deviations.
    bias : float
        Strength of the smooth multiplicative field: the natural logarithm's standard deviation.
    noise : float
        Largest standard deviation of added Gaussian noise.
    blur : float
        Largest standard deviation in pixels of a Gaussian blur.
    """

    rotation: float = 30.0
    scale: float = 1.4
    stretch: float = 1.1
    shift: float = 40.0
    anywhere: float = 0.15
    turn: float = 0.3
    local: float = 0.5
    gamma: float = 2.0
    contrast: float = 0.25
    brightness: float = 0.25
    bias: float = 0.3
    noise: float = 0.15
    blur: float = 1.0

    def __post_init__(self) -> None:
        for name in ("scale", "stretch", "gamma"):
            if getattr(self, name) < 1:
                raise ConfigError(f"The augmentation's {name} is a factor of 1 or more.")
        for name in ("anywhere", "turn", "local"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"The augmentation's {name} is a share, between 0 and 1.")
        for name in ("rotation", "shift", "contrast", "brightness", "bias", "noise", "blur"):
            if getattr(self, name) < 0:
                raise ConfigError(f"The augmentation's {name} cannot be negative.")


def augment(
    images: Tensor,
    labels: Tensor,
    centres: Tensor,
    size: int,
    how: Augmentation,
    preprocessing: Preprocessing,
    rng: Generator,
) -> tuple[Tensor, Tensor]:
    """Cut a randomly changed crop from each frame.

    Parameters
    ----------
    images : (batch, y, x) float32 tensor
        Normalised frames.
    labels : (batch, y, x) integer tensor
        Their labels.
    centres : (batch, 2) float tensor
        The heart's centre (y, x) in pixels.
    size : int
        Side of the square crop in pixels.
    how : Augmentation
        Ranges of the changes.
    preprocessing : Preprocessing
        How the frames were normalised.
    rng : torch.Generator
        Source of all randomness.

    Returns
    -------
    images : (batch, 1, size, size) float32 tensor
    labels : (batch, size, size) int64 tensor
        Zero outside the frame.
    """
    height, width = images.shape[-2:]
    matrices, centres = _random_pose(len(images), centres, (height, width), how, rng)
    steps = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
    places = torch.einsum("bij,yxj->byxi", matrices, offsets) + centres[:, None, None]
    # grid_sample wants (x, y) from -1 to 1 between the corners of the corner pixels.
    scale = torch.tensor([2 / width, 2 / height])
    grid = (places.flip(-1) + 0.5) * scale - 1
    crop = F.grid_sample(images[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    truth = F.grid_sample(
        labels[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    # What prediction sees near the heart is normalised by the region around it, not by the whole frame.
    local = torch.rand(len(crop), generator=rng) < how.local
    crop[local, 0] = torch.from_numpy(normalise(crop[local, 0].numpy(), preprocessing))
    return _random_appearance(crop, how, rng), truth[:, 0].round().long()


def _uniform(n: int, low: float, high: float, rng: Generator) -> Tensor:
    return torch.rand(n, generator=rng) * (high - low) + low


def _random_pose(
    n: int, centres: Tensor, frame: tuple[int, int], how: Augmentation, rng: Generator
) -> tuple[Tensor, Tensor]:
    """Draw (n, 2, 2) matrices from crop offsets to frame offsets (y, x), and (n, 2) crop centres."""
    angle = _uniform(n, -how.rotation, how.rotation, rng) * math.pi / 180
    turned = torch.rand(n, generator=rng) < how.turn
    angle = angle + torch.where(turned, torch.randint(0, 4, (n,), generator=rng) * math.pi / 2, 0.0)
    mirror = torch.where(turned & (torch.rand(n, generator=rng) < 0.5), -1.0, 1.0)
    log_scale = _uniform(n, -math.log(how.scale), math.log(how.scale), rng)
    log_stretch = _uniform(n, -math.log(how.stretch), math.log(how.stretch), rng) / 2
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)
    sizes = torch.stack(((log_scale + log_stretch).exp(), (log_scale - log_stretch).exp() * mirror), -1)
    shift = _uniform(2 * n, -how.shift, how.shift, rng).reshape(n, 2)
    anywhere = torch.rand(n, 2, generator=rng) * torch.tensor([frame[0] - 1.0, frame[1] - 1.0])
    chosen = torch.where(torch.rand(n, 1, generator=rng) < how.anywhere, anywhere, centres + shift)
    return rotation / sizes[:, None, :], chosen


def _random_appearance(images: Tensor, how: Augmentation, rng: Generator) -> Tensor:
    """Change the intensities of (batch, 1, y, x) images of about zero mean and unit deviation."""
    n = len(images)
    low = images.amin(dim=(1, 2, 3), keepdim=True)
    span = (images.amax(dim=(1, 2, 3), keepdim=True) - low).clamp(min=1e-3)
    # A coil's sensitivity and the contrast act on the positive signal, so on intensities from 0 to 1.
    field = torch.randn(n, 1, 4, 4, generator=rng) * how.bias * torch.rand(n, 1, 1, 1, generator=rng)
    field = F.interpolate(field, size=images.shape[-2:], mode="bicubic", align_corners=True)
    exponent = _uniform(n, -math.log(how.gamma), math.log(how.gamma), rng).exp()[:, None, None, None]
    signal = ((images - low) / span).clamp(min=0).pow(exponent) * field.exp()
    # Whatever the image was normalised by, it keeps its mean and deviation.
    mean, deviation = _moments(images)
    new_mean, new_deviation = _moments(signal)
    changed = (signal - new_mean) / new_deviation.clamp(min=1e-3) * deviation + mean
    gain = 1 + _uniform(n, -how.contrast, how.contrast, rng)[:, None, None, None]
    offset = _uniform(n, -how.brightness, how.brightness, rng)[:, None, None, None]
    changed = _blur(changed, how.blur, rng) * gain + offset
    noise = torch.randn(changed.shape, generator=rng) * _uniform(n, 0, how.noise, rng)[:, None, None, None]
    return changed + noise


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Give the mean and the standard deviation of each image."""
    return images.mean(dim=(1, 2, 3), keepdim=True), images.std(dim=(1, 2, 3), keepdim=True)


def _blur(images: Tensor, largest: float, rng: Generator) -> Tensor:
    """Blur about half of the images, each by a Gaussian of its own, as one grouped convolution."""
    n = len(images)
    sigma = (_uniform(n, -largest, largest, rng)).clamp(min=0.05)  # the negative half: hardly any blur
    offsets = torch.arange(-3, 4, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]).square())
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    stacked = F.pad(images.reshape(1, n, *images.shape[-2:]), (3, 3, 3, 3), mode="replicate")
    stacked = F.conv2d(stacked, kernel[:, None, :, None], groups=n)
    return F.conv2d(stacked, kernel[:, None, None, :], groups=n).reshape(images.shape)
