"""The training panel: draws its model and makes requests."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent

from descgui.models.bundle import make_models
from descgui.models.engine_state import DescriptorChoiceInfo, DeviceChoice, EngineState
from descgui.models.training_state import (
    EXTRA_PAIRS,
    PRESETS,
    SamplesState,
    TrainingChoice,
    TrainingStatus,
    name_problem,
    preset_own,
    preset_values,
)
from descgui.views import dialogs
from descgui.views.run_parts import SECOND_ROLE
from descgui.views.training_form import training_options
from descgui.views.training_panel import TrainingPanel
from descgui.views.training_pictures import best_columns
from descgui.views.words import age_text
from engine.api import (
    SHIPPED_WEIGHTS,
    ConfigError,
    OptionInfo,
    Preview,
    TrainConfig,
    config_values,
    describe_options,
    flatten,
    list_descriptors,
    nest,
    resolve_settings,
)
from engine.jobs.training_runs import TrainingRunInfo, TrainingSamples
from engine.training.run_folder import SavedWeights


def entry(name, *, weights=True, options=()):
    return DescriptorChoiceInfo(name, name.upper(), f"about {name}", "built-in", weights, options)


SCALE = OptionInfo(name="scale", kind="float", default=1.0, help="of the set", low=0.1, high=4.0)


READY = EngineState(
    "ready",
    (entry("daisy", weights=False), entry("msnet_v0"), entry("msnet_v1", options=(SCALE,))),
    (DeviceChoice("cpu", "CPU"),),
)
CONFIG = resolve_settings(TrainConfig, from_file={"train": {"steps": 100}})[0]


def run(name, *, step=100, finished=True, problem="", steps=(), began_s=0.0):
    folder = Path("/runs") / name
    weights = [SavedWeights(folder / f"weights/step-{one:08d}.safetensors", one) for one in steps]
    weights += [SavedWeights(folder / f"weights/{one}.safetensors", None) for one in
                (("best", "last") if steps else ())]  # fmt: skip
    return TrainingRunInfo(
        folder=folder,
        began_s=began_s,
        config=None if problem else CONFIG,
        step=step,
        finished=finished,
        best=0.5,
        checkpoints=tuple(weights),
        problem=problem,
    )


def samples(count=3, problems=()):
    pictures = tuple(np.full((12, 32, 3), 40 * n, np.uint8) for n in range(count))
    return TrainingSamples(1601, 96, tuple(problems), pictures)


def running(**changes):
    values = {
        "stage": "running",
        "folder": Path("/runs/eins"),
        "step": 1200,
        "steps": 5000,
        "steps_per_s": 2.5,
        "eta_s": 1520.0,
        "figures": {"loss": 1.25, "epoch": 3.21, "pck@3": 0.4, "data_wait_share": 0.012,
                    "memory_mb": 812.4, "skipped": 0.0},
        "best": (0.55, 1000),
    }  # fmt: skip
    return TrainingStatus(**{**values, **changes})


@pytest.fixture
def models(qapp, tmp_path):
    return make_models(tmp_path / "settings.yaml")


LIVE = Path("/runs/eins")


class Actions:
    """Records the panel's requests: names with their arguments."""

    def __init__(self):
        self.asked = []
        self.taken = None

    def __getattr__(self, name):
        return lambda *values: self.asked.append((name, *values))

    def start(self):
        self.asked.append(("start",))
        return self.taken

    def of(self, name):
        return [values for one, *values in self.asked if one == name]


@pytest.fixture
def actions():
    return Actions()


@pytest.fixture
def panel(qtbot, models, actions):
    made = TrainingPanel(models, actions)
    qtbot.addWidget(made)
    made.resize(1000, 400)
    models.engine.set(READY)
    made.show()
    return made


@pytest.fixture
def model(models):
    return models.training


def heard(signal):
    seen = []
    signal.connect(lambda *values: seen.append(values))
    return seen


def choose(combo, value):
    combo.setCurrentIndex(combo.findData(value))
    combo.activated.emit(combo.currentIndex())


def texts(label):
    return label.sentence.replace("\N{NO-BREAK SPACE}", " ")


# ---- the choice --------------------------------------------------------------------------------


