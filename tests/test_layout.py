"""The source tree, the pinned versions and the documents agree with each other."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import engine.api
from engine.extras import EXTRAS

REPOSITORY = Path(__file__).resolve().parent.parent
FIXED = {"cuda", "descgui", "engine", "main.py", "pyproject.toml", "resources", "tests"}
BESIDE = {
    ".ci",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "benchmarks",
    "constraints.txt",
    "docs",
}
EXTRA_MODULES = {
    *("h5py", "huggingface_hub", "kornia", "onnxruntime", "poselib", "timm", "torchvision"),
    "transformers",
}
NOT_OURS_TO_PIN = re.compile(r"nvidia-|cuda-|triton$")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WRITTEN = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])


def ours() -> list[Path]:
    """Every file of the project, relative to its root: tracked, or new and not ignored."""
    if not (REPOSITORY / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout, so what belongs to the project is not known")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout
    paths = [Path(name) for name in listed.decode().split("\0") if name]
    return [path for path in paths if (REPOSITORY / path).exists()]


def declared() -> list[Requirement]:
    """All dependencies, but for the extras that name other extras of this project."""
    extras = PROJECT["optional-dependencies"].values()
    found = [Requirement(text) for text in sum(extras, PROJECT["dependencies"])]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def pins() -> dict[str, Requirement]:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in found}


def pinned_version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return specifier.version


def run_python(code: str) -> str:
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_top_level_is_what_was_agreed():
    names = {path.parts[0] for path in ours()}
    assert names >= FIXED
    assert names <= FIXED | BESIDE


def test_the_cuda_folder_is_data():
    """A module or a sub-folder in it would shadow NVIDIA's namespace package of the same name."""
    held = [path for path in ours() if path.parts[0] == "cuda"]
    assert held
    assert all(len(path.parts) == 2 and path.suffix != ".py" for path in held), held


def test_no_test_folder_is_a_package():
    """``tests/engine/__init__.py`` would take the name of the engine itself."""
    assert not [path for path in ours() if path.parts[0] == "tests" and path.stem == "__init__"]


def test_every_package_folder_says_so():
    """A missing ``__init__.py`` makes a namespace package, which mypy treats differently."""
    folders = {
        path.parent
        for path in ours()
        if path.suffix == ".py" and path.parts[0] in {"engine", "descgui"}
    }
    assert folders
    assert not [folder for folder in folders if not (REPOSITORY / folder / "__init__.py").exists()]


def test_importing_every_module_of_the_engine_loads_no_window_and_no_extra():
    code = (
        "import importlib, pkgutil, sys, engine\n"
        "for module in pkgutil.walk_packages(engine.__path__, 'engine.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "unwanted = {'PySide6', 'shiboken6', 'pyqtgraph', 'descgui'}\n"
        f"print(*sorted((unwanted | {EXTRA_MODULES}) & set(sys.modules)))\n"
    )
    assert run_python(code).split() == []


def test_the_engines_door_opens_without_torch_or_a_window():
    code = (
        "import sys, engine.api\n"
        "print(*sorted({'torch', 'PySide6', 'shiboken6', 'pyqtgraph'} & set(sys.modules)))\n"
    )
    assert run_python(code).split() == []


def test_the_window_is_built_without_torch_an_extra_or_what_draws_plots():
    code = (
        "import sys\n"
        "from descgui.app import Application, make_application\n"
        "from descgui.models.bundle import make_models\n"
        "from engine import api\n"
        "application = make_application([])\n"
        "window = Application(api.ViewOptions(), make_models(None))\n"
        "slow = {'cv2', 'matplotlib', 'PIL', 'pyqtgraph', 'skimage', 'torch'}\n"
        "slow |= {'engine.images', 'engine.data.layouts', 'engine.inspection.requests'}\n"
        f"print(*sorted((slow | {EXTRA_MODULES}) & set(sys.modules)))\n"
    )
    assert run_python(code).split() == []


def test_matplotlib_is_loaded_with_the_first_figure_and_not_before():
    """Neither the window's modules nor any public name of the engine may load it."""
    code = (
        "import sys, engine.api, descgui.app\n"
        "for name in engine.api.__all__: getattr(engine.api, name)\n"
        "print('matplotlib' in sys.modules)\n"
        "from engine.figures import render_figure\n"
        "sample = engine.api.figure_content.Sample('a line', 0)\n"
        "print(render_figure(sample, '.svg')[:4].decode(), 'matplotlib.pyplot' in sys.modules)\n"
    )
    assert run_python(code).split() == ["False", "<svg", "False"]


def blocks_of_the_door() -> list[list[str]]:
    """The names in the two blocks of imports: without torch, and with it."""
    tree = ast.parse((REPOSITORY / "engine" / "api.py").read_text(encoding="utf-8"))
    return [
        [alias.name for line in block.body for alias in line.names]
        for block in tree.body
        if isinstance(block, ast.If)
    ]


