"""What commands need: each condition says why a command cannot be used now, "" where it can.

A reason is one clause without a full stop, which tooltips and the status bar show.
"""

from __future__ import annotations

from descgui.models.bundle import AppModels
from engine import api
from engine.api import LISTED_TRUTHS, SIDES

_NO_PAIR = "Open a pair first"


def always(_models: AppModels) -> str:
    """Nothing is needed."""
    return ""


def set_elsewhere(_models: AppModels) -> str:
    """Marks commands that something else enables: an undo stack, a dock, the browser's list."""
    return "There is nothing to do"


def is_busy(models: AppModels) -> bool:
    """True while something can be stopped: a pair being opened, maps or matches computed."""
    working = any(
        maps.status(side).stage in ("waiting", "computing")
        for maps in models.descriptors
        for side in SIDES
    )
    running = models.matches.state.running or models.pictures.state.busy != ""
    return working or running or models.pair.loading != ""


def needs_work(models: AppModels) -> str:
    """Something runs that can be stopped."""
    return "" if is_busy(models) else "Nothing is being computed"


def needs_pair(models: AppModels) -> str:
    """A pair is open."""
    return _NO_PAIR if models.pair.state is None else ""


def needs_engine(models: AppModels) -> str:
    """PyTorch is loaded."""
    stage = models.engine.state.stage
    if stage == "ready":
        return ""
    return "PyTorch could not be loaded" if stage == "failed" else "PyTorch is still being loaded"


def needs_pair_and_engine(models: AppModels) -> str:
    """A pair is open, and PyTorch is loaded."""
    return needs_pair(models) or needs_engine(models)


def needs_maps(models: AppModels) -> str:
    """Both images are described by the descriptor that matches, and no matching runs."""
    state = models.matches.state
    if models.descriptors[state.descriptor].ready:
        return "Matching is running" if state.running else ""
    return needs_pair(models) or "The images are not described yet"


def needs_matches(models: AppModels) -> str:
    """There are matches."""
    if models.matches.state.table is not None:
        return ""
    return needs_pair(models) or "Match points first, with Ctrl+M"


def needs_truth(models: AppModels) -> str:
    """Ground truth of the pair is known."""
    state = models.pair.state
    if state is None:
        return _NO_PAIR
    return "" if state.truth is not None else "The pair has no ground truth"


def needs_homography(models: AppModels) -> str:
    """A homography of the pair is known."""
    state = models.pair.state
    if state is None or state.truth is None:
        return needs_truth(models)
    return "" if state.truth.kind == "homography" else "The pair's truth is no homography"


def needs_dense_truth(models: AppModels) -> str:
    """Ground truth of all pixels is known."""
    state = models.pair.state
    if state is None or state.truth is None:
        return needs_truth(models)
    sparse = state.truth.kind in LISTED_TRUTHS
    return "The pair's truth lists points and knows nothing between them" if sparse else ""


def needs_members(models: AppModels) -> str:
    """The shown descriptor describes in sets."""
    if models.pair.state is None:
        return _NO_PAIR
    info = models.maps.status("a").info
    if info is None:
        return "The images are not described yet"
    alone = "The shown descriptor has no members; descspace is one that has"
    return "" if info.levels > 1 else alone


def needs_network(models: AppModels) -> str:
    """The shown descriptor is a network that was opened by its name."""
    if models.pair.state is None:
        return _NO_PAIR
    named = api.network_of(models.maps.choice.name) is not None
    return "" if named else "The shown descriptor is no network opened with Open network…"


def needs_study(models: AppModels) -> str:
    """A network is shown that can be studied, or a study is there."""
    shown = api.network_of(models.maps.choice.name) is not None
    if shown or models.study.state.stage != "none":
        return needs_engine(models)
    return "Open a network first, with Open network…"


def needs_results(models: AppModels) -> str:
    """An evaluation with pairs is on display."""
    content = models.evaluation.shown.state.content
    shown = content is not None and content.has_pairs
    return "" if shown else "No results are on display: run an evaluation, or select a past one"


def needs_comparison(models: AppModels) -> str:
    """Several descriptors are shown."""
    return "" if models.comparing else "Compare descriptors first, with C"


def needs_selected_pin(models: AppModels) -> str:
    """A pin is selected."""
    return "" if models.pins.selected else "No pin is selected"


def needs_pins(models: AppModels) -> str:
    """There are pins."""
    return "" if models.pins.pins else "There are no pins"


def needs_points(models: AppModels) -> str:
    """There is a probe or a pin."""
    shown = models.pins.pins or models.probe.probe is not None
    return "" if shown else "There is no query and no pin"


def needs_training(models: AppModels) -> str:
    """A training runs."""
    return "" if models.training.status.state.busy else "No training is running"