def test_dotted_names_and_sections_are_each_other_s_inverse():
    dotted = {"steps": 3, "warp.scale_low": 0.5, "warp.detail": 1.0, "loss.kind": "contrastive"}
    assert nest(dotted)["warp"] == {"scale_low": 0.5, "detail": 1.0}
    assert flatten(nest(dotted)) == dotted


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_unchanged_is_its_file(preset, tmp_path):
    config = TrainingChoice(folder=str(tmp_path), preset=preset).config()
    values = flatten(config_values(config))
    stored = preset_values(preset)
    assert stored
    assert {name: values[name] for name in stored} == stored
    assert config.train.photos.folder == tmp_path
    rest = flatten(config_values(TrainConfig()))
    assert all(values[n] == rest[n] for n in rest if n not in stored and n != "train.photos.folder")


def test_changes_and_model_go_into_the_config_and_faults_are_named(tmp_path):
    choice = TrainingChoice(
        folder=str(tmp_path),
        descriptor="msnet_v1",
        device="cpu",
        changes={"train.warp.detail": 2.0},
    )
    config = choice.config()
    assert (config.descriptor, config.device, config.train.warp.detail) == ("msnet_v1", "cpu", 2.0)
    with pytest.raises(ConfigError, match="choose a folder"):
        TrainingChoice().config()
    with pytest.raises(ConfigError, match=r"train\.steps"):
        TrainingChoice(folder="x", changes={"train.steps": 0}).config()


@pytest.mark.parametrize("name", ["a/b", "..", ".x", " x", "x ", "a\\b", "a\nb", "c:d", "x."])
def test_a_name_that_is_no_folder_is_refused_in_words(name):
    assert name_problem(name)


@pytest.mark.parametrize("name", ["", "eins", "Größe 2", "train-2026", "a.b"])
def test_any_other_name_will_do(name):
    assert name_problem(name) == ""


# ---- the form ----------------------------------------------------------------------------------


def test_nothing_starts_without_photos_engine_or_while_another_one_runs(models, model, panel):
    button = panel.form.start_button
    assert not button.isEnabled()
    model.choice.update(folder="/photos")
    assert button.isEnabled()
    model.samples.set(SamplesState(message="/photos holds no picture."))
    assert not button.isEnabled()
    assert panel.form.photo_problems.sentence == "/photos holds no picture."
    model.samples.set(SamplesState())
    model.status.set(running())
    assert not button.isEnabled()
    model.status.set(running(stage="done"))
    assert button.isEnabled()
    models.engine.set(EngineState("loading"))
    assert not button.isEnabled()


def test_only_networks_are_offered_and_choices_reach_the_model(model, panel):
    form = panel.form
    names = [form.descriptor.itemData(i) for i in range(form.descriptor.count())]
    assert names == ["msnet_v0", "msnet_v1"]
    choose(form.descriptor, "msnet_v1")
    choose(form.device, "cpu")
    form.name.setText("x")
    form.name.textEdited.emit("a/b")
    assert (model.choice.state.descriptor, model.choice.state.device) == ("msnet_v1", "cpu")
    assert "name of a folder" in form.problem.sentence
    assert not form.start_button.isEnabled()


def test_a_network_s_own_settings_are_those_of_the_chosen_one(model, panel):
    form = panel.form
    assert not form.network.isVisibleTo(form)
    choose(form.descriptor, "msnet_v1")
    assert form.network.isVisibleTo(form)
    form.own.field("scale").setValue(0.5)
    assert dict(model.choice.state.own) == {"scale": 0.5}
    choose(form.descriptor, "msnet_v1")
    assert dict(model.choice.state.own) == {"scale": 0.5}
    choose(form.descriptor, "msnet_v0")
    assert dict(model.choice.state.own) == {}
    assert not form.network.isVisibleTo(form)


def test_an_unfinished_edit_is_not_given_to_the_next_network(qtbot, model, panel):
    choose(panel.form.descriptor, "msnet_v1")
    box = panel.form.own.field("scale")
    panel.activateWindow()
    box.setFocus()
    qtbot.waitUntil(box.hasFocus)
    box.selectAll()
    qtbot.keyClicks(box, "0.5")
    model.choice.update(descriptor="msnet_v0")
    assert dict(model.choice.state.own) == {}


def test_a_training_without_a_file_starts_from_random_numbers_and_says_so(model, panel, models):
    (there,) = (one for one in list_descriptors() if one.name == "descspace-fast")
    options = describe_options(there.config)
    models.engine.set(replace(READY, descriptors=(entry(there.name, options=options),)))
    model.choice.update(descriptor=there.name)
    assert panel.form.own.field("weights").placeholderText() == "random numbers"


