"""How a cine and its masks are put on display in a viewer."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from napari_cardioseg.domain import Cine, DataError, LabelScheme, Segmentation
from napari_cardioseg.plugin.layer_data import METADATA_KEY, cine_layer, colours, labels_layer, structures
from napari_cardioseg.ui.layer_link import LayerLink

FIRST_BRUSH_MM = 8.0


def make_image(cine: Cine) -> Image:
    """Make the image layer of a cine."""
    layer = Layer.create(*cine_layer(cine))
    assert isinstance(layer, Image)
    return layer


def make_labels(cine: Cine, segmentation: Segmentation) -> Labels:
    """Make the labels layer of a cine; it holds a copy of the labels."""
    layer = Layer.create(*labels_layer(cine, segmentation))
    assert isinstance(layer, Labels)
    return layer


def carried_cine(layer: Layer) -> Cine | None:
    """Give the cine that an image layer made by our reader or sample carries."""
    carried = layer.metadata.get(METADATA_KEY, {}) if isinstance(layer, Image) else {}
    cine = carried.get("cine")
    fits = isinstance(cine, Cine) and layer.data.shape == cine.data.shape
    return cine if fits else None


def carried_segmentation(layer: Layer, cine: Cine) -> Segmentation | None:
    """Give the segmentation that a labels layer made by our sample carries, if it belongs to `cine`."""
    carried = layer.metadata.get(METADATA_KEY, {}) if isinstance(layer, Labels) else {}
    segmentation = carried.get("segmentation")
    belongs = isinstance(segmentation, Segmentation) and carried.get("cine") is cine
    return segmentation if belongs else None


def ready_to_read(viewer: ViewerModel, image: Image, labels: Labels, scheme: LabelScheme) -> None:
    """Set up the view for reading: the image plane, a scale bar, and the brush on the first class."""
    viewer.dims.ndisplay = 2
    viewer.dims.order = tuple(range(viewer.dims.ndim))
    viewer.canvas.overlays.scale_bar.visible = True
    labels.preserve_labels = False
    labels.n_edit_dimensions = 2
    labels.brush_size = max(3, round(FIRST_BRUSH_MM / float(image.scale[-1])))
    labels.selected_label = scheme.values[0]
    labels.locked = True  # the Delete key in the layer list must not throw work away
    labels.mode = "paint"
    viewer.layers.selection.active = labels
    viewer.reset_view()


def keep_to_scheme(link: LayerLink) -> None:
    """Keep the brush on the classes of the scheme; napari's M, - and = would choose unnamed values."""
    labels = link.layer
    last = [link.scheme.values[0]]

    def on_selected(_event: object = None) -> None:
        if labels.selected_label in (0, *link.scheme.values):
            last[0] = labels.selected_label
        else:
            labels.selected_label = last[0]

    labels.events.selected_label.connect(on_selected)


def joined(scheme: LabelScheme, other: LabelScheme) -> LabelScheme:
    """Join the classes of two schemes.

    Raises
    ------
    DataError
        If a value, a key or a name means one thing in the first and another in the second.
    """
    added = tuple(c for c in other if (c.value, c.key) not in {(own.value, own.key) for own in scheme})
    try:
        return LabelScheme(scheme.classes + added)
    except ValueError as error:
        names = ", ".join(f"{c.value} {c.name}" for c in scheme)
        raise DataError(
            f"The classes of this model ({', '.join(f'{c.value} {c.name}' for c in other)}) contradict "
            f"those of the masks ({names}); choose a model with the same classes."
        ) from error


def show_scheme(labels: Labels, scheme: LabelScheme) -> None:
    """Give a labels layer the names and colours of a scheme."""
    labels.colormap = colours(scheme)
    labels.features = structures(scheme)
