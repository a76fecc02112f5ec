"""What improves masks after the network: anatomical clean-up."""

from napari_cardioseg.refine.cleanup import clean_up

__all__ = ["clean_up"]