def test_a_preset_fills_the_form_and_an_edit_says_that_it_was_changed(qtbot, model, panel):
    form = panel.form
    steps = form.common.field("train.steps")
    assert steps.number() == preset_values("quick")["train.steps"]
    assert not form.changed.isVisibleTo(form)
    choose(form.preset, "strong")
    assert steps.number() == preset_values("strong")["train.steps"]
    assert not form.changed.isVisibleTo(form)
    steps.setValue(123)
    assert dict(model.choice.state.changes) == {"train.steps": 123}
    assert form.changed.sentence == "1 setting differs from the preset."
    assert form.common.reset_button("train.steps").isVisibleTo(form)
    form.undo.click()
    assert dict(model.choice.state.changes) == {}
    assert steps.number() == preset_values("strong")["train.steps"]
    steps.setValue(7)
    choose(form.preset, "quick")  # another preset forgets the changes
    assert dict(model.choice.state.changes) == {}


def test_every_setting_of_a_training_has_exactly_one_field(panel):
    form = panel.form
    for section in (form.extra, *form.late):
        assert section.forms == []  # made when they are needed
        section.heading.setChecked(True)
    names = [name for one in form._forms for name in one.names]
    assert len(names) == len(set(names))
    every = {f"train.{name}" for name in flatten(config_values(TrainConfig())["train"])}
    assert set(names) == every - {"train.photos.folder"}


def test_settings_of_a_late_section_show_the_preset_and_keep_changes_made_before(model, panel):
    form = panel.form
    model.choice.update(
        preset="strong", changes={"train.warp.detail": 3.0, "train.light.noise": 0.2}
    )
    warp = form.late[0]
    warp.heading.setChecked(True)
    assert warp.forms[0].field("train.warp.detail").number() == 3.0
    assert warp.forms[0].field("train.warp.relative_rotation_deg").number() == 45
    warp.forms[0].field("train.warp.detail").setValue(2.0)
    assert dict(model.choice.state.changes) == {"train.warp.detail": 2.0, "train.light.noise": 0.2}


def test_a_folder_of_sequences_is_a_folder_in_the_form(panel, tmp_path):
    options = training_options()
    assert options["train.validation.sequences"].kind == "folder"
    assert options["train.warp.scale_low"].label == "Scale low"
    others = panel.form.late[2]
    others.heading.setChecked(True)
    form = next(one for one in others.forms if "train.validation.sequences" in one.names)
    field = form.field("train.validation.sequences")
    for text, problem in ((str(tmp_path / "no"), "There is no such folder."), (str(tmp_path), "")):
        field.setText(text)
        field.editingFinished.emit()
        assert form.problem("train.validation.sequences") == problem
    assert panel._model.choice.state.changes["train.validation.sequences"] == str(tmp_path)


def test_the_photos_are_counted_and_left_out_ones_are_said(model, panel):
    model.choice.update(folder="/photos")
    model.samples.set(SamplesState(reading=True))
    assert "Reading" in panel.form.count.sentence
    model.samples.set(SamplesState(found=samples(problems=["a.jpg is torn.", "b.jpg is torn."])))
    assert panel.form.count.sentence == "1,601 photos to train on, 96 kept apart for validation."
    assert "2 pictures are left out" in panel.form.photo_problems.sentence
    assert "b.jpg is torn." in panel.form.photo_problems.toolTip()


def test_recent_folders_are_offered_once_each(models, model, panel, actions):
    models.settings.remember_photos("/photos/one")
    models.settings.remember_photos("/photos/two")
    model.choice.update(folder="/photos/one")
    combo = panel.form.folder
    assert [combo.itemData(i) for i in range(combo.count())] == ["/photos/one", "/photos/two"]
    assert combo.currentData() == "/photos/one"
    choose(combo, "/photos/two")
    assert actions.of("use_folder") == [[Path("/photos/two")]]


