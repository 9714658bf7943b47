"""Settings found and read in words, and weights that are missing, in the real window."""

from __future__ import annotations

from typing import Any

from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QComboBox, QLabel

from descgui.models.maps_state import DescriptorChoice
from descgui.views import dialogs
from descgui.views.form import NumberBox, OptionForm
from descgui.views.panel_parts import Notice, Sentence
from descgui.views.settings_dialog import SettingsDialog
from tests.e2e.driving import WAIT_MS, open_ready, wait_rest


def shown_names(dialog: SettingsDialog) -> list[str]:
    return [
        name
        for form in dialog.forms.values()
        for name in form.names
        if form.field(name).isVisible()
    ]


def form_of(dialog: SettingsDialog, name: str) -> OptionForm:
    return next(form for form in dialog.forms.values() if name in form.names)


def texts(dialog: SettingsDialog) -> list[str]:
    return [label.text() for label in dialog.findChildren(QLabel) if label.isVisible()]


def test_settings_are_found_by_a_search_and_read_in_words(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences, descriptor="daisy")
    window.actions["settings"].trigger()
    (dialog,) = window.window.findChildren(SettingsDialog)
    settings = window.models.settings
    theme = form_of(dialog, "theme").field("theme")
    assert isinstance(theme, QComboBox)
    assert theme.currentText() == "Follow the system"
    opacity = form_of(dialog, "opacity").field("opacity")
    assert isinstance(opacity, NumberBox)
    assert opacity.text() == "65 %"
    opacity.setValue(40.0)
    assert settings.state.opacity == 0.4
    device = form_of(dialog, "device").field("device")
    assert device.currentText() == "Automatic"
    first = form_of(dialog, "descriptor").field("descriptor")
    assert first.itemText(first.findData("daisy")) == "DAISY"
    assert "Of colours over the image." in texts(dialog)
    assert not [text for text in texts(dialog) if "color" in text.casefold()]

    everything = shown_names(dialog)
    qtbot.keyClicks(dialog.search, "colour map")
    assert shown_names(dialog) == ["colormap"]
    assert "Computing" not in texts(dialog)
    dialog.search.setText("follow")  # by a value
    assert shown_names(dialog) == ["theme"]
    dialog.search.setText("computing")  # by the name of a section
    assert shown_names(dialog) == ["device", "precision", "long_edge_px", "map_budget_mb"]
    dialog.search.setText("qwertz")
    assert shown_names(dialog) == []
    assert dialog.nothing.sentence == "No setting has “qwertz” in its name or explanation."
    settings.update(peaks=9)  # a change from elsewhere must not bring rows back
    assert shown_names(dialog) == []
    dialog.search.clear()
    assert shown_names(dialog) == everything


def test_missing_weights_are_said_once_with_a_link_and_a_button(
    qtbot, open_window, sequences, monkeypatch, tmp_path
):
    window = open_ready(qtbot, open_window, sequences, descriptor="daisy")
    models, panel = window.models, window.descriptor
    window.window.open_dock("descriptor")
    notes: list[str] = []
    models.messages.notified.connect(lambda message: notes.append(message.text))
    models.maps.choose(DescriptorChoice("superpoint"))
    qtbot.waitUntil(lambda: models.maps.status("a").stage == "failed", timeout=WAIT_MS)
    wait_rest(qtbot, window)
    missing = panel.shown.missing
    assert missing.isVisible()
    said = [one.sentence for one in panel.findChildren(Notice) if one.isVisible()]
    assert said == [
        "SuperPoint needs its authors' weights, which may not be shipped with this program."
    ]
    where = [one for one in panel.findChildren(Sentence) if "github.com" in one.sentence]
    assert not where
    for canvas in window.pair_view.canvases:
        assert canvas.parent().header.caption.text == "SuperPoint needs its weights: see Descriptor"

    assert notes == [], "the panel says it, and nothing else"

    opened: list[Any] = []
    monkeypatch.setattr(
        QDesktopServices, "openUrl", lambda url: opened.append(url.toString()) or False
    )
    address = missing.page.text().partition('href="')[2].partition('"')[0]
    missing.page.linkActivated.emit(address)
    assert opened == ["https://github.com/magicleap/SuperPointPretrainedNetwork"]
    assert notes == [f"The desktop has no program that opens {opened[0]}"]

    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(b"no weights")
    monkeypatch.setattr(dialogs, "ask_file", lambda *_args: wrong)
    missing.choose.click()
    qtbot.waitUntil(lambda: models.maps.choice.values.get("weights") == str(wrong), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "wrong.pth" in models.maps.status("a").message, timeout=WAIT_MS)
    wait_rest(qtbot, window)
    assert not missing.isVisible()
    assert [one.sentence for one in panel.findChildren(Notice) if one.isVisible()] == [
        models.maps.status("a").message
    ]
