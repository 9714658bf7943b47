"""torchvision imports beside any build of torch; each case in a process of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ENSURE = "from engine.descriptors.families.torchvision_operators import ensure_torchvision\n"
needs_timm = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None,
    reason="timm is not installed; `make setup EXTRAS=timm` installs it",
)
# As torchvision would be, were its compiled operators to load: finding the library defines them,
# and torch's own library stands in for the file.
SOUND_FINDER = """
import torch
made = []
def _get_extension_path(name):
    assert name == "_C"
    made.append(torch.library.Library("torchvision", "DEF"))
    made[0].define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return torch._C.__file__
"""


def ran(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def words(code: str) -> list[str]:
    """What the code prints, in a process that ended well."""
    result = ran(ENSURE + code)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@needs_timm
def test_torchvision_and_timm_import_and_operators_are_declared_only_where_they_are_missing():
    declared, own_operators = words(
        "import sys\n"
        "declared = ensure_torchvision()\n"
        "assert 'torchvision' not in sys.modules\n"
        "import timm, torchvision\n"
        "assert ensure_torchvision() is declared\n"
        "print(declared, torchvision.extension._has_ops())"
    )
    assert {declared, own_operators} == {"True", "False"}
    imports_alone = ran("import torchvision").returncode == 0
    assert imports_alone is (declared == "False")


@needs_timm
def test_many_threads_declare_once():
    answers = words(
        "import threading\n"
        "start, answers = threading.Barrier(8), []\n"
        "def run():\n"
        "    start.wait()\n"
        "    answers.append(ensure_torchvision())\n"
        "threads = [threading.Thread(target=run) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "import torchvision\n"
        "print(*answers)"
    )
    assert len(answers) == 8
    assert len(set(answers)) == 1


@needs_timm
def test_torchvision_imports_after_an_import_that_failed():
    code = (
        "try:\n"
        "    import torchvision\n"
        "except RuntimeError as error:\n"
        "    assert 'nms' in str(error)\n"
        "ensure_torchvision()\n"
        "import torchvision\n"
        "print(torchvision.ops.nms.__name__)"
    )
    assert words(code) == ["nms"]


@pytest.mark.parametrize(
    ("finder", "declared"),
    [
        (SOUND_FINDER, "False"),
        ("def _get_extension_path(name): raise ImportError(name)", "True"),
        ("def _get_extension_path(name): return __file__", "True"),  # a library that does not load
        ("", "False"),  # a torchvision of other parts than those known
    ],
    ids=["sound", "no library", "broken library", "unknown"],
)
def test_a_torchvision_whose_operators_load_is_left_alone(
    tmp_path: Path, finder: str, declared: str
):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')", encoding="utf-8")
    (package / "_internally_replaced_utils.py").write_text(finder, encoding="utf-8")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import torch\n"
        "print(ensure_torchvision(), ensure_torchvision(), hasattr(torch.ops.torchvision, 'qnms'))"
    )
    assert words(code) == [declared] * 3


def test_without_torchvision_nothing_is_declared():
    code = (
        "import sys, torch\n"
        "class Without:\n"
        "    def __init__(self, finder): self.finder = finder\n"
        "    def find_spec(self, name, *more):\n"
        "        return None if name == 'torchvision' else self.finder.find_spec(name, *more)\n"
        "sys.meta_path[:] = map(Without, sys.meta_path)\n"
        "print(ensure_torchvision(), hasattr(torch.ops.torchvision, 'nms'))"
    )
    assert words(code) == ["False", "False"]