def test_a_dropped_folder_is_announced_and_chosen_and_a_file_is_not(panel, actions, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("x")
    for path, taken in ((tmp_path, True), (file, False)):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        action, keys = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
        enter = QDragEnterEvent(QPoint(5, 5), action, data, Qt.MouseButton.LeftButton, keys)
        enter.ignore()
        panel.dragEnterEvent(enter)
        assert enter.isAccepted() == taken
        assert (tmp_path.name in panel.drop_hint.sentence) == taken
        drop = QDropEvent(QPointF(5, 5), action, data, Qt.MouseButton.LeftButton, keys)
        panel.dropEvent(drop)
        assert panel.drop_hint.sentence == ""
    assert actions.of("use_folder") == [[tmp_path]]


# ---- the contact sheet -------------------------------------------------------------------------


def test_pairs_come_to_the_front_when_they_are_made_and_pale_when_settings_change(model, panel):
    assert "drop one here" in panel.sheet._words
    model.choice.update(folder="/photos")
    model.samples.set(SamplesState(found=samples()))
    assert panel.sheet.count == 3
    assert panel.pairs_tab.isChecked()
    assert panel.sheet.isVisible()
    model.samples.set(SamplesState(found=samples(), old=True))
    assert panel.sheet._pale
    model.samples.set(SamplesState(found=samples(count=2)))
    assert panel.sheet.count == 2
    assert not panel.sheet._pale


def test_a_sheet_takes_the_columns_that_make_pictures_largest():
    assert best_columns(4, (100, 50), (1000, 60))[0] == 4
    assert best_columns(4, (100, 50), (110, 400))[0] == 1
    assert best_columns(4, (100, 50), (210, 110)) == (2, pytest.approx(1.01))
    assert best_columns(1, (10, 10), (1000, 1000), most=2.0) == (1, 2.0)
    for count in range(1, 9):  # against trying everything
        columns, scale = best_columns(count, (64, 24), (500, 200))
        rows = -(-count // columns)
        assert columns * 64 * scale + 8 * (columns - 1) <= 500 + 1e-9
        assert rows * 24 * scale + 8 * (rows - 1) <= 200 + 1e-9


# ---- the run -----------------------------------------------------------------------------------


def test_the_line_tells_all_about_a_run_and_less_where_it_is_narrow(qtbot, model, panel):
    model.status.set(running())
    text = texts(panel.status)
    for piece in (
        *("step 1,200 of 5,000", "epoch 3.2", "25 min left", "2.5 steps/s", "loss 1.25"),
        *("PCK@3 0.400 (best 0.550)", "data wait 1.2 %", "812 MB"),
    ):
        assert piece in text
    assert "skipped" not in text
    assert (panel.bar.value(), panel.bar.maximum()) == (1200, 5000)
    assert panel.title.text() == "eins"
    panel.resize(560, 300)
    assert "loss 1.25" in texts(panel.status)
    assert "812 MB" not in texts(panel.status)
    assert "812 MB" in panel.status.toolTip().replace("\N{NO-BREAK SPACE}", " ")
    assert panel.stop_button.text() == ""
    assert panel.stop_button.accessibleName() == "Stop"


def test_a_plateau_is_counted_against_the_patience_and_epochs_have_a_time(model, panel):
    figures = {"pck@3": 0.4, "no_better": 3.0, "epoch": 3.0}
    model.status.set(running(figures=figures, patience=10, steps_per_epoch=400.0))
    assert "no better for 3 of 10 checks" in texts(panel.status)
    assert "3 min an epoch" in texts(panel.status)
    panel.resize(560, 300)  # what tells when to stop is told in narrow panels, too
    assert "no better for 3 of 10 checks" in texts(panel.status)
    model.status.set(running(figures=figures))
    assert "no better for 3 checks" in texts(panel.status)
    model.status.set(running(figures={**figures, "no_better": 0.0}, patience=10))
    assert "no better" not in texts(panel.status)


def test_before_a_best_there_is_nothing_to_keep(model, panel):
    model.status.set(running(best=None))
    assert not panel.finish_button.isEnabled()


@pytest.mark.parametrize(
    ("steps", "words", "file"),
    [((500, 1000), "the best, of step 1,000", "best.safetensors"), ((), "", "")],
)
def test_an_ended_run_offers_what_can_be_done_with_it(model, panel, actions, steps, words, file):
    model.runs.set((run("zwei"), run("eins", steps=steps)))
    for stage in ("running", "failed"):
        model.status.set(running(stage=stage))
        assert not panel.next.isVisibleTo(panel)
    model.status.set(running(stage="done"))
    assert panel.next.isVisibleTo(panel) == bool(steps)
    if not steps:
        return
    panel.resize(1600, 400)
    assert words in panel.next_words.text()
    for asked, button in (
        ("use_in_viewer", panel.use_button),
        ("evaluate", panel.measure_button),
        ("compare_with_shipped", panel.compare_button),
    ):
        button.click()
        ((chosen, weights),) = actions.of(asked)
        assert (chosen.folder, weights.name) == (LIVE, file)


def test_the_row_of_the_running_training_tells_the_step_of_the_head(model, panel):
    model.runs.set((run("eins", step=90, finished=False), run("zwei", step=7, finished=False)))
    model.status.set(running(step=97, steps=100))
    texts_of_rows = [panel.runs.list.item(n).data(SECOND_ROLE) for n in (0, 1)]
    assert "97 of 100" in texts_of_rows[0]
    assert "7 of 100" in texts_of_rows[1]
    assert "97" not in texts_of_rows[1]


def test_a_preset_brings_the_network_that_it_is_for(model, panel):
    model.choice.update(descriptor="msnet_v1", own=MappingProxyType({"scale": 2.0}))
    choose(panel.form.preset, "strong")
    assert (model.choice.state.descriptor, dict(model.choice.state.own)) == ("msnet_v0", {})
    choose(panel.form.descriptor, "msnet_v1")
    choose(panel.form.preset, "strong")  # the same one: somebody chose another network for it
    assert model.choice.state.descriptor == "msnet_v1"


SHARED = OptionInfo("untrained", "bool", False, "random weights")
WEIGHTS = OptionInfo("weights", "file", None, "weights", optional=True)


@pytest.fixture
def tuned(models, panel):
    """Networks of which one has shipped weights."""
    list_descriptors()
    fast = entry("descspace-fast", options=(WEIGHTS, SHARED))
    models.engine.set(replace(READY, descriptors=(*READY.descriptors, fast)))


def test_fine_tuning_starts_from_the_shipped_weights_until_a_file_is_chosen(tuned, model, panel):
    form = panel.form
    choose(form.preset, "fine_tune")
    choice = model.choice.state
    assert choice.descriptor == "descspace-fast"
    assert choice.own == preset_own("fine_tune")
    weights, untrained = form.own.field("weights"), form.own.field("untrained")
    assert weights.placeholderText() == SHIPPED_WEIGHTS
    assert not untrained.isChecked()
    form.own.changed.emit(form.own.values())  # as any edit does: nothing is lost on the way
    assert model.choice.state.own["untrained"] is False
    untrained.click()
    assert "untrained" not in model.choice.state.own  # as every training that names no file
    assert weights.placeholderText() == "random numbers"
    untrained.click()
    assert model.choice.state.own["untrained"] is False
    model.choice.update(own=MappingProxyType({"weights": "/w.safetensors"}))
    choose(form.preset, "quick")
    choose(form.descriptor, "descspace-fast")
    assert dict(model.choice.state.own) == {}


def test_weights_that_were_chosen_stay_when_the_preset_for_fine_tuning_is(tuned, model, panel):
    choose(panel.form.descriptor, "descspace-fast")
    model.choice.update(own=MappingProxyType({"weights": "/w.safetensors"}))
    choose(panel.form.preset, "fine_tune")
    assert model.choice.state.own == {**preset_own("fine_tune"), "weights": "/w.safetensors"}


def test_extra_pairs_open_their_section_and_stay_with_another_preset(model, panel):
    form = panel.form
    assert not form.extra.heading.isChecked()
    model.choice.update(changes=MappingProxyType({EXTRA_PAIRS: "/runs/e1", "train.steps": 7}))
    assert form.extra.heading.isChecked()
    (fields,) = form.extra.forms
    assert fields.field(EXTRA_PAIRS).text() == "/runs/e1"
    choose(form.preset, "fine_tune")
    assert dict(model.choice.state.changes) == {EXTRA_PAIRS: "/runs/e1"}
    model.samples.set(SamplesState(found=replace(samples(), extra="Also learns from 2 pairs.")))
    assert form.learned.sentence == "Also learns from 2 pairs."
    model.samples.set(SamplesState(found=samples()))
    assert form.learned.isHidden()


@pytest.mark.parametrize(
    ("stage", "shown"),
    [
        ("none", ()),
        ("preparing", ("pause", "stop")),
        ("running", ("pause", "stop", "finish")),
        ("finishing", ("stop", "finish")),
        ("pausing", ("continue", "stop")),
        ("paused", ("continue", "stop")),
        ("stopping", ("pause", "stop")),
        ("stopped", ("resume",)),
        ("failed", ("resume",)),
        ("done", ()),
    ],
)
def test_the_buttons_fit_the_stage(model, panel, stage, shown):
    model.status.set(running(stage=stage, message="Nothing is left." if stage == "failed" else ""))
    buttons = {
        "pause": panel.pause_button,
        "continue": panel.continue_button,
        "stop": panel.stop_button,
        "finish": panel.finish_button,
        "resume": panel.resume_button,
    }
    assert tuple(name for name, one in buttons.items() if one.isVisibleTo(panel)) == shown
    assert panel.pause_button.isEnabled() == (stage == "running")
    assert panel.failure.sentence == ("Nothing is left." if stage == "failed" else "")


def test_what_is_pressed_is_asked_for(monkeypatch, model, panel, actions):
    for asked, button, stage in (
        (("pause",), panel.pause_button, "running"),
        (("stop",), panel.stop_button, "running"),
        (("finish",), panel.finish_button, "running"),
        (("unpause",), panel.continue_button, "paused"),
        (("resume", Path("/runs/eins")), panel.resume_button, "stopped"),
    ):
        model.status.set(running(stage=stage))
        del actions.asked[:]
        button.click()
        assert actions.asked == [asked]
    model.status.set(running(stage="done"))
    model.choice.update(folder="/photos")
    monkeypatch.setattr(dialogs, "ask_folder", lambda _parent, start, _title: start / "more")
    for asked, button in (
        (("start",), panel.form.start_button),
        (("copy_command",), panel.form.copy_button),
        (("use_folder", Path("/photos/more")), panel.form.browse),
        (("read_photos",), panel.form.again),
    ):
        del actions.asked[:]
        button.click()
        assert actions.asked == [asked]


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        ("new", [("start_as", "eins-2")]),
        ("resume", [("resume_chosen", Path("eins"))]),
        ("cancel", []),
    ],
)
def test_a_taken_name_is_asked_about(monkeypatch, model, panel, actions, tmp_path, answer, asked):
    monkeypatch.chdir(tmp_path)
    Path("eins").mkdir()
    questions = []

    def ask(_parent, name, **more):
        questions.append((name, more))
        return answer

    monkeypatch.setattr(dialogs, "ask_taken_run", ask)
    model.choice.update(folder="/photos")
    actions.taken = Path("eins")
    panel.form.start_button.click()
    assert questions == [("eins", {"proposal": "eins-2", "can_resume": False})]
    assert actions.asked[-1 - len(asked) :] == [("start",), *asked]


