"""Random changes of a batch that an MRI could have shown: pose, size, contrast, bias field, noise.

They are computed wherever the images are; all randomness comes from a generator on the CPU, so that a seed
gives the same changes on any device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from napari_cardioseg.domain import ConfigError, Preprocessing
from napari_cardioseg.predict.intensity import apply_curves, normalise_each
from napari_cardioseg.predict.preprocess import resample
from napari_cardioseg.train.reshape import reshape_hearts

_CURVE_PIECES = 6  # straight pieces of a random contrast curve
_ELASTIC_NODES = 3  # per axis


@dataclass(frozen=True)
class Augmentation:
    """How far a batch is changed.

    0 switches a change off; for `scale`, `stretch`, `gamma`, `thickness`, `contraction` and `hypertrophy`,
    which are factors, 1 does.

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
        also learns what is not heart. If it is 1, no crop leaves a frame that is larger than it.
    turn : float
        Share of frames also mirrored and turned by a random multiple of 90 degrees.
    mirror : float
        Share of frames mirrored from left to right.
    local : float
        Share of crops normalised by their own intensities, as prediction does around the heart, instead
        of by the whole frame's. Of no effect if prediction does not look for the heart.
    gamma : float
        Largest exponent applied to the intensities (and its inverse the smallest).
    contrast, brightness : float
        Largest relative change of the standard deviation, and shift of the mean in standard deviations of
        the frame.
    bias : float
        Strength of the smooth multiplicative field: the natural logarithm's standard deviation.
    noise : float
        Largest standard deviation of added Gaussian noise, in those of the frame.
    blur : float
        Largest standard deviation in pixels of a Gaussian blur.
    elastic : float
        Standard deviation in pixels of the displacements at the nodes of a 3 x 3 grid over the crop, between
        which they are interpolated (Ronneberger et al. 2015, section 3.1, with 10).
    contraction, hypertrophy : float
        Largest factors by which a heart's cavity contracts and its wall grows (`reshape.reshape_hearts`).
    reshaped : float
        Share of frames whose hearts get another shape, within the ranges above.
    thickness : float
        Largest factor by which pixels are made thicker, as of a coarser acquisition.
    ghosting : float
        Largest share by which every second to fourth line of k-space is weakened, which repeats the image
        along one axis.
    curve : float
        Unevenness of a random rising contrast curve: the standard deviation of the natural logarithm of the
        slopes of its pieces.
    inversion : float
        Share of crops in which dark and bright change places.
    """

    rotation: float = 30.0
    scale: float = 1.4
    stretch: float = 1.1
    shift: float = 40.0
    anywhere: float = 0.15
    turn: float = 0.3
    mirror: float = 0.0
    local: float = 0.5
    gamma: float = 2.0
    contrast: float = 0.25
    brightness: float = 0.25
    bias: float = 0.3
    noise: float = 0.15
    blur: float = 1.0
    elastic: float = 0.0
    contraction: float = 1.0
    hypertrophy: float = 1.0
    reshaped: float = 0.65
    thickness: float = 1.0
    ghosting: float = 0.0
    curve: float = 0.0
    inversion: float = 0.0

    def __post_init__(self) -> None:
        for name in ("scale", "stretch", "gamma", "thickness", "contraction", "hypertrophy"):
            if getattr(self, name) < 1:
                raise ConfigError(f"The augmentation's {name} is a factor of 1 or more.")
        for name in ("anywhere", "turn", "mirror", "local", "reshaped", "ghosting", "inversion"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"The augmentation's {name} is a share, between 0 and 1.")
        for name in (
            "rotation",
            "shift",
            "contrast",
            "brightness",
            "bias",
            "noise",
            "blur",
            "elastic",
            "curve",
        ):
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
    near: Tensor | None = None,
    ring: tuple[int, int] | None = None,
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
        Source of all randomness, on the CPU.
    near : (batch, 2, k) float tensor, optional
        `TrainingFrames.near` of the frames; without it "local" crops are normalised each by itself.
    ring : (int, int), optional
        Labels of the ventricle's cavity and wall; without them hearts keep their shape.

    Returns
    -------
    images : (batch, 1, size, size) float32 tensor
    labels : (batch, size, size) int64 tensor
        Zero outside the frame.
    """
    places = _random_places(images, centres, size, how, rng)
    if ring is not None and max(how.contraction, how.hypertrophy) > 1:
        places = reshape_hearts(places, labels, ring, how.contraction, how.hypertrophy, how.reshaped, rng)
    grid = _as_grid(places, images)
    crop = F.grid_sample(images[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    truth = F.grid_sample(
        labels[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    # What prediction sees near the heart is normalised by the region around it, not by the whole frame.
    local = (torch.rand(len(crop), generator=rng) < how.local).to(crop.device)
    if preprocessing.locate and local.any():
        crop[local, 0] = _rescaled(
            crop[local, 0], None if near is None else near.to(crop)[local], preprocessing
        )
    unit = torch.ones((), device=crop.device)
    if preprocessing.method == "percentile":  # whose standard deviation is not 1 but a part of it
        own = local & preprocessing.locate
        unit = torch.where(own[:, None, None, None], _moments(crop)[1], _moments(images[:, None])[1])
    return _random_appearance(crop, how, unit, rng), truth[:, 0].round().long()


def _as_grid(places: Tensor, images: Tensor) -> Tensor:
    """Give (n, rows, columns, 2) places as `grid_sample` takes them."""
    height, width = images.shape[-2:]
    # It wants (x, y) from -1 to 1 between the corners of the corner pixels.
    return (places.flip(-1) + 0.5) * torch.tensor([2 / width, 2 / height], device=images.device) - 1


def _rescaled(crops: Tensor, near: Tensor | None, preprocessing: Preprocessing) -> Tensor:
    """Bring (n, y, x) crops to the scale of intensities of the heart's region."""
    if near is None:
        return normalise_each(crops, preprocessing)
    return apply_curves(crops.flatten(1), near[:, 0], near[:, 1]).view_as(crops)


def _uniform(n: int, low: float, high: float, rng: Generator) -> Tensor:
    return torch.rand(n, generator=rng) * (high - low) + low


def _each(values: Tensor, images: Tensor) -> Tensor:
    """Give (n,) values so that each meets its image of (n, 1, y, x)."""
    return values[:, None, None, None].to(images)


def _random_places(images: Tensor, centres: Tensor, size: int, how: Augmentation, rng: Generator) -> Tensor:
    """Draw where (y, x) in its frame each pixel of a crop lies, (n, size, size, 2)."""
    height, width = images.shape[-2:]
    matrices, centres = _random_pose(centres.cpu(), size, (height, width), how, rng)
    steps = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1).to(images.device)
    places = torch.einsum("bij,yxj->byxi", matrices.to(images.device), offsets)
    places = places + centres[:, None, None].to(images.device)
    if how.elastic > 0:
        nodes = torch.randn(len(images), 2, _ELASTIC_NODES, _ELASTIC_NODES, generator=rng) * how.elastic
        field = F.interpolate(nodes.to(images.device), size=(size, size), mode="bicubic", align_corners=True)
        places = places + field.permute(0, 2, 3, 1)
    return places


def _random_pose(
    centres: Tensor, size: int, frame: tuple[int, int], how: Augmentation, rng: Generator
) -> tuple[Tensor, Tensor]:
    """Draw (n, 2, 2) matrices from crop offsets to frame offsets (y, x), and (n, 2) crop centres."""
    n = len(centres)
    angle = _uniform(n, -how.rotation, how.rotation, rng) * math.pi / 180
    turned = torch.rand(n, generator=rng) < how.turn
    angle = angle + torch.where(turned, torch.randint(0, 4, (n,), generator=rng) * math.pi / 2, 0.0)
    mirror = torch.where(turned & (torch.rand(n, generator=rng) < 0.5), -1.0, 1.0)
    if how.mirror > 0:
        mirror = torch.where(torch.rand(n, generator=rng) < how.mirror, -mirror, mirror)
    log_scale = _uniform(n, -math.log(how.scale), math.log(how.scale), rng)
    log_stretch = _uniform(n, -math.log(how.stretch), math.log(how.stretch), rng) / 2
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)
    sizes = torch.stack(((log_scale + log_stretch).exp(), (log_scale - log_stretch).exp() * mirror), -1)
    matrices = rotation / sizes[:, None, :]
    shift = _uniform(2 * n, -how.shift, how.shift, rng).reshape(n, 2)
    room = torch.tensor([frame[0] - 1.0, frame[1] - 1.0])
    lost = torch.zeros(n, 2)
    if how.anywhere == 1:  # as far as the crop reaches from its centre along either axis of the frame
        lost = torch.minimum(matrices.abs().sum(dim=-1) * (size - 1) / 2, room / 2)
    anywhere = lost + torch.rand(n, 2, generator=rng) * (room - 2 * lost)
    chosen = torch.where(torch.rand(n, 1, generator=rng) < how.anywhere, anywhere, centres + shift)
    return matrices, chosen


def _random_appearance(images: Tensor, how: Augmentation, unit: Tensor, rng: Generator) -> Tensor:
    """Change the intensities of (n, 1, y, x) images of a standard deviation of about `unit`."""
    n = len(images)
    low = images.amin(dim=(1, 2, 3), keepdim=True)
    span = (images.amax(dim=(1, 2, 3), keepdim=True) - low).clamp(min=1e-3)
    # A coil's sensitivity and the contrast act on the positive signal, so on intensities from 0 to 1.
    field = torch.randn(n, 1, 4, 4, generator=rng) * how.bias * torch.rand(n, 1, 1, 1, generator=rng)
    field = F.interpolate(field.to(images), size=images.shape[-2:], mode="bicubic", align_corners=True)
    exponent = _uniform(n, -math.log(how.gamma), math.log(how.gamma), rng).exp()
    signal = _random_contrast(((images - low) / span).clamp(min=0), how, rng)
    signal = signal.pow(_each(exponent, images)) * field.exp()
    if how.ghosting > 0:
        signal = _ghosts(signal, how.ghosting, rng)
    # Whatever the image was normalised by, it keeps its mean and deviation.
    mean, deviation = _moments(images)
    new_mean, new_deviation = _moments(signal)
    changed = (signal - new_mean) / new_deviation.clamp(min=1e-3) * deviation + mean
    gain = 1 + _each(_uniform(n, -how.contrast, how.contrast, rng), images)
    offset = _each(_uniform(n, -how.brightness, how.brightness, rng), images) * unit
    if how.thickness > 1:
        changed = _thick_pixels(changed, how.thickness, rng)
    changed = _blur(changed, how.blur, rng) * gain + offset
    noise = torch.randn(changed.shape, generator=rng).to(images)
    return changed + noise * _each(_uniform(n, 0, how.noise, rng), images) * unit


def _random_contrast(signal: Tensor, how: Augmentation, rng: Generator) -> Tensor:
    """Apply a rising curve to some (n, 1, y, x) intensities from 0 to 1, and turn others upside down."""
    n = len(signal)
    if how.curve > 0:
        slopes = (torch.randn(n, _CURVE_PIECES, generator=rng) * how.curve).exp()
        values = F.pad(slopes.cumsum(dim=1) / slopes.sum(dim=1, keepdim=True), (1, 0)).to(signal)
        levels = torch.linspace(0, 1, _CURVE_PIECES + 1).to(signal).expand(n, -1)
        signal = apply_curves(signal.flatten(1), levels, values).view_as(signal)
    if how.inversion > 0:
        inverted = _each((torch.rand(n, generator=rng) < how.inversion).float(), signal)
        signal = (signal + inverted * (1 - 2 * signal)).clamp(min=0)  # a curve may end a rounding above 1
    return signal


def _ghosts(signal: Tensor, largest: float, rng: Generator) -> Tensor:
    """Weaken every second, third or fourth line of k-space along a random axis."""
    n = len(signal)
    strength = _each(_uniform(n, 0, largest, rng), signal)
    period = _each(torch.randint(2, 5, (n,), generator=rng), signal)
    rows = _each((torch.rand(n, generator=rng) < 0.5).float(), signal)
    for axis, chosen in ((2, rows), (3, 1 - rows)):
        lines = torch.arange(signal.shape[axis]).to(signal).view([-1 if a == axis else 1 for a in range(4)])
        gain = 1 - strength * chosen * (lines % period == 0)
        signal = torch.fft.ifft(torch.fft.fft(signal, dim=axis) * gain, dim=axis).abs()
    return signal


def _thick_pixels(images: Tensor, largest: float, rng: Generator) -> Tensor:
    """Show each image on coarser pixels, by a factor of its own, and back on its own."""
    height, width = images.shape[-2:]
    shown = []
    for image, factor in zip(images, _uniform(len(images), 0, math.log(largest), rng).exp(), strict=True):
        coarse = max(round(height / float(factor)), 1), max(round(width / float(factor)), 1)
        shown.append(resample(resample(image, coarse), (height, width)))
    return torch.stack(shown)


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Give the mean and the standard deviation of each image."""
    return images.mean(dim=(1, 2, 3), keepdim=True), images.std(dim=(1, 2, 3), keepdim=True)


def _blur(images: Tensor, largest: float, rng: Generator) -> Tensor:
    """Blur about half of the images, each by a Gaussian of its own, as one grouped convolution."""
    n = len(images)
    sigma = (_uniform(n, -largest, largest, rng)).clamp(min=0.05)  # the negative half: hardly any blur
    reach = max(math.ceil(3 * largest), 1)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]).square())
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).to(images)
    stacked = F.pad(images.reshape(1, n, *images.shape[-2:]), (reach,) * 4, mode="replicate")
    stacked = F.conv2d(stacked, kernel[:, None, :, None], groups=n)
    return F.conv2d(stacked, kernel[:, None, None, :], groups=n).reshape(images.shape)
