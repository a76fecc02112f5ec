"""What one viewer is working on; every panel shows the same session."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from psygnal import Signal

from napari_cardioseg.domain import Cine, LabelScheme, Segmentation
from napari_cardioseg.plugin.layer_data import cine_layer
from napari_cardioseg.ui.cine_layers import (
    carried_cine,
    carried_segmentation,
    keep_to_scheme,
    make_image,
    make_labels,
    ready_to_read,
    show_scheme,
)
from napari_cardioseg.ui.herald import Herald
from napari_cardioseg.ui.jobs import JobRunner
from napari_cardioseg.ui.keymap import bind_keys
from napari_cardioseg.ui.layer_link import LayerLink
from napari_cardioseg.ui.navigator import Navigator
from napari_cardioseg.ui.player import Player

if TYPE_CHECKING:
    from napari_cardioseg.io import ScanResult, SeriesInfo

_sessions: weakref.WeakKeyDictionary[ViewerModel, Session] = weakref.WeakKeyDictionary()


def session_of(viewer: ViewerModel) -> Session:
    """Give the session of a viewer, and begin one if it has none yet."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # napari hands some plugins a proxy
    if viewer not in _sessions:
        _sessions[viewer] = Session(viewer)
    return _sessions[viewer]


class Session:
    """The cine that a viewer shows, its masks and their states, and the job under way.

    It lives as long as its viewer, which it holds only weakly.

    Attributes
    ----------
    scanned : Signal()
        A scan has found series.
    opened : Signal()
        Another cine is on display, or none.
    marked : Signal()
        Slice states, or the need to save, have changed.
    told : Signal(str, str)
        A sentence for the user, and its level: "info", "notice", "warning" or "error".
    help_wanted : Signal()
        The list of keys is to be shown, or hidden.
    """

    scanned = Signal()
    opened = Signal()
    marked = Signal()
    told = Signal(str, str)
    help_wanted = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = weakref.ref(viewer)
        self.scan: ScanResult | None = None
        self.series: SeriesInfo | None = None
        self.cine: Cine | None = None
        self.image: Image | None = None
        self.link: LayerLink | None = None
        self.ed_es: tuple[int, int] | None = None
        self.saved_to = ""
        self.jobs = JobRunner()
        self.navigator = Navigator(self)
        self.player = Player(self)
        self._herald = Herald(self)
        self._is_adding = False
        bind_keys(viewer, self)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        for layer in list(viewer.layers):
            self._adopt(layer)

    @property
    def viewer(self) -> ViewerModel:
        """The viewer of this session."""
        viewer = self._viewer()
        if viewer is None:
            raise ReferenceError("The viewer of this session has been closed.")
        return viewer

    @property
    def is_alive(self) -> bool:
        """Whether the viewer is still there."""
        return self._viewer() is not None

    @property
    def labels(self) -> Labels | None:
        """The layer that holds the masks."""
        return None if self.link is None else self.link.layer

    @property
    def has_unsaved_changes(self) -> bool:
        """Whether closing the cine now would lose work."""
        return self.link is not None and self.link.has_unsaved_changes

    def show(
        self, cine: Cine, segmentation: Segmentation | None = None, series: SeriesInfo | None = None
    ) -> None:
        """Put a cine on display in place of the one before, with its masks or with empty ones."""
        self.close_cine()
        self._begin(make_image(cine), cine, segmentation, series)

    def close_cine(self) -> None:
        """Take the cine and its masks off the display; unsaved changes are lost."""
        image, labels = self.image, self.labels
        self._forget()
        for layer in (labels, image):
            if layer is not None and layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def use_scheme(self, scheme: LabelScheme) -> None:
        """Give the masks the classes of `scheme`, which holds at least those that they have."""
        if self.link is not None and scheme != self.link.scheme:
            self.link.scheme = scheme
            show_scheme(self.link.layer, scheme)
            self.opened.emit()

    def tell(self, sentence: str, level: str = "info") -> None:
        """Give the user a sentence to read."""
        self.told.emit(sentence, level)

    def _begin(
        self,
        image: Image,
        cine: Cine,
        segmentation: Segmentation | None = None,
        series: SeriesInfo | None = None,
        labels: Labels | None = None,
    ) -> None:
        """Work on a cine; layers that are not in the viewer yet are added."""
        if segmentation is None:
            segmentation = Segmentation(np.zeros(cine.data.shape, np.uint8))
        if labels is None:
            labels = make_labels(cine, segmentation)
        self._is_adding = True
        try:
            for layer in (image, labels):
                if layer not in self.viewer.layers:
                    self.viewer.add_layer(layer)
        finally:
            self._is_adding = False
        self.cine, self.image, self.series = cine, image, series
        ready_to_read(self.viewer, image, labels, segmentation.scheme)
        labels.mouse_drag_callbacks.insert(0, self._on_mouse_press)
        self.navigator.go_to((0, cine.n_slices // 2))
        self.link = LayerLink(labels, segmentation, lambda: self.navigator.position)
        keep_to_scheme(self.link)
        self.link.changed.connect(self.marked.emit)
        self.link.acceptance_lost.connect(self._on_acceptance_lost)
        self.opened.emit()
        self.marked.emit()

    def _forget(self) -> None:
        self.player.stop()
        if self.link is not None:
            self.link.close()
        self.cine = self.image = self.link = self.series = self.ed_es = None
        self.saved_to = ""
        self.opened.emit()
        self.marked.emit()

    def _on_inserted(self, event: object) -> None:
        if not self._is_adding:
            self._adopt(event.value)  # type: ignore[attr-defined]  # napari's events have dynamic attributes

    def _on_removed(self, event: object) -> None:
        if self.cine is not None and event.value in (self.image, self.labels):  # type: ignore[attr-defined]
            self.jobs.cancel()
            self._forget()

    def _adopt(self, layer: Layer) -> None:
        """Work on a cine that came through napari's own File menu, or on the masks that belong to it."""
        if self.has_unsaved_changes:
            return
        cine = carried_cine(layer)
        if cine is not None and isinstance(layer, Image):
            self.close_cine()
            layer.name = cine_layer(cine)[1]["name"]  # without the number it got beside the old one
            self._begin(layer, cine)
        elif self.cine is not None and self.image is not None and isinstance(layer, Labels):
            segmentation = carried_segmentation(layer, self.cine)
            if segmentation is not None:
                image, cine, empty = self.image, self.cine, self.labels
                self._forget()
                if empty is not None:
                    self.viewer.layers.remove(empty)
                    layer.name = empty.name
                self._begin(image, cine, segmentation, labels=layer)

    def _on_mouse_press(self, layer: Labels, _event: object) -> None:
        if layer.mode not in ("pan_zoom", "pick"):
            self.player.stop()  # nobody wants a stroke to wander through the phases

    def _on_acceptance_lost(self, count: int, by_stroke: bool) -> None:
        if by_stroke:
            self.tell("This slice was accepted; you have changed it, so it counts as edited again.", "info")
        else:
            one = count == 1
            slices, them = ("one slice", "it") if one else (f"{count} slices", "them")
            self.tell(
                f"Undo changed {slices} you had accepted; Redo (Ctrl+Shift+Z) brings {them} back.", "warning"
            )
