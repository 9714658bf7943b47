"""What is looked at before Qt starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from descgui.display import display_problem, forget_opencv_paths

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")


@linux_only
def test_no_display_is_one_sentence_that_names_what_works_without():
    problem = display_problem({})
    assert problem is not None
    assert problem.startswith("No window can open")
    assert problem.endswith(".")
    assert "\n" not in problem
    for way in ("match", "describe", "doctor", "--screenshot"):
        assert way in problem


@linux_only
def test_a_display_that_does_not_answer_is_named():
    problem = display_problem({"DISPLAY": ":9473"})
    assert problem is not None
    assert ":9473" in problem


@pytest.mark.parametrize("platform", ["offscreen", "minimal", "offscreen:enable_fonts"])
def test_platforms_without_a_display_need_none(platform: str):
    assert display_problem({"QT_QPA_PLATFORM": platform}) is None


def test_the_check_does_not_load_qt():
    code = (
        "import sys; from descgui.display import display_problem; display_problem({});"
        "sys.exit(any(name.startswith(('PySide6', 'torch', 'cv2')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_opencv_s_paths_are_dropped_and_a_person_s_are_kept():
    environment = {
        "QT_QPA_PLATFORM_PLUGIN_PATH": "/venv/site-packages/cv2/qt/plugins",
        "QT_QPA_FONTDIR": "/home/me/fonts",
        "OTHER": "cv2",
    }
    forget_opencv_paths(environment)
    assert environment == {"QT_QPA_FONTDIR": "/home/me/fonts", "OTHER": "cv2"}
