"""Errors whose message is a sentence for the person at the screen."""


class CardioSegError(Exception):
    """Something the user can understand and act on: what is wrong, where, and what to do.

    Deliberately not a `RuntimeError`, which napari's generator workers swallow.
    """


class DataError(CardioSegError):
    """Images or labels that cannot be read, written or used as they are."""


class ModelError(CardioSegError):
    """A model file that is missing, damaged, foreign or does not fit."""


class ConfigError(CardioSegError):
    """An option or a configuration file that asks for something impossible."""
