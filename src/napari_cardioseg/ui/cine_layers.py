"""How a cine and its masks are put on display in a viewer."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from napari_cardioseg.domain import Cine, LabelScheme, Segmentation
from napari_cardioseg.plugin.layer_data import METADATA_KEY, cine_layer, labels_layer

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


def keep_to_scheme(labels: Labels, scheme: LabelScheme) -> None:
    """Keep the brush on the classes of the scheme; napari's M, - and = would choose unnamed values."""
    allowed = (0, *scheme.values)
    last = [scheme.values[0]]

    def on_selected(_event: object = None) -> None:
        if labels.selected_label in allowed:
            last[0] = labels.selected_label
        else:
            labels.selected_label = last[0]

    labels.events.selected_label.connect(on_selected)
