"""Hearts of other shapes: the cavity contracted, the wall thicker for it, their surroundings drawn along.

Readers often draw the epicardium of few patients and at end-diastole alone, where walls are thin. A network
that has seen no thick wall does not find the wall of a hypertrophic heart, nor that of any heart at
end-systole. Of a labelled heart, others can be made: a map of the distance from the cavity's centre, straight
between the cavity's border, the epicardium and a circle well outside, moves image and labels together. As in
a beating heart, the wall keeps its area in the slice while the cavity contracts; hypertrophy is more of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

_GUESSED_WALL = 1.45  # of the cavity's radius: the epicardium where nobody drew it
_SURROUNDINGS = 2.2  # of the epicardium's radius: from here on, all stays in its place
_ROOM = 0.85  # of that radius: no epicardium comes closer to it
_LEAST_AREA = 20  # pixels: a smaller cavity has no shape to change
_OPPOSITE = 0.35  # the opposite changes go as far as this share of their logarithms


@dataclass(frozen=True)
class Radii:
    """Mean radii in pixels, (n,) each: of the cavity, of the epicardium, and of what is drawn along."""

    cavity: Tensor
    epicardium: Tensor
    surroundings: Tensor


def reshape_hearts(
    places: Tensor,
    labels: Tensor,
    ring: tuple[int, int],
    contraction: float,
    hypertrophy: float,
    share: float,
    rng: Generator,
) -> Tensor:
    """Move the places at which frames will be read, so that their hearts get another shape.

    Parameters
    ----------
    places : (n, rows, columns, 2) float tensor
        Where (y, x) in its frame each pixel of a crop will be read.
    labels : (n, y, x) integer tensor
        Labels of the frames.
    ring : (int, int)
        Labels of the cavity and of the wall around it.
    contraction, hypertrophy : float
        Largest factors by which the cavity's radius shrinks and the wall's area grows. About a third as far,
        cavities are also widened and walls made smaller.
    share : float
        Share of the frames that are changed. Those without a cavity stay.
    rng : torch.Generator
        Source of all randomness, on the CPU.

    Returns
    -------
    (n, rows, columns, 2) float tensor
    """
    centres, old = measure_hearts(labels, ring)
    n = len(labels)
    radius = 1 / _random_factors(n, contraction, rng).to(places)
    area = _random_factors(n, hypertrophy, rng).to(places)
    kept = (torch.rand(n, generator=rng) >= share).to(places.device)
    kept |= old.cavity.square() * math.pi < _LEAST_AREA
    inner = old.cavity * radius
    outer = (inner.square() + area * (old.epicardium.square() - old.cavity.square())).sqrt()
    outer = outer.minimum(_ROOM * old.surroundings).maximum(inner + 1)
    offsets = places - centres[:, None, None]
    distance = offsets.norm(dim=-1, keepdim=True).clamp(min=1e-3)
    moved = move_radially(distance, Radii(inner, outer, old.surroundings), old)
    result = centres[:, None, None] + offsets * (moved / distance)
    return torch.where(kept[:, None, None, None], places, result)


def _random_factors(n: int, largest: float, rng: Generator) -> Tensor:
    """Draw factors up to the largest, and down below 1, evenly by their logarithms."""
    furthest = math.log(largest)
    return (torch.rand(n, generator=rng) * (1 + _OPPOSITE) * furthest - _OPPOSITE * furthest).exp()


def measure_hearts(labels: Tensor, ring: tuple[int, int]) -> tuple[Tensor, Radii]:
    """Give the cavities' centres (n, 2) and the mean radii of (n, y, x) labelled hearts."""
    cavity, wall = ((labels == value).float() for value in ring)
    area = cavity.sum(dim=(1, 2))
    total = area.clamp(min=1)
    rows, columns = (torch.arange(n, device=labels.device, dtype=cavity.dtype) for n in labels.shape[1:])
    centres = torch.stack(
        ((cavity.sum(dim=2) * rows).sum(dim=1) / total, (cavity.sum(dim=1) * columns).sum(dim=1) / total), -1
    )
    inner = (total / math.pi).sqrt()
    drawn = wall.sum(dim=(1, 2))
    outer = torch.where(drawn > 0, ((area + drawn) / math.pi).sqrt(), _GUESSED_WALL * inner)
    outer = outer.maximum(inner + 1)
    return centres, Radii(inner, outer, _SURROUNDINGS * outer)


def move_radially(distance: Tensor, new: Radii, old: Radii) -> Tensor:
    """Give where to read what shall lie at (n, rows, columns, 1) distances: straight between the radii."""

    def of_each(values: Tensor) -> Tensor:
        return values[:, None, None, None]

    a, b, end = of_each(new.cavity), of_each(new.epicardium), of_each(new.surroundings)
    old_a, old_b = of_each(old.cavity), of_each(old.epicardium)
    in_cavity = distance * old_a / a
    in_wall = old_a + (distance - a) * (old_b - old_a) / (b - a)
    outside = old_b + (distance - b) * (end - old_b) / (end - b)
    near = torch.where(distance < a, in_cavity, torch.where(distance < b, in_wall, outside))
    return torch.where(distance < end, near, distance)
