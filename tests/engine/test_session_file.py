"""Session files: written and read back, moved to other folders, and refused with a sentence."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import SessionError
from engine.heat_range import HeatRange
from engine.jobs.session_file import (
    SavedDescriptor,
    SavedMatches,
    SavedPair,
    SavedPin,
    SavedSession,
    SavedSettings,
    SavedTruth,
    SavedView,
    read_session,
    write_session,
)
from engine.truth.homography import HomographySource
from engine.truth.points import HeldPointsSource

FILES = (
    "images/1.png", "images/2.png", "truth/H.txt", "truth/flow.flo", "truth/cams.txt",
    "nets/own.onnx", "nets/w.pth", "nets/plug.py", "maps/a.npz", "maps/b.npz", "basis.npz",
    "set/list.csv",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with all kinds of files that a session names."""
    root = tmp_path / "alice" / "projét"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def full(folder: Path) -> SavedSession:
    return SavedSession(
        pair=SavedPair(
            image_a=folder / "images/1.png", image_b=folder / "images/2.png", range_b="0,9.5"
        ),
        truth=SavedTruth(
            text=f"depth:{folder}/truth/flow.flo|{folder}/truth/H.txt|cameras={folder}/truth/cams.txt"
            "|factor=8"
        ),
        descriptors=(
            SavedDescriptor("msnet_v0", {"weights": str(folder / "nets/w.pth"), "rotation": True}),
            SavedDescriptor("mine", {"k": [1, 2]}, plugin=folder / "nets/plug.py"),
            SavedDescriptor(f"onnx:{folder / 'nets/own.onnx'}@3,4"),
            SavedDescriptor("precomputed", {}, (folder / "maps/a.npz", folder / "maps/b.npz")),
        ),
        settings=SavedSettings(
            long_edge_px=320, colormap="cividis", correct_px=2.5,
            heat=HeatRange(kind="fixed", low=0.1, span=0.5),
        ),
        pins=(SavedPin(number=2, x_px=1.25), SavedPin(number=7, image="b", y_px=0.1 + 0.2)),
        selected=7,
        probe=SavedPin(image="b", x_px=3.0),
        matches=SavedMatches(descriptor=2, count=50, min_similarity=0.5, matched=True),
        view=SavedView(
            mode="pca", linked=True, pca=(2, -1, 3), pca_fit="file", pca_basis=folder / "basis.npz",
            part_a=(-1.5, 2.0, 30.0, 40.25),
        ),
    )  # fmt: skip


def test_a_session_opens_on_another_machine_with_other_folders(folder, tmp_path):
    write_session(folder / "s.descspace", full(folder))
    moved = tmp_path / "bob" / "work"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder.parent)
    opened = read_session(moved / "s.descspace")
    assert opened.session == full(moved)
    assert opened.notes == ()


def test_a_session_that_moves_alone_finds_its_files_where_they_are(folder, tmp_path):
    write_session(folder / "s.descspace", full(folder))
    alone = tmp_path / "elsewhere" / "deep" / "s.descspace"
    alone.parent.mkdir(parents=True)
    shutil.move(folder / "s.descspace", alone)
    assert read_session(alone).session == full(folder)


def test_sessions_whose_view_held_the_range_of_heat_maps_still_open(folder):
    path = folder / "s.descspace"
    write_session(path, full(folder))
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["settings"]["heat"]
    for fitted, expected in ((True, HeatRange()), (False, HeatRange(kind="fixed", low=0.2))):
        values["view"] |= {"heat_auto": fitted, "heat_low": 0.2, "heat_high": 1.0}
        path.write_text(json.dumps(values), encoding="utf-8")
        assert read_session(path).session.settings.heat == expected


def test_files_are_found_by_their_names_beside_the_session_and_that_is_said(folder, tmp_path):
    session = SavedSession(pair=full(folder).pair)
    write_session(tmp_path / "alice" / "deep.descspace", session)
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("1.png", "2.png"):
        shutil.move(folder / "images" / name, flat / name)
    shutil.move(tmp_path / "alice" / "deep.descspace", flat)
    opened = read_session(flat / "deep.descspace")
    assert opened.session.pair.image_a == flat / "1.png"
    assert opened.notes == (
        f"projét/images/1.png was found by its name, as {flat / '1.png'}.",
        f"projét/images/2.png was found by its name, as {flat / '2.png'}.",
    )


