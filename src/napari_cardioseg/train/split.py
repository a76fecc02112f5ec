"""Patients, never frames, are split into training and validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from napari_cardioseg.domain import ConfigError


def split_patients(patients: Iterable[str], validation: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part patients into those to train on and those to validate on.

    Parameters
    ----------
    patients : iterable of str
        All patients of the data, repeats allowed.
    validation : sequence of str
        Patients to keep for validation.

    Returns
    -------
    training, validation : lists of str, each sorted

    Raises
    ------
    ConfigError
        If a validation patient is not among the patients, or none is left to train on.
    """
    everyone = sorted(set(patients))
    unknown = sorted(set(validation) - set(everyone))
    if unknown:
        raise ConfigError(f"The data have no patient {', '.join(unknown)}, who is named for validation.")
    training = [p for p in everyone if p not in set(validation)]
    if not training:
        raise ConfigError("No patient is left to train on; name fewer for validation.")
    return training, sorted(set(validation))
