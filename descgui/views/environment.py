"""Versions, devices, screens and folders, for the About page and for bug reports."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

from PySide6.QtCore import qVersion
from PySide6.QtGui import QGuiApplication

from descgui.models.engine_state import EngineState
from engine import api

Facts = dict[str, dict[str, str]]

_PACKAGES = (
    *("torch", "numpy", "opencv-python", "scikit-image"),
    *("pillow", "pyqtgraph", "safetensors", "pycuda"),
)


def _package_version(name: str) -> str:
    """Version of an installed package, read without importing it; "" if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def collect_facts(engine: EngineState) -> Facts:
    """All facts, by heading and name."""
    versions = {
        "Descriptor Space": api.__version__,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "Qt": qVersion(),
        "PySide6": _package_version("PySide6-Essentials") or _package_version("PySide6"),
    }
    versions |= {name: version for name in _PACKAGES if (version := _package_version(name))}
    devices = {device.name: device.title for device in engine.devices}
    if engine.stage == "loading":
        devices["engine"] = "PyTorch is still being loaded"
    elif engine.stage == "failed":
        devices["engine"] = engine.message
    screens = {}
    for number, screen in enumerate(QGuiApplication.screens(), start=1):
        size, ratio = screen.geometry(), screen.devicePixelRatio()
        name = screen.name() or str(number)
        screens[name] = (
            f"{size.width()}×{size.height()} at {ratio:g}, {screen.logicalDotsPerInch():.0f} dpi"
        )
    return {
        "Versions": versions,
        "Computer": {
            "System": platform.platform(),
            "Processor": platform.processor() or platform.machine(),
            "Qt platform": QGuiApplication.platformName(),
        },
        "Devices": devices,
        "Screens": screens,
        "Folders": {
            "Settings": str(api.config_dir()),
            "Cache": str(api.cache_dir()),
            "Data": str(api.user_data_dir()),
            "Log": str(api.log_dir()),
        },
    }


def facts_as_text(facts: Facts) -> str:
    """The facts as plain lines, for a bug report."""
    lines = []
    for heading, rows in facts.items():
        lines.append(heading)
        lines += [f"  {name}: {value}" for name, value in rows.items()]
    return "\n".join(lines) + "\n"


def about_text(engine: EngineState) -> str:
    """The facts as a page of Markdown."""
    lines = [f"# Descriptor Space {api.__version__}", "See what a dense image descriptor does."]
    for heading, rows in collect_facts(engine).items():
        lines += ["", f"### {heading}", ""]
        lines += [f"* **{name}**  {value}" for name, value in rows.items()]
    return "\n".join(lines) + "\n"
