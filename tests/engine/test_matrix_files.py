"""Homographies in files: each common format is read, and what is refused is called what it is."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import HomographyError
from engine.geometry.homography import read_homography

H = np.array([[1.25, 0.5, -30.0], [-0.25, 0.75, 12.5], [1e-4, -2e-4, 1.0]])
NINE = "1.25 0.5 -30\n-0.25 0.75 12.5\n1e-4 -2e-4 1\n"


def storage(path: Path, **nodes: object) -> bytes:
    """What OpenCV writes; it compresses by itself where the name says so."""
    writer = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in nodes.items():
        writer.write(name, value)
    writer.release()
    return path.read_bytes()


def said(path: Path) -> tuple[np.ndarray, list[str]]:
    sentences: list[str] = []
    return read_homography(path, sentences.append), sentences


@pytest.mark.parametrize("name", ["h.xml", "h.yml", "h.yaml", "h.json", "h.yml.gz", "h.xml.gz"])
def test_opencvs_file_storage_is_read(tmp_path, name):
    storage(tmp_path / name, H=H, camera="left", size=640)
    found, sentences = said(tmp_path / name)
    np.testing.assert_allclose(found, H)
    assert sentences == []


@pytest.mark.parametrize(
    "header", ["%YAML:1.0\n", "%YAML:1.0\n---\n", "%YAML 1.2\n---\n", ""], ids=repr
)
@pytest.mark.parametrize(
    "matrix",
    [
        "H: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: f\n   data: [ {} ]\n",
        (
            "result:\n   H: !!opencv-matrix\n      rows: 3\n      cols: 3\n      dt: d\n"
            "      data: [ {} ]\n"
        ),
        "H: [ {} ]\n",
    ],
)
def test_file_storage_of_any_version_is_read(tmp_path, header, matrix):
    numbers = ", ".join(str(float(one)) for one in H.ravel())
    (tmp_path / "h.yaml").write_text(header + matrix.format(numbers))
    np.testing.assert_allclose(read_homography(tmp_path / "h.yaml"), H, rtol=1e-6)


@pytest.mark.parametrize(
    "value",
    [
        H.tolist(),
        [H.tolist()],
        H.ravel().tolist(),
        {"H": H.tolist()},
        {"homography": H.ravel().tolist(), "inliers": 93, "names": ["a", "b"]},
        {"result": {"H": H.tolist(), "matches": [[1, 2], [3, 4]]}},
        {"homography_matrix": {"rows": 3, "cols": 3, "data": H.ravel().tolist()}},
    ],
)
@pytest.mark.parametrize("ending", [".json", ".yaml", ""])
def test_json_and_yaml_are_read_with_or_without_names(tmp_path, value, ending):
    path = tmp_path / f"h{ending}"
    if ending == ".yaml" and isinstance(value, dict):
        yaml = pytest.importorskip("yaml")
        path.write_text(yaml.safe_dump(value))
    else:
        path.write_text(json.dumps(value))
    np.testing.assert_allclose(read_homography(path), H)


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"],
)
@pytest.mark.parametrize("form", ["text", "json", "yaml", "xml"])
def test_any_unicode_is_read(tmp_path, encoding, form):
    text = {
        "text": NINE,
        "json": json.dumps(H.tolist()),
        "yaml": f"H: {H.tolist()}\n",
        "xml": storage(tmp_path / "w.xml", H=H).decode(),
    }[form]
    (tmp_path / "h").write_bytes(text.encode(encoding))
    np.testing.assert_allclose(read_homography(tmp_path / "h"), H)


@pytest.mark.parametrize(
    "text",
    [
        ",".join(NINE.split()),
        "1.25,0.5,-30,\n-0.25,0.75,12.5,\n1e-4,-2e-4,1,\n",
        "h11,h12,h13,h21,h22,h23,h31,h32,h33\n" + ",".join(NINE.split()),
        '"1.25","0.5","-30"\n"-0.25","0.75","12.5"\n"1e-4","-2e-4","1"\n',
        "1,25 0,5 -30\n-0,25 0,75 12,5\n1e-4 -2e-4 1\n",
        "1,25;0,5;-30\n-0,25;0,75;12,5\n0,0001;-0,0002;1\n",
        "H = [1.25 0.5 -30; -0.25 0.75 12.5; 1e-4 -2e-4 1];",
        "[1.25, 0.5, -30;\n -0.25, 0.75, 12.5;\n 1e-4, -2e-4, 1]",
        "[[ 1.25  0.5 -30. ]\n [-0.25 0.75 12.5]\n [ 1.e-04 -2.e-04 1.e+00]]",
        "array([[ 1.25, 0.5, -30. ],\n [-0.25, 0.75, 12.5],\n [1e-4, -2e-4, 1]], dtype=float32)",
        "tensor([[1.25, 0.5, -30], [-0.25, 0.75, 12.5], [1e-4, -2e-4, 1]], dtype=torch.float64)",
        "((1.25, 0.5, -30), (-0.25, 0.75, 12.5), (1e-4, -2e-4, 1))",
        "H: 1.25 0.5 -30 -0.25 0.75 12.5 1e-4 -2e-4 1\n",
    ],
)
def test_numbers_are_read_as_programs_and_people_print_them(tmp_path, text):
    (tmp_path / "h.txt").write_text(text)
    np.testing.assert_allclose(read_homography(tmp_path / "h.txt"), H)


def test_a_comment_of_an_old_editor_does_no_harm(tmp_path):
    (tmp_path / "h.txt").write_bytes("# größer\n".encode("latin-1") + NINE.encode())
    np.testing.assert_allclose(read_homography(tmp_path / "h.txt"), H)


@pytest.mark.parametrize(
    "shape", [(3, 3), (1, 3, 3), (1, 1, 3, 3), (3, 3, 1), (9,), (1, 9), (9, 1)]
)
@pytest.mark.parametrize("kind", [np.float32, np.float64, ">f8"])
def test_arrays_may_have_axes_of_length_1(tmp_path, shape, kind):
    array = H.reshape(shape).astype(kind)
    np.save(tmp_path / "h.npy", array)
    np.savez_compressed(tmp_path / "h.npz", array)
    for name in ("h.npy", "h.npz"):
        np.testing.assert_allclose(read_homography(tmp_path / name), H, rtol=1e-6)


def test_of_several_matrices_the_one_named_as_homography_is_taken_and_that_is_said(tmp_path):
    others = {"K0": np.diag([500.0, 500, 1]), "K1": np.diag([400.0, 400, 1]), "n": np.int64(3)}
    np.savez(tmp_path / "h.npz", **others, H_gt=H, image0=np.zeros((200, 300, 3), np.uint8))
    found, sentences = said(tmp_path / "h.npz")
    np.testing.assert_allclose(found, H)
    path = tmp_path / "h.npz"
    assert sentences == [f"{path}: holds several 3 × 3 matrices (K0, K1, H_gt); H_gt is used."]
    storage(tmp_path / "h.yml", inverse=np.linalg.inv(H), homography=H)
    found, sentences = said(tmp_path / "h.yml")
    np.testing.assert_allclose(found, H)
    assert len(sentences) == 1


def test_the_same_matrix_under_two_names_leaves_no_choice(tmp_path):
    np.savez(tmp_path / "h.npz", a=H, b=H)
    found, sentences = said(tmp_path / "h.npz")
    np.testing.assert_allclose(found, H)
    assert sentences == []


@pytest.mark.parametrize(
    "value",
    [
        {"first": np.eye(3).tolist(), "second": H.tolist()},
        {"1_2": {"H": np.eye(3).tolist()}, "1_3": {"H": H.tolist()}},
    ],
)
def test_where_no_name_decides_nothing_is_chosen(tmp_path, value):
    (tmp_path / "h.json").write_text(json.dumps(value))
    with pytest.raises(HomographyError, match=r"several 3 × 3 matrices \(.*\); call one of them H"):
        read_homography(tmp_path / "h.json")


def test_without_a_listener_the_choice_is_logged(tmp_path, caplog):
    np.savez(tmp_path / "h\x1b[31m.npz", H=H, K=np.eye(3))
    read_homography(tmp_path / "h\x1b[31m.npz")
    ((name, _level, said),) = caplog.record_tuples
    assert name == "engine.choices"
    assert said.endswith(r"h\x1b[31m.npz: holds several 3 × 3 matrices (H, K); H is used.")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("h", b"\x89PNG\r\n\x1a\n" + bytes(64), "is a PNG picture"),
        ("h", b"\x89PNG\r\n\x1a\n" + bytes(90_000), "is a PNG picture"),
        ("h.mat", b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128) + bytes(90), "MATLAB file"),
        ("h", b"<!DOCTYPE html>\n<html><body>404</body></html>", "is a web page"),
        ("h", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        ("h.xml", b"<?xml version='1.0'?><kml><a>1</a></kml>", "XML, but not of OpenCV"),
        ("h.json", b'{"a": 1, "b": "c"}', "holds no 3 × 3 matrix"),
        ("h.json", b"[[1, 2], [3, 4]]", "is not a 3 × 3 matrix"),
        ("h.json", b'["a", "b"]', "holds a list, but not one of 3 × 3 numbers"),
        ("h.yml", b"%YAML:1.0\n---\nn: 3\n", "FileStorage without a matrix"),
        ("h.gz", b"\x1f\x8b\x08rubbish", "damaged gzip"),
        ("h.gz", gzip.compress(bytes(1 << 22)), "compressed by gzip|too large"),
        ("h.npz", b"PK\x03\x04rubbish", r"damaged \.npz"),
        ("h.txt", NINE.encode() * 2, "holds 18 numbers"),
        ("h.txt", b"1_0 0 5 0 1 6 0 0 1", "'1_0' where a number"),  # Python reads it as 10
        ("h.txt", NINE.encode("utf-16")[:-3], "holds 8 numbers|not a text file"),
    ],
)
def test_what_is_refused_is_called_what_it_is(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HomographyError, match=reason):
        read_homography(tmp_path / name)


def test_a_damaged_or_absurd_storage_is_refused(tmp_path):
    whole = storage(tmp_path / "h.xml", H=H)
    for content in (
        whole[: len(whole) // 2],
        whole.replace(b"<rows>3</rows>", b"<rows>300000</rows>"),
        whole.replace(b"12.5 ", b""),
    ):
        (tmp_path / "h.xml").write_bytes(content)
        with pytest.raises(HomographyError, match=r"h\.xml: "):
            read_homography(tmp_path / "h.xml")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("h.yml", "%YAML:1.0\n---\na: " + 60_000 * "["),
        ("h.yml", "%YAML:1.0\n---\na: " + 15_000 * "{a: "),
        ("h.yml", "%YAML:1.0\n---\n" + 15_000 * "- " + "1"),
        ("h.xml", "<opencv_storage>" + 20_000 * "<a>"),
        ("h.xml", "<opencv_storage>" + 9_000 * "<a>" + 9_000 * "</a>" + "</opencv_storage>"),
        ("h.json", 60_000 * "["),
        ("h.json", 12_000 * '{"a":'),
    ],
)
def test_deep_nesting_is_refused_and_ends_no_process(tmp_path, name, content):
    """OpenCV's own reader of YAML overflows the stack."""
    (tmp_path / name).write_text(content)
    reason = "nested too deeply" if name == "h.xml" else "nested too deeply|holds"
    with pytest.raises(HomographyError, match=reason):
        read_homography(tmp_path / name)


def test_a_stack_of_matrices_is_counted_not_cut(tmp_path):
    np.save(tmp_path / "h.npy", np.stack([H, H]))
    with pytest.raises(HomographyError, match="holds 2 matrices, and one"):
        read_homography(tmp_path / "h.npy")


def test_objects_in_an_archive_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "h.npz", H=np.array([{}], dtype=object))
    with pytest.raises(HomographyError, match="damaged"):
        read_homography(tmp_path / "h.npz")


def test_many_empty_lines_are_refused_at_once(tmp_path):
    path = tmp_path / "h.csv"
    path.write_bytes(b"0..98" + b"\n" * 30_000)
    before_s = time.process_time()
    with pytest.raises(HomographyError, match=r"holds '0..98'"):
        read_homography(path)
    assert time.process_time() - before_s < 2  # a search from each line to the end takes 10 s
