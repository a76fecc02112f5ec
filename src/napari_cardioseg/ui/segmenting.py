"""Running a model on the cine on display and writing its masks into the layer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from napari_cardioseg.domain import Cine, Job, LabelScheme, Progress
from napari_cardioseg.ui.cine_layers import joined
from napari_cardioseg.ui.layer_link import LayerLink, Slice

if TYPE_CHECKING:
    from napari_cardioseg.predict import Prediction
    from napari_cardioseg.ui.session import Session


class Scope(Enum):
    """Which slices a model is to segment."""

    CINE = "the whole cine"
    ED_ES = "end-diastole and end-systole"
    PHASE = "this phase"
    SLICE = "this slice"


@dataclass(frozen=True)
class Request:
    """What the user asks of a model.

    Parameters
    ----------
    model : str
        Name of a shipped model, or the path of a model file.
    scope : Scope
        Which slices.
    device : str
        "auto" or one of `predict.available_devices()`.
    tta, clean_up : bool
        Test-time augmentation and anatomical clean-up.
    """

    model: str
    scope: Scope = Scope.CINE
    device: str = "auto"
    tta: bool = True
    clean_up: bool = True


@dataclass(frozen=True)
class Outcome:
    """What a model found, the classes of the masks with its own, and the phases (ED, ES) if sought."""

    prediction: Prediction
    scheme: LabelScheme
    ed_es: tuple[int, int] | None = None


def segment(session: Session, request: Request) -> bool:
    """Segment in the background; False, with a word to the user, if that cannot start now."""
    cine, link, at = session.cine, session.link, session.navigator.position
    if cine is None or link is None:
        session.tell("Open a cine first.", "warning")
        return False
    if request.scope in (Scope.SLICE, Scope.PHASE) and at is None:
        session.tell("The view cuts across the slices; show one slice first.", "warning")
        return False
    started = time.monotonic()

    def write(outcome: Outcome) -> None:
        if session.link is link:  # else its cine was closed meanwhile
            _write(session, link, outcome, time.monotonic() - started)

    job = predict_request(cine, request, at or (0, 0), link.scheme)
    return session.jobs.start(job, title=f"Segmenting {request.scope.value}", on_result=write)


def predict_request(cine: Cine, request: Request, at: Slice, scheme: LabelScheme) -> Job[Outcome]:
    """Read the model and predict what was asked for.

    Parameters
    ----------
    cine : Cine
    request : Request
    at : (t, z)
        The slice on display.
    scheme : LabelScheme
        Classes of the masks so far; those of the model are joined to them.

    Raises
    ------
    ModelError
        If the model cannot be used.
    DataError
        If its classes contradict those of the masks.
    """
    yield Progress(0, 0, "Reading the model")
    from napari_cardioseg.store.models import read_model

    file = read_model(request.model)
    scheme = joined(scheme, file.card.scheme)
    yield Progress(0, 0, "Waking up PyTorch")
    from napari_cardioseg.predict import Model, PredictOptions, predict_cine, predict_ed_es

    yield Progress(0, 0, "Building the network")
    model = Model.build(file.card, file.weights)
    options = PredictOptions(device=request.device, tta=request.tta, clean_up=request.clean_up)
    if request.scope is Scope.ED_ES:
        prediction, ed, es = yield from predict_ed_es(cine, model, options=options)
        return Outcome(prediction, scheme, (ed, es))
    phases = (at[0],) if request.scope in (Scope.PHASE, Scope.SLICE) else None
    slices = (at[1],) if request.scope is Scope.SLICE else None
    prediction = yield from predict_cine(cine, model, phases=phases, slices=slices, options=options)
    return Outcome(prediction, scheme)


def _write(session: Session, link: LayerLink, outcome: Outcome, seconds: float) -> None:
    prediction = outcome.prediction
    name = prediction.model.card.name
    session.use_scheme(outcome.scheme)
    kept = link.write(prediction.labels, prediction.predicted, prediction.uncertainty, name)
    written = int(prediction.predicted.sum()) - kept
    for note in prediction.notes:
        session.tell(note, "warning")
    words = f"{_count(written)} segmented in {seconds:.0f} s by {name}."
    if kept:
        words += (
            f" {_count(kept)} edited or accepted by you stayed as {'it was' if kept == 1 else 'they were'}."
        )
    if outcome.ed_es is not None:
        ed, es = session.ed_es = outcome.ed_es
        words += f" End-diastole is phase {ed + 1}, end-systole phase {es + 1}."
        at = session.navigator.position
        session.navigator.go_to((ed, at[1] if at else 0))
    session.tell(words, "warning" if kept and not written else "info")


def _count(slices: int) -> str:
    return {0: "No slice", 1: "One slice"}.get(slices, f"{slices} slices")
