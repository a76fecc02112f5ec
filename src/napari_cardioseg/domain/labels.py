"""Names, values and colours of what is segmented."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A coded concept of a terminology, as DICOM writes it (value, scheme, meaning)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class LabelClass:
    """One structure: its pixel value, short key, name, colour (red, green, blue in 0 to 1) and code."""

    value: int
    key: str
    name: str
    colour: tuple[float, float, float]
    code: Code | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.value <= 255:
            raise ValueError(f"Class {self.name!r} has the value {self.value}; values run from 1 to 255.")


@dataclass(frozen=True)
class LabelScheme:
    """The classes of a label image; 0 is always the background.

    Raises
    ------
    ValueError
        If two classes share a value, a key or a name.
    """

    classes: tuple[LabelClass, ...]

    def __post_init__(self) -> None:
        for attribute in ("value", "key", "name"):
            seen = [getattr(c, attribute) for c in self.classes]
            if len(set(seen)) != len(seen):
                raise ValueError(f"Two classes of a label scheme share the same {attribute}.")

    def __iter__(self) -> Iterator[LabelClass]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def by_key(self, key: str) -> LabelClass:
        """Find a class by its short key; raises `KeyError` where there is none."""
        for c in self.classes:
            if c.key == key:
                return c
        raise KeyError(key)

    @property
    def values(self) -> tuple[int, ...]:
        """Pixel values of the classes, the background left out."""
        return tuple(c.value for c in self.classes)


# SNOMED CT codes as in DICOM's anatomy context groups; see the project's DICOM notes.
LV_CAVITY = LabelClass(1, "lv", "LV cavity", (0.90, 0.22, 0.27), Code("87878005", "SCT", "Left ventricle"))
MYOCARDIUM = LabelClass(2, "myo", "myocardium", (0.18, 0.72, 0.55), Code("74281007", "SCT", "Myocardium"))
RV_CAVITY = LabelClass(3, "rv", "RV cavity", (0.27, 0.48, 0.90), Code("53085002", "SCT", "Right ventricle"))

LV_SCHEME = LabelScheme((LV_CAVITY, MYOCARDIUM))