def test_remarks_are_shown_and_the_rest_is_counted(model, panel):
    model.status.set(running(notes=("One.", "Two.", "Three.", "One.")))
    assert panel.notes.sentence == "One.\nTwo.\nAnd 1 more remark."
    assert panel.notes.toolTip() == "One.\nTwo.\nThree."


def test_skipped_steps_and_a_kept_checkpoint_are_said(model, panel):
    figures = {"loss": 1.0, "skipped": 2.0}
    model.status.set(running(stage="stopped", figures=figures, saved_step=1200))
    text = texts(panel.status)
    assert text.startswith("stopped")
    assert "2 steps skipped" in text
    assert "checkpoint at step 1,200" in text


# ---- curves and probe --------------------------------------------------------------------------


def curves(*values):
    return {"loss": np.array([(float(n), v) for n, v in enumerate(values, 1)])}


def drawn_losses(panel):
    lines = panel.curves.plots.chart("loss").lines
    return [np.column_stack(line.getOriginalDataset()).tolist() for line in lines]


def test_curves_and_probe_are_made_late_and_show_what_came_before(qtbot, model, panel):
    assert panel.curves is None
    model.status.set(running())
    model.curves.begin_live(LIVE, {})
    model.frames.begin_live(LIVE, ())
    model.curves.show((Path("/runs/eins"),))
    model.curves.grow([(1, {"loss": 2.0}), (2, {"loss": 1.5, "pck@3": 0.3})])
    model.frames.add(Preview(0, {"pair": np.zeros((4, 8, 3), np.uint8)}))
    panel.curves_tab.click()
    assert panel.waiting.isVisible()
    model.can_plot.set(True)
    assert panel.curves.isVisible()
    assert not panel.waiting.isVisible()
    assert drawn_losses(panel) == [[[1, 2], [2, 1.5]]]
    assert panel.probe.step == 0
    with qtbot.waitSignal(panel.curves.redrawn):
        model.curves.grow([(3, {"loss": 1.0})])
    model.frames.add(Preview(5, {"pair": np.zeros((4, 8, 3), np.uint8)}))
    assert drawn_losses(panel) == [[[1, 2], [2, 1.5], [3, 1]]]
    assert panel.probe.step == 5
    assert model.curves.of(Path("/runs/eins"))["loss"].tolist() == [[1, 2], [2, 1.5], [3, 1]]


