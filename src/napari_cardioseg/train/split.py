"""Patients, never frames, are split: into training and validation, or into folds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from napari_cardioseg.domain import ConfigError, LabelledFrame, LabelScheme


def split_patients(
    patients: Iterable[str], validation: Sequence[str], left_out: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Part patients into those to train on and those to validate on.

    Parameters
    ----------
    patients : iterable of str
        All patients of the data, repeats allowed.
    validation : sequence of str
        Patients to keep for validation.
    left_out : sequence of str
        Patients for neither.

    Returns
    -------
    training, validation : lists of str, each sorted

    Raises
    ------
    ConfigError
        If a named patient is not among the patients or is named for both, or none is left to train on.
    """
    everyone = sorted(set(patients))
    for named, purpose in ((validation, "for validation"), (left_out, "to be left out")):
        unknown = sorted(set(named) - set(everyone))
        if unknown:
            raise ConfigError(f"The data have no patient {', '.join(unknown)}, who is named {purpose}.")
    both = sorted(set(validation) & set(left_out))
    if both:
        raise ConfigError(f"{', '.join(both)} cannot be both left out and kept for validation.")
    training = [p for p in everyone if p not in {*validation, *left_out}]
    if not training:
        raise ConfigError("No patient is left to train on; name fewer for validation.")
    return training, sorted(set(validation))


def deal_folds(
    frames: Sequence[LabelledFrame], folds: int, scheme: LabelScheme, seed: int = 0
) -> list[list[str]]:
    """Deal patients to folds of about one size, so that each fold gets its part of the fully labelled.

    Parameters
    ----------
    frames : sequence of LabelledFrame
        Of the patients to deal.
    folds : int
        How many.
    scheme : LabelScheme
        A patient is fully labelled who has a frame on which all these classes are known.
    seed : int
        The same seed deals in the same way.

    Returns
    -------
    list of lists of str
        The patients of each fold, sorted.

    Raises
    ------
    ConfigError
        If there are fewer than two folds, or more folds than patients.
    """
    everyone = sorted({f.patient for f in frames})
    if not 2 <= folds <= len(everyone):
        most = len(everyone)
        raise ConfigError(f"{most} patients can be dealt to 2 to {most} folds, not to {folds}.")
    full = {f.patient for f in frames if f.known >= set(scheme.values)}
    rng = np.random.default_rng(seed)
    order: list[str] = []
    for group in ([p for p in everyone if p in full], [p for p in everyone if p not in full]):
        order += [group[i] for i in rng.permutation(len(group))]
    return [sorted(order[i::folds]) for i in range(folds)]
