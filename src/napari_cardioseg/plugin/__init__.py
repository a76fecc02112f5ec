"""The functions that the manifest names, and cines as LayerData; no Qt, no napari."""
