"""Folders of photos: what is found, what is left out, and what is held out for validation."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.data import photos
from engine.data.photos import open_photos, read_covering, shuffled, split_photos
from engine.errors import DatasetError, ImageError, JobCancelled
from engine.progress import CancelToken, JobContext, Progress, Stage


def write(path: Path, size_px: tuple[int, int] = (40, 30), shade: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", np.full((size_px[1], size_px[0], 3), shade, np.uint8))
    assert done
    path.write_bytes(data.tobytes())
    return path


@pytest.fixture
def folder(tmp_path: Path, fresh_home: Path) -> Path:
    """Three photos in folders of any names, and what is none."""
    root = tmp_path / "Fotos Größe 日本"
    for name in ("z.png", "b/c/ä.PNG", "b/a.png"):
        write(root / name)
    write(root / ".hidden.png")
    write(root / ".thumbs" / "x.png")
    (root / "notes.txt").write_text("no photo")
    return root


def test_photos_are_found_in_all_folders_and_hidden_files_are_not(folder: Path):
    assert open_photos(folder).names == ("b/a.png", "b/c/ä.PNG", "z.png")


def test_unreadable_and_tiny_files_are_listed_and_left_out(folder: Path):
    (folder / "cut.png").write_bytes((folder / "z.png").read_bytes()[:20])
    (folder / "empty.jpg").touch()
    write(folder / "tiny.png", (9, 200))
    found = open_photos(folder)
    assert len(found.names) == 3
    assert len(found.problems) == 3
    for name, problem in zip(("cut.png", "empty.jpg", "tiny.png"), found.problems, strict=True):
        assert problem.startswith(f"{folder / name} is left out: it ")
        assert problem.count(".") >= 1
        assert problem.endswith(".")
        assert not problem.endswith("..")


@pytest.mark.parametrize("what", ["nothing", "file", "empty", "broken"])
def test_a_folder_without_photos_is_refused_in_a_sentence(
    what: str, tmp_path: Path, fresh_home: Path
):
    root = tmp_path / "r"
    if what == "file":
        root.touch()
    elif what != "nothing":
        root.mkdir()
    if what == "broken":
        (root / "a.jpg").touch()
    with pytest.raises(DatasetError, match=str(root)):
        open_photos(root)


def test_only_new_and_changed_files_are_looked_at_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    looked_at: list[str] = []
    read_size = photos.read_size

    def watched(path: Path) -> tuple[int, int]:
        looked_at.append(path.name)
        return read_size(path)

    monkeypatch.setattr(photos, "read_size", watched)
    first = open_photos(folder)
    assert sorted(looked_at) == ["a.png", "z.png", "ä.PNG"]
    looked_at.clear()
    assert open_photos(folder) == first
    assert looked_at == []
    write(folder / "new.png")
    (folder / "z.png").write_bytes(b"")
    os.utime(folder / "b" / "a.png", ns=(1, 1))
    found = open_photos(folder)
    assert sorted(looked_at) == ["a.png", "new.png", "z.png"]
    assert found.names == ("b/a.png", "b/c/ä.PNG", "new.png")
    (folder / "new.png").unlink()
    assert "new.png" not in open_photos(folder).names


def test_a_damaged_index_is_made_again(folder: Path, fresh_home: Path):
    first = open_photos(folder)
    (index,) = (fresh_home / "cache" / "photos").iterdir()
    for content in (b"", b"[]", b'{"format": 1, "entries": {"z.png": 3}}', b"\xff\x00"):
        index.write_bytes(content)
        assert open_photos(folder) == first


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_a_link_that_leads_in_a_circle_ends(folder: Path):
    (folder / "b" / "round").symlink_to(folder, target_is_directory=True)
    assert len(open_photos(folder).names) == 3


def test_looking_is_told_and_can_be_stopped(folder: Path):
    events: list[object] = []
    open_photos(folder, JobContext(events.append))
    assert events[-1] == Progress(Stage.READING_PHOTOS, 3, 3)
    write(folder / "new.png")
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(JobCancelled):
        open_photos(folder, JobContext(cancel=cancel))


def test_the_split_is_a_partition_that_stays_when_files_are_added(tmp_path: Path, fresh_home: Path):
    names = tuple(f"{n:03}.jpg" for n in range(400))
    before = split_photos(photos.PhotoFolder(tmp_path, names), validation_share=0.2)
    assert sorted((*before.training, *before.validation)) == sorted(names)
    assert not set(before.training) & set(before.validation)
    assert 50 < len(before.validation) < 110
    more = tuple(sorted((*names, *(f"new/{n}.jpg" for n in range(400)))))
    after = split_photos(photos.PhotoFolder(tmp_path, more), validation_share=0.2)
    assert set(before.validation) < set(after.validation)
    assert set(before.training) < set(after.training)


@pytest.mark.parametrize("share", [0.0, 0.9])
def test_either_side_has_a_photo_at_least(share: float, folder: Path):
    split = split_photos(open_photos(folder), validation_share=share)
    assert split.training
    assert split.validation


def test_one_photo_cannot_be_split(tmp_path: Path, fresh_home: Path):
    write(tmp_path / "one.png")
    with pytest.raises(DatasetError, match="one photo"):
        split_photos(open_photos(tmp_path), validation_share=0.1)


def test_cocos_own_split_is_kept(tmp_path: Path, fresh_home: Path):
    for part in ("train2017", "val2017", "test2017"):
        write(tmp_path / "coco" / part / "1.png")
        write(tmp_path / "coco" / part / "2.png")
    split = split_photos(open_photos(tmp_path), validation_share=0.5)
    assert split.training == ("coco/train2017/1.png", "coco/train2017/2.png")
    assert split.validation == ("coco/val2017/1.png", "coco/val2017/2.png")
    only = split_photos(open_photos(tmp_path / "coco" / "test2017"), validation_share=0.5)
    assert len(only.training) == len(only.validation) == 1


@pytest.mark.parametrize("size_px", [(100, 100), (300, 40), (33, 500)])
def test_a_photo_is_read_at_the_smallest_size_that_covers(tmp_path: Path, size_px):
    path = write(tmp_path / "a.png", size_px)
    height, width = read_covering(path, (64, 48)).shape[:2]
    assert width >= 64
    assert height >= 48
    assert width == 64 or height == 48
    assert abs(width / height - size_px[0] / size_px[1]) < 0.03 * size_px[0] / size_px[1]


def test_what_is_cut_short_shows_when_it_is_read(tmp_path: Path):
    path = tmp_path / "a.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    path.write_bytes(cv2.imencode(".jpg", noise)[1].tobytes()[:9000])
    with pytest.raises(ImageError, match=r"a\.jpg"):
        read_covering(path, (64, 48))


def test_every_epoch_goes_through_all_photos_in_another_order():
    orders = [shuffled(50, seed=3, epoch=epoch) for epoch in (0, 1)]
    assert [sorted(order.tolist()) for order in orders] == [list(range(50))] * 2
    assert orders[0].tolist() != orders[1].tolist()
    shuffled.cache_clear()
    assert shuffled(50, seed=3, epoch=1).tolist() == orders[1].tolist()


def test_real_photos_are_found(shared_data: Path, fresh_home: Path):
    found = open_photos(shared_data / "photos" / "kodak")
    assert len(found.names) == 24
    assert found.problems == ()