def test_the_live_run_s_figures_reach_only_its_own_curves(model, panel):
    model.can_plot.set(True)
    model.status.set(running())
    model.curves.begin_live(Path("/runs/eins"), {})
    model.curves.show((Path("/runs/alt"),))
    model.curves.set(Path("/runs/alt"), curves(3.0, 2.0))
    model.curves.grow([(1, {"loss": 9.0})])
    panel.curves.show_now()
    assert drawn_losses(panel) == [[[1, 3], [2, 2]]]
    assert model.curves.of(Path("/runs/alt"))["loss"].tolist() == [[1, 3], [2, 2]]


def test_a_run_keeps_its_colour_while_others_come_and_go(model):
    one, two, three = (Path(name) for name in ("/1", "/2", "/3"))
    model.curves.show((one, two))
    assert [model.curves.color_index(run) for run in (one, two)] == [0, 1]
    model.curves.show((two,))
    assert model.curves.color_index(two) == 1
    model.curves.show((three, two))
    assert (model.curves.color_index(three), model.curves.color_index(two)) == (0, 1)


def test_the_live_probe_goes_on_while_another_run_is_watched(model):
    picture = {"pair": np.zeros((2, 4, 3), np.uint8)}
    model.status.set(running())
    model.frames.begin_live(LIVE, (Preview(0, picture),))
    model.frames.watch(Path("/runs/alt"), (Preview(7, picture),))
    added = heard(model.frames.added)
    model.frames.add(Preview(10, picture))
    assert added == []
    assert [frame.step for frame in model.frames.shown] == [7]
    model.frames.watch(Path("/runs/eins"))
    assert [frame.step for frame in model.frames.shown] == [0, 10]


