"""The dialog for figures: its settings are kept, and preview and file follow them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shiboken6
from PySide6.QtGui import QImage

from descgui.controllers.file_controller import FileController
from descgui.models.bundle import make_models
from descgui.models.file_names import file_stem
from descgui.models.maps_state import DescriptorChoice
from descgui.models.settings import FigureSettings
from descgui.views import dialogs
from descgui.views.figure import chosen_content, preview_png
from descgui.views.figure_dialog import FigureDialog
from engine.api import figure_content as content
from tests.descgui.test_file_controllers import open_in


@pytest.fixture
def models(qapp, tmp_path):
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def dialog(qtbot, models, asked):
    made = FigureDialog(models, asked)
    qtbot.addWidget(made)
    return made


def a_figure() -> content.PairFigure:
    mark = content.Disc((5.0, 5.0), 3.0, "#ff0000", fill="#ff0000")
    panel = content.Panel(
        image=np.full((40, 60, 3), 128, np.uint8), size_px=(60, 40), letter="A", title="one",
        shapes=(mark,), stage_px=60.0,
    )  # fmt: skip
    return content.PairFigure(
        title="a", panels=(panel, panel), points_a=np.zeros((1, 2)), points_b=np.zeros((1, 2)),
        judgements=("right",), legend=(("right", "right"),), caption=("a caption",),
        scale=content.ColorScale(title="Cosine", low=0.0, high=1.0, colormap="viridis"),
    )  # fmt: skip


def test_every_change_is_kept_for_the_next_time(dialog, models, tmp_path):
    dialog.width_cm.setValue(8.5)
    dialog.font_pt.setValue(9)
    dialog.kind.setCurrentIndex(dialog.kind.findData("png"))
    dialog.theme.setCurrentIndex(dialog.theme.findData("dark"))
    dialog.dots_per_inch.setValue(300)
    dialog.shown["legend"].setChecked(False)
    expected = FigureSettings(
        width_cm=8.5, font_pt=9.0, kind="png", theme="dark", dots_per_inch=300, legend=False
    )
    assert models.settings.state.figure == expected
    assert dialog.note.sentence == "1004 pixels wide."
    again = make_models(tmp_path / "settings.yaml")
    again.settings.load()
    assert again.settings.state.figure == expected


def test_the_preview_is_drawn_at_once_and_after_changes_and_says_what_is_wrong(
    qtbot, dialog, models, asked
):
    (show, say) = asked.of("preview_figure")[0]
    show(bytes(preview_png(a_figure(), FigureSettings(), 300)))
    assert dialog.preview.picture.width() > 100
    dialog.font_pt.setValue(9)
    dialog.font_pt.setValue(10)
    qtbot.waitUntil(lambda: len(asked.of("preview_figure")) == 2, timeout=3000)
    say("No pair is open.")
    assert dialog.preview.text == "No pair is open."
    dialog.export.click()
    assert asked.of("export") == [()]


@pytest.mark.parametrize("part", ["titles", "marks", "lines", "legend", "scale", "caption"])
def test_what_is_left_out_is_gone_and_nothing_else(part):
    whole, less = a_figure(), chosen_content(a_figure(), FigureSettings(**{part: False}))
    left = {
        "titles": not (less.panels[0].letter or less.panels[0].title),
        "marks": not less.panels[0].shapes,
        "lines": not less.judgements and not len(less.points_a),
        "legend": not less.legend,
        "scale": less.scale is None,
        "caption": not less.caption,
    }
    assert [name for name, gone in left.items() if gone] == [part]
    assert less.title == whole.title


def test_a_preview_that_is_drawn_after_the_dialog_was_closed_is_dropped(qapp, models, asked):
    dialog = FigureDialog(models, asked)
    (show, say) = asked.of("preview_figure")[0]
    shiboken6.delete(dialog)
    show(b"")
    say("No pair is open.")


def test_width_and_theme_hold_for_preview_and_size():
    picture = QImage.fromData(preview_png(a_figure(), FigureSettings(theme="dark"), 400))
    assert abs(picture.width() - 400) <= 4
    assert picture.pixelColor(1, 1).lightness() < 60
    small = QImage.fromData(preview_png(a_figure(), FigureSettings(width_cm=4.0), 400))
    assert abs(small.width() - 400) <= 6
    assert small.height() > picture.height(), "text is larger beside the images"


@pytest.mark.parametrize(
    ("words", "stem"),
    [
        (("v_graf 1 → 3", "descspace-fast"), "v_graf_1_3_descspace-fast"),
        (("a/b ↔ c.png", "timm:vit@8,11"), "a_b_c.png_timm_vit_8_11"),
        (("", "…"), ""),
        (("x" * 300,), "x" * 80),
    ],
)
def test_names_of_files_fit_every_system(words, stem):
    assert file_stem(*words) == stem


def test_the_proposed_file_has_a_telling_name_in_the_last_export_folder(
    models, asked, tmp_path, monkeypatch
):
    parts = ("pairs", "truths", "engine", "pictures", "exports", "sessions")
    files = FileController(models, lambda: None, **dict.fromkeys(parts, asked))
    open_in(models, tmp_path)
    models.maps.choose(DescriptorChoice("daisy"))
    proposals: list[tuple[Path, str]] = []
    chosen: list[Path] = [tmp_path / "out" / "mine.pdf"]
    chosen[0].parent.mkdir()

    def answer(_owner: object, _title: str, proposal: Path, name_filter: str) -> Path | None:
        proposals.append((proposal, name_filter))
        return chosen.pop() if chosen else None

    monkeypatch.setattr(dialogs, "ask_target", answer)
    files.export()
    assert proposals[-1] == (
        tmp_path / "a_pair_daisy.svg", "SVG (*.svg);;PDF (*.pdf);;PNG (*.png)",
    )  # fmt: skip
    models.settings.update(figure=FigureSettings(kind="pdf"))
    files.export()
    files.save_panes()
    files.save_matches()
    names = [proposal.relative_to(tmp_path / "out").as_posix() for proposal, _ in proposals[1:]]
    assert names == ["a_pair_daisy.pdf", "a_pair_daisy.png", "a_pair_daisy_matches.csv"]
    assert proposals[1][1].startswith("PDF (*.pdf)")
