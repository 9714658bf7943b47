"""How an extra is installed depends on what the program runs from."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from engine import extras


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "constraints.txt").touch()
    monkeypatch.setattr(extras, "data_dir", lambda name: tmp_path / name)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="there is no make")
def test_in_the_checkouts_own_environment_make_installs_an_extra(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "prefix", str(checkout / ".venv"))
    assert extras.install_command("timm") == "make setup EXTRAS=timm"


@pytest.mark.parametrize("platform", ["win32", "linux"])
def test_in_any_other_environment_pip_installs_it_with_the_pinned_versions(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, platform: str
):
    monkeypatch.setattr(sys, "platform", platform)
    folder = ".venv" if platform == "win32" else "conda"
    monkeypatch.setattr(sys, "prefix", str(checkout / folder))
    assert extras.install_command("onnx") == (
        f'{sys.executable} -m pip install --constraint "{checkout / "constraints.txt"}" '
        f'--editable "{checkout}[onnx]"'
    )


def test_an_installed_package_keeps_its_torch(checkout: Path):
    (checkout / "constraints.txt").unlink()
    torch = importlib.metadata.version("torch").split("+")[0]
    assert extras.install_command("timm").endswith(
        f'-m pip install "descriptor-space[timm]" torch=={torch}'
    )