def test_the_probe_of_another_run_than_the_live_one_is_named(model, panel):
    model.can_plot.set(True)
    model.status.set(running())
    model.frames.begin_live(LIVE, ())
    panel.curves_tab.click()
    panel.resize(1300, 400)
    assert not panel.probe.run_name.isVisible()
    model.frames.watch(Path("/runs/alt"))
    assert panel.probe.run_name.text() == "Probe of alt"
    assert panel.probe.run_name.isVisible()


def test_curves_and_probe_stand_side_by_side_where_there_is_room(model, panel):
    model.can_plot.set(True)
    panel.curves_tab.click()
    panel.resize(1300, 400)
    assert panel.curves.isVisible()
    assert panel.probe.isVisible()
    assert not panel.probe_tab.isVisible()
    panel.resize(700, 400)
    assert panel.curves.isVisible()
    assert not panel.probe.isVisible()
    panel.probe_tab.click()
    assert panel.probe.isVisible()
    assert not panel.curves.isVisible()


# ---- the runs ----------------------------------------------------------------------------------


@pytest.fixture
def listed(model, panel):
    model.runs.set(
        (
            run("neu", step=40, finished=False, steps=(10, 20, 40), began_s=time.time() - 7300),
            run("alt", steps=(50, 100)),
            run("kaputt", problem="config.yaml cannot be read."),
        )
    )
    panel.past_tab.click()
    return panel.runs


def test_runs_are_listed_with_steps_best_age_and_problems(panel, listed):
    assert panel.past_tab.text() == "Runs (3)"
    seconds = [listed.list.item(n).data(Qt.ItemDataRole.UserRole + 1) for n in range(3)]
    assert seconds[0] == "PCK 0.500 · 40 of 100 · 2 h ago · msnet_v0"
    assert seconds[1].startswith("PCK 0.500 · 100 steps · ")
    assert seconds[2] == "Cannot be read"
    assert listed.list.item(2).toolTip() == "config.yaml cannot be read."


def test_ticks_lay_curves_over_one_another(model, actions, listed):
    listed.list.item(1).setCheckState(Qt.CheckState.Checked)
    assert actions.of("overlay") == [[(Path("/runs/alt"),)]]
    model.curves.show((Path("/runs/alt"),))
    listed.list.item(0).setCheckState(Qt.CheckState.Checked)
    assert actions.of("overlay")[-1] == [(Path("/runs/alt"), Path("/runs/neu"))]
    model.curves.show((Path("/runs/alt"), Path("/runs/neu")))
    listed.list.item(1).setCheckState(Qt.CheckState.Unchecked)
    assert actions.of("overlay")[-1] == [(Path("/runs/neu"),)]
    assert listed.list.item(2).data(Qt.ItemDataRole.CheckStateRole) is None