def test_the_text_names_files_from_the_session_and_people_can_read_it(folder):
    write_session(folder / "s.descspace", full(folder))
    text = (folder / "s.descspace").read_text(encoding="utf-8")
    values = json.loads(text)
    assert values["pair"] == {
        "image_a": "images/1.png", "image_b": "images/2.png", "range_b": "0,9.5",
    }  # fmt: skip
    assert values["truth"]["files"] == ["truth/flow.flo", "truth/H.txt"]
    assert values["truth"]["cameras"] == "truth/cams.txt"
    first, mine, network, maps = values["descriptors"]
    assert first["files"] == {"weights": "nets/w.pth"}
    assert mine == {"name": "mine", "settings": {"k": [1, 2]}, "plugin": "nets/plug.py"}
    assert network == {"name": "onnx", "network": "nets/own.onnx", "layers": ["3", "4"]}
    assert maps["maps"] == ["maps/a.npz", "maps/b.npz"]
    assert text.count(str(folder)) == 1, "only where it was saved"
    assert max(map(len, text.splitlines())) <= 150
    assert len(text.splitlines()) < 80


def test_what_shares_no_folder_is_named_as_a_whole(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = SavedSession(pair=SavedPair(image_a=folder / "images/1.png", image_b=Path("/x.png")))
    write_session(folder / "s.descspace", session)
    assert json.loads((folder / "s.descspace").read_text())["pair"]["image_b"] == "/x.png"


@pytest.mark.parametrize(
    "truth",
    [
        SavedTruth(of_set=True),
        SavedTruth(),
        SavedTruth(source=HomographySource.of(np.arange(1.0, 10.0) / 3, "estimated")),
        SavedTruth(source=HeldPointsSource.of(np.eye(2), np.ones((2, 2)) / 3)),
    ],
)
def test_a_truth_without_a_file_comes_back_digit_by_digit(folder, truth):
    session = SavedSession(pair=SavedPair(dataset=folder / "set/list.csv", group="g", index=3))
    write_session(folder / "s.descspace", replace(session, truth=truth))
    found = read_session(folder / "s.descspace").session
    assert found.truth == truth
    assert found.pair == session.pair


def test_paths_that_were_written_on_windows_are_found_by_their_ends(folder):
    write_session(folder / "s.descspace", full(folder))
    text = (folder / "s.descspace").read_text(encoding="utf-8")
    text = text.replace('"images/1.png"', '"D:/data/images/1.png"')
    (folder / "s.descspace").write_text(text, encoding="utf-8")
    assert read_session(folder / "s.descspace").session.pair.image_a == folder / "images/1.png"


def edited(**changes: Any) -> Any:
    return lambda values: values.update(changes)


def inside(section: str, **changes: Any) -> Any:
    return lambda values: values[section].update(changes)


BAD = {
    "another file": (lambda values: values.clear(), "is no session of this program"),
    "a newer one": (edited(version=2), "has version 2, and this program reads up to 1: update it"),
    "no version": (edited(version="one"), "has the version 'one', which is none"),
    "an unknown part": (edited(vieW={}), "vieW: there is no such part of a session"),
    "an unknown setting": (inside("view", mod="pca"), "did you mean 'mode'?"),
    "a wrong word": (inside("view", mode="x-ray"), "view.mode: 'x-ray' is not one of"),
    "a wrong number": (inside("settings", peaks=99), "settings.peaks: 99 is out of range"),
    "an empty part": (inside("view", part_a=[0, 0, 0, 5]), "width and height must be above 0"),
    "no such colour": (inside("view", pca=[0, 1, 2]), "counts components from 1"),
    "a pin twice": (edited(pins=[{"number": 1}, {"number": 1}]), "two of them have the same"),
    "no such pin": (edited(**{"selected pin": 9}), "9 is the number of no pin"),
    "pins as a word": (edited(pins="1,2"), "pins: is a list"),
    "a missing image": (inside("pair", image_a="gone.png"), "names 'gone.png', which is neither"),
    "no pair": (edited(pair={}), "is two images, a dataset, or the demo"),
    "a torn truth": (edited(truth={"homography": [[1, 2]]}), "a row has 3 numbers"),
    "a truth of text": (edited(truth={"points": [[1, 2, 3, "x"]]}), "'x' is not a number"),
    "no descriptor": (inside("matches", descriptor=3), None),
    "a nameless one": (edited(descriptors=[{}]), "descriptors[1]: needs a name"),
    "too many": (edited(descriptors=[{"name": "daisy"}] * 5), "at most 4 can be shown"),
    "infinity": (edited(pins=[{"number": 1, "x_px": float("inf")}]), "is not a number"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_session_gives_one_sentence_with_file_and_reason(folder, case):
    change, reason = BAD[case]
    path = folder / "s.descspace"
    write_session(path, full(folder))
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    if reason is None:
        assert read_session(path).session.matches.descriptor == 3
        return
    with pytest.raises(SessionError) as caught:
        read_session(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert reason in text
    assert "\n" not in text


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"{}" * 2])
def test_what_is_no_json_is_refused(tmp_path, content):
    path = tmp_path / "s.descspace"
    path.write_bytes(content)
    with pytest.raises(SessionError, match="is no session"):
        read_session(path)
