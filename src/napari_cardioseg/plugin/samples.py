"""The plugin's sample data: a heart that beats on every machine."""

from __future__ import annotations

from napari_cardioseg.plugin.layer_data import LayerData, cine_layer, labels_layer


def beating_heart() -> list[LayerData]:
    """Give the synthetic short-axis cine."""
    from napari_cardioseg.io.phantom import make_phantom

    return [cine_layer(make_phantom().cine)]


def segmented_heart() -> list[LayerData]:
    """Give the synthetic short-axis cine with its true masks."""
    from napari_cardioseg.io.phantom import make_phantom

    phantom = make_phantom()
    return [cine_layer(phantom.cine), labels_layer(phantom.cine, phantom.truth)]