def test_a_click_on_the_box_ticks_and_one_on_the_name_only_chooses(qtbot, actions, listed):
    area = listed.list.visualItemRect(listed.list.item(1))
    name = QPoint(area.left() + 80, area.center().y())
    qtbot.mouseClick(listed.list.viewport(), Qt.MouseButton.LeftButton, pos=name)
    assert actions.of("overlay") == []
    assert actions.of("watch") == [[Path("/runs/alt")]]
    box = QPoint(area.left() + 12, area.center().y())
    qtbot.mouseClick(listed.list.viewport(), Qt.MouseButton.LeftButton, pos=box)
    assert actions.of("overlay") == [[(Path("/runs/alt"),)]]


def test_checkpoints_are_offered_and_used(monkeypatch, actions, listed, tmp_path):
    listed.list.setCurrentRow(0)
    combo = listed.checkpoint
    words = [combo.itemText(i) for i in range(combo.count())]
    assert words == ["Last", "Best validation", "Step 40", "Step 20", "Step 10"]
    assert combo.currentText() == "Best validation"
    folder = Path("/runs/neu")
    combo.setCurrentIndex(3)
    weights = folder / "weights/step-00000020.safetensors"
    out = tmp_path / "out.safetensors"
    targets = []
    monkeypatch.setattr(dialogs, "ask_target", lambda *values: targets.append(values[2]) or out)
    monkeypatch.setattr(dialogs, "ask_folder", lambda *_: tmp_path)
    run_ = listed.current
    for asked, button in (
        ([("use_in_viewer", run_, weights)], listed.view_button),
        ([("evaluate", run_, weights)], listed.evaluate_button),
        ([("export", weights, out)], listed.export_button),
        ([("resume", folder)], listed.resume_button),
        ([("show_folder", folder)], listed.reveal_button),
        ([("add_run", tmp_path)], listed.add_button),
    ):
        del actions.asked[:]
        button.click()
        assert actions.asked == asked
    assert [path.name for path in targets] == ["neu.safetensors"]


def test_only_what_can_be_done_with_a_run_is_offered(model, listed):
    for name, resume, use in (("neu", True, True), ("alt", False, True), ("kaputt", False, False)):
        row = ("neu", "alt", "kaputt").index(name)
        listed.list.setCurrentRow(row)
        assert listed.resume_button.isEnabled() == resume
        assert listed.view_button.isEnabled() == use
        assert listed.reveal_button.isEnabled()
    listed.list.setCurrentRow(0)
    model.status.set(running())
    assert not listed.resume_button.isEnabled()  # one at a time
    assert listed.evaluate_button.isEnabled()


def test_a_step_of_the_probe_chooses_the_nearest_checkpoint(model, panel, listed):
    model.frames.watch(Path("/runs/neu"))
    panel._on_step(17)
    assert listed.current.folder.name == "neu"
    assert listed.checkpoint.currentText() == "Step 20"
    panel._on_step(0)
    assert listed.checkpoint.currentText() == "Step 10"


def test_the_chosen_run_and_checkpoint_stay_when_the_list_is_read_again(model, listed):
    listed.list.setCurrentRow(0)
    listed.checkpoint.setCurrentIndex(4)
    model.runs.set((run("neuer", began_s=time.time()), *model.runs.state))
    assert listed.current.folder.name == "neu"
    assert listed.checkpoint.currentText() == "Step 10"


def test_ages_are_told_in_one_unit():
    ages = {5: "just now", 70: "1 min ago", 7300: "2 h ago", 3 * 86400 + 5: "3 d ago"}
    assert {seconds: age_text(seconds) for seconds in ages} == ages


def test_every_control_of_the_panel_has_a_name_to_be_read_out(panel):
    for section in panel.form.late:
        section.heading.setChecked(True)
    for control in (
        *(panel.pairs_tab, panel.curves_tab, panel.probe_tab, panel.pause_button),
        *(panel.form.folder, panel.form.browse, panel.form.again, panel.form.descriptor),
        *(panel.form.device, panel.form.name, panel.form.preset, panel.form.undo),
        *(panel.form.start_button, panel.form.copy_button, panel.runs.list, panel.runs.checkpoint),
        *(panel.runs.reveal_button, panel.runs.add_button, panel.bar, panel.sheet),
    ):
        assert control.accessibleName() or control.text()
