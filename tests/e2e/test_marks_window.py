"""What the real window and its figures draw where the truth and many good matches are close."""

from __future__ import annotations

import math
from typing import Any

from PySide6.QtWidgets import QWidget

from descgui.models.maps_state import DescriptorChoice
from descgui.views.canvas import ImageCanvas
from descgui.views.figure import pair_figure
from descgui.views.marks import PeakRing, Stage, TruthPoint
from descgui.views.pane import ImagePane
from descgui.views.viewport import Box
from engine.api import TRUTH, VIEW_MODES
from engine.api import figure_content as content
from tests.e2e.driving import hover, open_ready, wait_rest


def numbered(shapes: Any) -> list[content.Disc]:
    """The filled discs below numbers."""
    words = {shape.at for shape in shapes if isinstance(shape, content.Words)}
    discs = [shape for shape in shapes if isinstance(shape, content.Disc)]
    return [disc for disc in discs if disc.fill and disc.centre in words]


def assert_free(shapes: Any, truth_shapes: Any) -> None:
    """No numbered disc touches a drawn line or dot of the truth."""
    rings = [one for one in truth_shapes if isinstance(one, content.Disc) and one.colour == TRUTH]
    dots = [one for one in truth_shapes if isinstance(one, content.Disc) and one.fill == TRUTH]
    assert rings
    assert dots
    for disc in numbered(shapes):
        reach = disc.radius + disc.width / 2
        for ring in rings:
            apart = abs(math.dist(disc.centre, ring.centre) - ring.radius)
            assert apart >= reach + ring.width / 2
        for dot in dots:
            assert math.dist(disc.centre, dot.centre) >= reach + dot.radius


def panes_of_b(view: QWidget) -> list[ImagePane]:
    panes = view.findChildren(ImagePane)
    return [pane for pane in panes if not pane.isHidden() and pane.key.side == "b"]


def of_marks(marks: Any, stage: Stage, *kinds: type) -> list[content.Shape]:
    return [one for mark in marks if isinstance(mark, kinds) for one in mark.shapes(stage)]


def test_no_numbered_disc_covers_a_truth_in_any_mode_pane_or_figure(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences, descriptor="daisy")
    models, view = window.models, window.pair_view
    window.maps.choose(models.compared[0], DescriptorChoice("daisy", {"rings": 2}))
    # Matches this close lie on the truth, as usual ones do where large images are shown small.
    models.settings.update(peaks=8, separation_px=2.0, long_edge_px=100)
    wait_rest(qtbot, window)
    answer = hover(qtbot, window, 0, (100.0, 70.0))
    wait_rest(qtbot, window)
    assert len(panes_of_b(view)) == 2
    near = sorted(math.dist(peak.point_px, answer.truth_px) for peak in answer.peaks)
    assert near[3] < 12.0
    for mode in VIEW_MODES:
        models.view.update(mode=mode)
        wait_rest(qtbot, window)
        shown = panes_of_b(view)
        assert len(shown) == 2
        for factor in (0.5, 2.0, 6.0):
            for pane in shown:
                pane.canvas.fit()
                pane.canvas.centre_on((100.0, 70.0), factor=factor)
                assert_readable(pane.canvas)
        panels = [panel for panel in pair_figure(models).panels if panel.letter.startswith("B")]
        assert len(panels) == 2
        for panel in panels:
            assert len(numbered(panel.shapes)) == 7
            assert_free(panel.shapes, panel.shapes)


def assert_readable(canvas: ImageCanvas) -> None:
    """The truth lies on top, no disc covers it, and each disc aside has a leader to its point."""
    stage = Stage(canvas.viewport, Box(0.0, 0.0, canvas.width(), canvas.height()))
    kinds = [type(mark) for mark in canvas.marks]
    assert kinds.count(PeakRing) == 7
    assert kinds.index(TruthPoint) > max(n for n, kind in enumerate(kinds) if kind is PeakRing)
    shapes = of_marks(canvas.marks, stage, PeakRing)
    assert_free(shapes, of_marks(canvas.marks, stage, TruthPoint))
    marks = [mark for mark in canvas.marks if isinstance(mark, PeakRing)]
    tips = {one.centre for one in shapes if isinstance(one, content.Disc) and one.radius < 2.0}
    points = [stage.view.to_widget(mark.point_px) for mark in marks]
    aside = {
        point for point, disc in zip(points, numbered(shapes), strict=True) if disc.centre != point
    }
    assert aside
    assert tips == aside