def test_the_door_opens_every_name_that_the_type_checker_sees():
    names = [name for block in blocks_of_the_door() for name in block]
    assert len(names) == len(set(names))
    assert engine.api.__all__ == dir(engine.api) == sorted(names)
    assert not [name for name in names if not hasattr(engine.api, name)]
    with pytest.raises(AttributeError, match="no name 'nothing'"):
        _ = engine.api.nothing


def test_the_door_knows_which_names_load_torch():
    code = (
        "import sys, engine.api\n"
        "sys.modules['torch'] = None  # importing it fails\n"
        "def opens(name):\n"
        "    try: return hasattr(engine.api, name)\n"
        "    except ImportError: return False\n"
        "print(*filter(opens, engine.api.__all__))\n"
    )
    without, _ = blocks_of_the_door()
    assert sorted(run_python(code).split()) == sorted(without)


def test_nvidias_namespace_package_can_share_its_name_with_the_cuda_folder(tmp_path: Path):
    (tmp_path / "cuda" / "bindings").mkdir(parents=True)
    (tmp_path / "cuda" / "bindings" / "__init__.py").write_text("HERE = True\n", encoding="utf-8")
    code = (
        f"import sys; sys.path.append({str(tmp_path)!r}); import cuda.bindings as b; print(b.HERE)"
    )
    assert run_python(code).strip() == "True"


def test_every_declared_dependency_is_pinned_inside_its_range():
    pinned = pins()
    for requirement in declared():
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} has no line in constraints.txt"
        version = pinned_version(pinned[name])
        assert requirement.specifier.contains(version), f"{requirement} excludes {version}"


def test_what_the_dependencies_bring_along_is_pinned_too():
    pinned = pins()
    waiting = [canonicalize_name(requirement.name) for requirement in declared()]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or NOT_OURS_TO_PIN.match(name):
            continue
        seen.add(name)
        assert name in pinned, f"{name} has no line in constraints.txt"
        try:
            texts = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
        needed = [Requirement(text) for text in texts]
        waiting += [
            canonicalize_name(one.name)
            for one in needed
            if one.marker is None or one.marker.evaluate({"extra": ""})
        ]
    assert len(seen) > len(declared())


def test_the_program_knows_the_extras_as_they_are_declared():
    extras = PROJECT["optional-dependencies"]
    packages = {name: {Requirement(text).name for text in extras[name]} for name in extras}
    assert {name: set(EXTRAS[name]) for name in EXTRAS} == {
        name: packages[name] for name in packages.keys() - {"dev"}
    }


def test_torchvision_and_torch_are_pinned_as_a_pair():
    """torchvision 0.N+15 is built for torch 2.N; else the resolver would move torch."""
    torch, torchvision = (pinned_version(pins()[name]) for name in ("torch", "torchvision"))
    assert torch.startswith("2.")
    assert torchvision.startswith(f"0.{int(torch.split('.')[1]) + 15}.")


def test_the_torch_pin_fits_every_build_of_that_version():
    assert "+" not in pinned_version(pins()["torch"])


def test_one_opencv_wheel_is_installed():
    """Two of them unpack into the same folder and break each other."""
    names = {canonicalize_name(found.name) for found in importlib.metadata.distributions()}
    assert {name for name in names if name.startswith("opencv")} == {"opencv-python"}


def test_the_changelog_knows_the_version():
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(engine.__version__)}\b", text, re.MULTILINE)


def test_every_fault_in_the_table_names_tests_that_are_there():
    table = (REPOSITORY / "docs" / "RELIABILITY.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.startswith("| ") and "`" in line]
    faults = [line.split("|")[-2] for line in rows if line.count("|") == 5]
    assert len(faults) > 40
    for named in faults:
        files = re.findall(r"`([a-z0-9_/]+\.py)`", named)
        assert files, named
        for file in files:
            assert (REPOSITORY / "tests" / file).exists(), file


@pytest.mark.parametrize("document", WRITTEN, ids=lambda path: path.name)
def test_every_link_in_the_documents_leads_somewhere(document: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if re.match(r"https?://|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), f"{document.name} links to {target}, which does not exist"
        if anchor:
            assert anchor in headings(file), f"{document.name} links to the missing {target}"


def headings(file: Path) -> set[str]:
    """The anchors of a document's headings: lower case, words joined by hyphens."""
    found = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


def test_the_wheel_carries_both_packages_and_the_data_out_of_the_way(tmp_path: Path):
    pytest.importorskip("hatchling", reason="hatchling is not installed; `make setup-dev` does")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())

    info = f"descriptor_space-{engine.__version__}.dist-info"
    assert {name.split("/")[0] for name in held} == {"descgui", "engine", info}
    expected = {path.as_posix() for path in ours() if path.parts[0] in {"descgui", "engine"}}
    data = [path for path in ours() if path.parts[0] in {"cuda", "resources"}]
    expected |= {f"engine/_data/{path.as_posix()}" for path in data}
    assert {name for name in held if not name.startswith(info)} == expected
