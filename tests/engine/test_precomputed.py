"""Map files: written maps read back, users' maps are read, and errors are reported."""

from __future__ import annotations

import json
import runpy
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine.descriptors.base import DescriptorMap, Member
from engine.descriptors.precomputed import MapFile, read_map_file, write_map_file
from engine.errors import MapFileError, OutputError
from engine.geometry.coords import CellGrid

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def random_values(dim: int = 5, rows: int = 6, columns: int = 8) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(dim, rows, columns))


def write(path: Path, **change: object) -> Path:
    """A good file for an image of 64 × 48 px, with changes; None leaves a name out."""
    content: dict[str, object] = {
        "values": random_values(),
        "stride_px": 8.0,
        "offset_px": 3.5,
        "image_size_px": (64, 48),
        **change,
    }
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    return path


def unit_levels(*members: Member) -> tuple[DescriptorMap, ...]:
    generator = torch.Generator().manual_seed(0)
    levels = []
    for index, member in enumerate(members):
        values = torch.randn(1, 7, 6 >> index, 8 >> index, generator=generator)
        values = torch.nn.functional.normalize(values, dim=1)
        levels.append(DescriptorMap(values, CellGrid(8.0 * 2**index, 3.5 + 4 * index), member))
    return tuple(levels)


@pytest.mark.parametrize("members", [(Member(),), (Member(), Member(0.5, 30.0))])
def test_written_maps_come_back_with_their_places(
    tmp_path: Path, members: tuple[Member, ...]
) -> None:
    levels = unit_levels(*members)
    path = tmp_path / "karten-größe 地图.npz"
    write_map_file(
        path, levels, working_size_px=(64, 48), original_size_px=(128, 96), descriptor="x",
        settings={"weights": Path("w.pth"), "n": 3},
    )  # fmt: skip
    found = read_map_file(path)
    assert (found.image_size_px, found.original_size_px) == ((64, 48), (128, 96))
    assert len(found.levels) == len(levels)
    for one, other in zip(found.levels, levels, strict=True):
        assert (one.grid, one.member) == (other.grid, other.member)
        torch.testing.assert_close(one.values, other.values, atol=1e-6, rtol=0)
    with np.load(path, allow_pickle=False) as file:
        assert str(file["descriptor"]) == "x"
        assert json.loads(str(file["settings"])) == {"weights": "w.pth", "n": 3}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_cannot_be_written_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder does not exist"):
        write_map_file(
            tmp_path / "none" / "m.npz", unit_levels(Member()),
            working_size_px=(64, 48), original_size_px=(64, 48),
        )  # fmt: skip


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int16])
def test_vectors_are_brought_to_unit_length_and_zero_ones_stay(tmp_path: Path, kind: type) -> None:
    values = (1000 * random_values()).astype(kind)
    values[:, 2, 3] = 0
    (level,) = read_map_file(write(tmp_path / "m.npz", values=values)).levels
    lengths = level.values[0].norm(dim=0)
    assert float(lengths[2, 3]) == 0
    lengths[2, 3] = 1
    torch.testing.assert_close(lengths, torch.ones(6, 8))
    expected = values[:, 0, 0] / np.linalg.norm(values[:, 0, 0].astype(float))
    np.testing.assert_allclose(level.values[0, :, 0, 0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("factor", [1e-25, 1e25])
def test_huge_and_tiny_vectors_have_unit_length_too(tmp_path: Path, factor: float) -> None:
    (level,) = read_map_file(write(tmp_path / "m.npz", values=factor * random_values())).levels
    torch.testing.assert_close(level.values.norm(dim=1), torch.ones(1, 6, 8))


def test_a_file_without_a_size_says_none(tmp_path: Path) -> None:
    assert read_map_file(write(tmp_path / "m.npz", image_size_px=None)).image_size_px is None


def test_a_plain_array_is_placed_by_its_neighbour_file(tmp_path: Path) -> None:
    path = tmp_path / "m.npy"
    np.save(path, random_values())
    with pytest.raises(MapFileError, match=r"does not contain stride_px; write them into m\.json"):
        read_map_file(path)
    said = {"stride_px": 8, "offset_px": 3.5, "image_size_px": [64, 48]}
    (tmp_path / "m.json").write_text(json.dumps(said))
    found = read_map_file(path)
    assert found.levels[0].grid == CellGrid(8.0, 3.5)
    assert found.image_size_px == (64, 48)


@pytest.mark.parametrize(
    "text", ["{", "[1, 2]", '{"stride_px": [[1], [2, 3]]}', "\udce4", 60_000 * "["]
)
def test_a_broken_neighbour_file_is_named(tmp_path: Path, text: str) -> None:
    np.save(tmp_path / "m.npy", random_values())
    (tmp_path / "m.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(MapFileError, match=r"m\.json: "):
        read_map_file(tmp_path / "m.npy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": None}, "no array called values or values_0; it holds image_size_px"),
        ({"values": None, "values_1": random_values()}, "no array called values"),
        ({"values": random_values()[None, None]}, r"\(D, height, width\), not 1 × 1 × 5"),
        ({"values": np.stack([random_values()] * 2)}, "holds the maps of 2 images; write a file"),
        ({"values": random_values()[0]}, r"not 6 × 8; for tokens .* add cells: \(columns, rows\)"),
        ({"values": np.float32(1)}, "not a single number"),
        ({"values": random_values()[:, :0]}, "not 5 × 0 × 8"),
        ({"values": random_values() * 1j}, "real numbers, not complex128"),
        ({"values": np.full((5, 6, 8), "a")}, "real numbers"),
        ({"values": np.where(random_values() > 1, np.nan, 1)}, "not finite"),
        ({"values": 1e300 * random_values()}, "not finite"),
        ({"stride_px": None}, r"does not contain stride_px\."),
        ({"offset_px": None}, r"does not contain offset_px\."),
        ({"stride_px": 0.0}, "must be above 0"),
        ({"stride_px": -8.0}, "must be above 0"),
        ({"stride_px": np.nan}, "stride_px holds a number that is not finite"),
        ({"stride_px": "8"}, "stride_px must be a number"),
        ({"stride_px": (8.0, 8.0)}, "stride_px has 2 numbers for 1 maps"),
        ({"image_size_px": 64}, r"must be \(width, height\)"),
        ({"image_size_px": (64, 0)}, r"must be \(width, height\)"),
        ({"image_size_px": (48, 64)}, "cannot cover an image of 48 × 64 px"),
        ({"stride_px": 4.0}, None),
        ({"stride_px": 2.0}, "cannot cover"),
        ({"stride_px": 16.0}, "cannot cover"),
        ({"offset_px": 40.0}, "cannot cover"),
        ({"values_0": random_values(), "values_1": random_values(4), "values": None},
         r"different lengths \(4 and 5\)"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_files_that_cannot_be_used_are_refused_with_the_reason(
    tmp_path: Path, change: dict[str, object], message: str | None
) -> None:
    path = write(tmp_path / "m.npz", **change)
    if message is None:  # half the image is what a network without padding may leave out
        read_map_file(path)
        return
    with pytest.raises(MapFileError, match=message) as caught:
        read_map_file(path)
    assert caught.value.path == path


def test_maps_of_a_network_without_padding_may_leave_a_border() -> None:
    values = torch.ones(1, 1, 40, 40)
    levels = (DescriptorMap(values, CellGrid(1.0, 15.0)),)
    assert MapFile(Path("m"), levels, None).lay_on((70, 70))[1] == ()


def test_objects_in_a_file_are_never_unpickled(tmp_path: Path) -> None:
    with pytest.raises(MapFileError, match="plain numbers"):
        read_map_file(write(tmp_path / "m.npz", values=np.array([{"a": 1}], dtype=object)))


@pytest.mark.parametrize("keep", [0, 10, 200, -100, -5])
def test_truncated_files_are_refused(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path / "m.npz")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(MapFileError, match=r"m\.npz: "):
        read_map_file(path)


def test_a_truncated_array_and_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", random_values())
    content = (tmp_path / "m.npy").read_bytes()
    for damaged in (content[:-8], content.replace(b"), }", b"), }}")):
        (tmp_path / "m.npy").write_bytes(damaged)
        with pytest.raises(MapFileError, match="damaged"):
            read_map_file(tmp_path / "m.npy")
    (tmp_path / "m.npz").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    with pytest.raises(MapFileError, match="is a PNG picture, not a file of maps"):
        read_map_file(tmp_path / "m.npz")
    (tmp_path / "m.npz").write_bytes(b"hello")
    with pytest.raises(MapFileError, match="damaged"):
        read_map_file(tmp_path / "m.npz")
    with zipfile.ZipFile(tmp_path / "z.npz", "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(MapFileError, match="no array called values"):
        read_map_file(tmp_path / "z.npz")


# ---- as other programs write them


PLACE = {"stride_px": 8.0, "offset_px": 3.5, "image_size_px": (64, 48)}


def expected() -> torch.Tensor:
    """The map that :func:`write` writes by default, as it is read."""
    return torch.nn.functional.normalize(torch.from_numpy(random_values()).float()[None], dim=1)


def assert_read(path: Path, notes: int = 0) -> MapFile:
    found = read_map_file(path)
    (level,) = found.levels
    torch.testing.assert_close(level.values, expected(), atol=1e-2, rtol=0)
    assert level.grid == CellGrid(8.0, 3.5)
    assert found.image_size_px == (64, 48)
    assert len(found.notes) == notes
    return found


@pytest.mark.parametrize("ending", [".npz", ".npy", ".pt", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("batch", [True, False])
def test_maps_are_read_with_or_without_a_batch_axis_from_any_format(
    tmp_path: Path, ending: str, dtype: torch.dtype, batch: bool
) -> None:
    path = tmp_path / f"m{ending}"
    values = torch.from_numpy(random_values()[None] if batch else random_values()).to(dtype)
    if ending == ".npz":
        write(path, values=values.float().numpy())
    elif ending == ".npy":
        np.save(path, values.float().numpy())
    elif ending == ".pt":
        torch.save(values.requires_grad_(), path)
    else:
        numbers = {name: torch.tensor(value) for name, value in PLACE.items()}
        save_file({"values": values, **numbers}, path)
    if ending in (".npy", ".pt"):
        path.with_suffix(".json").write_text(json.dumps(PLACE))
    assert_read(path)


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.npz", "m"])
def test_tensors_by_name_are_read_as_an_archive_is(tmp_path: Path, as_zip: bool, name: str) -> None:
    whole = {"values": torch.from_numpy(random_values()), **PLACE, "model": "mine", "epoch": None}
    torch.save(whole, tmp_path / name, _use_new_zipfile_serialization=as_zip)
    assert_read(tmp_path / name)
    torch.save([whole["values"]], tmp_path / "list.pt")
    with pytest.raises(MapFileError, match=r"does not contain stride_px; .* list\.json"):
        read_map_file(tmp_path / "list.pt")


@pytest.mark.parametrize("name", ["arr_0", "features", "descriptors"])
def test_the_only_map_of_an_archive_may_have_any_name(tmp_path: Path, name: str) -> None:
    assert_read(write(tmp_path / "m.npz", values=None, **{name: random_values()}))
    two = {name: random_values(), "keypoints": np.zeros((9, 2))}
    with pytest.raises(MapFileError, match="no array called values"):
        read_map_file(write(tmp_path / "m.npz", values=None, **two))


def test_where_an_archive_holds_a_map_and_a_set_the_one_used_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "m.npz", values_0=random_values(3), values_1=random_values(3))
    found = assert_read(path, notes=1)
    assert found.notes == (f"{path}: values is used, not values_0, values_1.",)
    assert found.lay_on((64, 48))[1] == found.notes


def tokens(prefix: int, *, batch: bool = False) -> np.ndarray[Any, Any]:
    """``(N, D)`` as a vision transformer gives them: row by row, behind the prefix tokens."""
    rows = random_values().reshape(5, -1).T
    whole = np.concatenate([np.full((prefix, 5), 100.0), rows])
    return whole[None] if batch else whole


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("ending", [".npz", ".pt"])
def test_tokens_are_laid_out_where_the_grid_is_stated(
    tmp_path: Path, prefix: int, batch: bool, stated: bool, ending: str
) -> None:
    more = {"prefix_tokens": prefix} if stated else {}
    path, values = tmp_path / f"m{ending}", tokens(prefix, batch=batch)
    if ending == ".npz":
        write(path, values=values, cells=(8, 6), **more)
    else:
        torch.save(torch.from_numpy(values), path)
        path.with_suffix(".json").write_text(json.dumps({**PLACE, "cells": [8, 6], **more}))
    found = assert_read(path, notes=int(prefix > 0 and not stated))
    if found.notes:
        assert f"the first {prefix} are left out as prefix tokens" in found.notes[0]


@pytest.mark.parametrize("prefix", [0, 5])
@pytest.mark.parametrize("batch", [True, False])
def test_size_and_stride_state_a_grid_as_well_and_that_is_said(
    tmp_path: Path, prefix: int, batch: bool
) -> None:
    path = write(tmp_path / "m.npz", values=tokens(prefix, batch=batch))
    found = assert_read(path, notes=1 + int(prefix > 0))
    assert "are taken as 8 × 6 cells, by image_size_px and stride_px" in found.notes[0]
    with pytest.raises(MapFileError, match="add cells"):
        read_map_file(write(tmp_path / "m.npz", values=tokens(17)))


def test_a_stated_grid_does_a_map_no_harm(tmp_path: Path) -> None:
    assert_read(write(tmp_path / "m.npz", cells=(8, 6)))
    assert_read(write(tmp_path / "m.npz", values=random_values()[None], cells=(8, 6)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": tokens(1)[2:]}, "not that of 8 × 6 cells"),
        ({"values": tokens(1), "prefix_tokens": 5}, "cells .* behind 5 prefix tokens"),
        ({"values": tokens(17)}, "17 tokens more than its 8 × 6 cells; .* add prefix_tokens: 17"),
        ({"values": tokens(1).T}, "not that of 8 × 6 cells"),
        ({"values": tokens(1), "prefix_tokens": 0.5}, "prefix_tokens must be a number of tokens"),
        ({"values": tokens(1), "cells": (8.5, 6)}, r"cells must be \(columns, rows\)"),
    ],
)
def test_tokens_that_do_not_fit_their_grid_are_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(MapFileError, match=message):
        read_map_file(write(tmp_path / "m.npz", **{"cells": (8, 6), **change}))


class Calls:
    """Pickles to a call that a hostile file would make."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("the file's code ran",)


def test_what_torch_files_hold_besides_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.pt"
    for content, message in (
        ([torch.ones(2), torch.ones(3)], "holds a list of 2, and one tensor"),
        ("text", "holds a str, and one tensor"),
        ({"values": torch.ones(5, 6, 8).to(torch.float8_e5m2)}, "of the kind torch.float8_e5m2"),
        (torch.eye(3).to_sparse(), "holds numbers of the kind"),
        ({"values": torch.ones(5, 6, 8), "code": Calls()}, "holds program code"),
    ):
        torch.save(content, path)
        with pytest.raises(MapFileError, match=message):
            read_map_file(path)
    assert capsys.readouterr().out == ""


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(MapFileError, match="no such file"):
        read_map_file(tmp_path / "none.npz")
    with pytest.raises(MapFileError, match="is a folder"):
        read_map_file(tmp_path)


def test_the_worked_example_writes_a_file_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (50, 77, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    script = EXAMPLES / "write_map_file.py"
    monkeypatch.setattr(
        sys, "argv", [str(script), str(tmp_path / "a.png"), str(tmp_path / "a.npz")]
    )
    runpy.run_path(str(script), run_name="__main__")
    found = read_map_file(tmp_path / "a.npz")
    assert found.image_size_px == (77, 50)
    assert found.levels[0].values.shape == (1, 192, 6, 9)
    # Cell (0, 0) contains the first 8 × 8 pixels minus their mean.
    block = pixels[:8, :8, ::-1].astype(float)
    block -= block.mean(axis=(0, 1))
    cosine = found.levels[0].values[0, :, 0, 0].numpy() @ (block.ravel() / np.linalg.norm(block))
    assert cosine == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_the_document_shows_the_examples_as_they_are(example: Path) -> None:
    document = (EXAMPLES.parent / "OWN_NETWORK.md").read_text(encoding="utf-8")
    code = example.read_text(encoding="utf-8").rstrip()
    assert f"`docs/examples/{example.name}`:\n\n```python\n{code}\n```" in document
