"""Interactive segmentation of cardiac cine MRI in napari, with a model that learns from its reader."""

__version__ = "0.1.0"
