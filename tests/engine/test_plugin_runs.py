"""A run is continued only by the code, and the weights, that began it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from engine.cli.run import main
from engine.descriptors import compute, plugins, registry, remembered
from engine.descriptors.code_files import code_files, digest
from engine.descriptors.plugins import code_sha256, load_plugin, plugin_fault
from engine.descriptors.registry import get_descriptor, make_spec
from engine.errors import ConfigError, ResultError
from engine.evaluation.fingerprint import Fingerprint, differences
from engine.evaluation.result import EvaluationResult
from engine.jobs.command_line import ViewOptions
from engine.jobs.evaluate import EvaluateJob, choose_descriptors
from engine.jobs.settings import EvaluateConfig, TrainConfig, resolve_settings
from engine.jobs.train import TrainJob
from engine.progress import CancelToken, JobContext, Note

PLUGIN = """
import sys
from dataclasses import dataclass
import torch
from engine.descriptors.base import DescriptorMap
from engine.descriptors.registry import register_descriptor
from engine.geometry.coords import CellGrid

SEED = 0

@dataclass(frozen=True, kw_only=True)
class Config:
    pass

class Mine:
    dim, shift_period_px, trained, half_precision = 8, 2, False, False

    def __init__(self):
        generator = torch.Generator().manual_seed(SEED)
        self.kernel = torch.randn(8, 3, 2, 2, generator=generator)

    def describe(self, images):
        values = torch.nn.functional.conv2d(images - 0.5, self.kernel, stride=2)
        return (DescriptorMap(torch.nn.functional.normalize(values, dim=1), CellGrid(2.0, 0.5)),)

@register_descriptor("mine", title="Mine", config=Config)
def build(config):
    return Mine()
"""


@pytest.fixture(autouse=True)
def all_as_before(fresh_home: Path) -> Iterator[None]:
    get_descriptor("daisy")
    entries, path, modules = dict(registry._ENTRIES), list(sys.path), set(sys.modules)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    registry._ENTRIES.clear()
    registry._ENTRIES.update(entries)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("descriptor_space_plugin_", "beside")):
            del sys.modules[name]
    plugins._loaded.clear()
    remembered._mentioned.clear()


def write_sequence(folder: Path, seed: int) -> None:
    """Four images of soft noise, each a little darker; nothing moves."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(seed).uniform(0, 255, (72, 96, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 2.0)
    for index in range(1, 5):
        cv2.imwrite(str(folder / f"{index}.png"), (soft * (1 - 0.1 * index)).astype(np.uint8))
        if index > 1:
            np.savetxt(folder / f"H_1_{index}", np.eye(3))


def never(options: ViewOptions) -> int:
    pytest.fail("no window was asked for")


def load(path: Path, *changes: tuple[str, str]) -> Path:
    code = PLUGIN
    for old, new in changes:
        assert old in code
        code = code.replace(old, new)
    path.write_text(code)
    load_plugin(path)
    return path


def evaluate(folder: Path, out: Path, *, stop_after: int = 0, resume: bool = False):
    config = EvaluateConfig(
        dataset=str(folder), descriptor=("mine",), device="cpu", long_edge_px=96, query_limit=30
    )
    job = EvaluateJob(config=config, choices=choose_descriptors(config, {}), out=out, resume=resume)
    cancel = CancelToken()
    if stop_after:
        seen: list[object] = []

        def stop(_begun: object, record: object) -> None:
            seen.append(record)
            if len(seen) > stop_after:
                cancel.cancel()

        job = replace(job, listener=stop)
    return job.run(JobContext(cancel=cancel))


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    for seed, name in enumerate(("i_light", "v_near")):
        write_sequence(tmp_path / "set" / name, seed)
    return tmp_path / "set"


def begin(tmp_path: Path, sequences: Path) -> Path:
    """A run that was stopped after two of its six pairs."""
    from engine.errors import JobCancelled

    with pytest.raises(JobCancelled):
        evaluate(sequences, tmp_path / "run", stop_after=2)
    return tmp_path / "run"


def test_a_run_is_continued_by_the_same_code(tmp_path: Path, sequences: Path) -> None:
    load(tmp_path / "mine.py")
    run = begin(tmp_path, sequences)
    result: EvaluationResult = evaluate(sequences, run, resume=True)
    assert len(result.seen) == 6
    (one,) = result.fingerprint.descriptors
    assert one.plugin == "mine.py"
    assert len(one.code_sha256 or "") == len(one.state_sha256 or "") == 64


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (("SEED = 0", "SEED = 1"), r"descriptors\[0\]\.code_sha256 was \w{12}… and is \w{12}… now"),
        (("CellGrid(2.0, 0.5)", "CellGrid(2.0, 0.6)"), r"descriptors\[0\]\.code_sha256"),
    ],
)
def test_another_seed_or_offset_in_the_file_is_refused_by_the_field(
    tmp_path: Path, sequences: Path, change: tuple[str, str], field: str
) -> None:
    load(tmp_path / "mine.py")
    run = begin(tmp_path, sequences)
    rows = (run / "rows.jsonl").read_bytes()
    load(tmp_path / "mine.py", change)
    with pytest.raises(ResultError, match=f"cannot be continued: {field}"):
        evaluate(sequences, run, resume=True)
    assert (run / "rows.jsonl").read_bytes() == rows


def test_another_module_beside_the_file_is_refused(tmp_path: Path, sequences: Path) -> None:
    beside = tmp_path / "beside_mine.py"
    beside.write_text("SEED = 0\n")
    change = ("SEED = 0", "from beside_mine import SEED")
    load(tmp_path / "mine.py", change)
    assert registry.build_descriptor(make_spec("mine")).kernel.std() > 0  # type: ignore[attr-defined]
    first = registry.build_descriptor(make_spec("mine")).kernel  # type: ignore[attr-defined]
    run = begin(tmp_path, sequences)
    beside.write_text("SEED = 7\n")  # of the same length, within the same second
    load_plugin(tmp_path / "mine.py")
    second = registry.build_descriptor(make_spec("mine")).kernel  # type: ignore[attr-defined]
    assert not torch.equal(first, second), "the module was not run again"
    with pytest.raises(ResultError, match=r"descriptors\[0\]\.code_sha256"):
        evaluate(sequences, run, resume=True)


def test_weights_that_the_plugin_loads_itself_are_seen(tmp_path: Path, sequences: Path) -> None:
    weights = tmp_path / "own.pt"
    torch.save(torch.ones(8, 3, 2, 2) * torch.arange(1, 9)[:, None, None, None], weights)
    change = (
        "torch.randn(8, 3, 2, 2, generator=generator)",
        f"torch.load({str(weights)!r}) * torch.randn(8, 3, 2, 2, generator=generator)",
    )
    load(tmp_path / "mine.py", change)
    run = begin(tmp_path, sequences)
    torch.save(torch.ones(8, 3, 2, 2), weights)
    compute._build.cache_clear()  # as in a process of its own
    with pytest.raises(ResultError, match=r"descriptors\[0\]\.state_sha256 was \w{12}…"):
        evaluate(sequences, run, resume=True)


def test_what_no_hash_sees_is_seen_in_the_maps(tmp_path: Path, sequences: Path) -> None:
    """A file that is read anew for every image stands for another library."""
    number = tmp_path / "number.txt"
    number.write_text("1")
    change = (
        "images - 0.5",
        f"images ** float(__import__('pathlib').Path({str(number)!r}).read_text()) - images.mean()",
    )
    load(tmp_path / "mine.py", change)
    run = begin(tmp_path, sequences)
    number.write_text("3")
    with pytest.raises(ResultError, match=r"descriptors\[0\]\.response differs"):
        evaluate(sequences, run, resume=True)


def test_a_response_may_be_rounded_otherwise_but_not_more(tmp_path: Path, sequences: Path) -> None:
    load(tmp_path / "mine.py")
    fingerprint = evaluate(sequences, tmp_path / "run").fingerprint
    assert Fingerprint.from_json(json.loads(json.dumps(fingerprint.to_json()))) == fingerprint
    (one,) = fingerprint.descriptors
    for change, count in ((0.001, 0), (0.1, 1)):
        moved = replace(one, response=tuple(value + change for value in one.response))
        other = replace(fingerprint, descriptors=(moved,))
        assert len(differences(fingerprint, other, descriptors=True)) == count


def test_the_settings_of_a_run_name_the_plugin(tmp_path: Path, sequences: Path) -> None:
    path = load(tmp_path / "mine.py")
    evaluate(sequences, tmp_path / "run")
    settings = yaml.safe_load((tmp_path / "run" / "evaluation.yaml").read_text("utf-8"))
    record = {"file": str(path), "code_sha256": code_sha256(get_descriptor("mine"))}
    assert settings["plugin"] == {"mine": record}


def test_a_forgotten_plugin_is_named(
    tmp_path: Path, sequences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = load(tmp_path / "mine.py")
    run = begin(tmp_path, sequences)
    registry._ENTRIES.pop("mine")
    plugins._loaded.clear()
    words = ["evaluate", "--config", str(run / "evaluation.yaml"), "--out", str(run), "--resume"]
    expected = f"there is no 'mine'; it was registered by {path}: add --plugin {path}"
    assert main(words, open_window=never) == 1
    assert expected in capsys.readouterr().err
    # Without the run's settings by what was loaded before, and by the settings where that is lost.
    remembered._mentioned.clear()
    with pytest.raises(ConfigError, match="add --plugin"):
        make_spec("mine")
    for kept in (tmp_path.parent).rglob("plugins.json"):
        kept.unlink()
    path.rename(tmp_path / "moved.py")
    with pytest.raises(ConfigError, match="one of your own needs --plugin FILE"):
        make_spec("mine")


def test_nothing_that_a_plugin_prints_is_among_the_results(
    tmp_path: Path, sequences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = load(
        tmp_path / "mine.py",
        ("SEED = 0", "SEED = 0\nprint('loaded')"),
        (
            "    def describe(self, images):\n",
            "    def describe(self, images):\n        print('d')\n",
        ),
        ("    return Mine()", "    print('built')\n    return Mine()"),
    )
    plugins._loaded.clear()
    capsys.readouterr()
    words = ["evaluate", "--dataset", str(sequences), "--descriptor", "mine", "--json"]
    words += [
        "--plugin",
        str(path),
        "--out",
        str(tmp_path / "run"),
        "--no-report",
        "--device",
        "cpu",
    ]
    assert main([*words, "--long-edge", "96", "--query-limit", "20"], open_window=never) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["fingerprint"]["descriptors"][0]["plugin"] == "mine.py"
    assert {"loaded", "built", "d"} <= set(said.err.splitlines())


def test_nor_is_what_c_code_or_another_process_prints(tmp_path: Path) -> None:
    import subprocess

    noisy = (
        "SEED = 0\nimport os\nos.write(1, b'bytes\\n')\nos.system('echo shouted')\nprint('said')"
    )
    path = load(tmp_path / "mine.py", ("SEED = 0", noisy))
    done = subprocess.run(
        [sys.executable, "main.py", "descriptors", "mine", "--json", "--plugin", str(path)],
        capture_output=True, text=True, check=True,
        cwd=Path(__file__).resolve().parent.parent.parent,
    )  # fmt: skip
    (entry,) = json.loads(done.stdout)
    assert entry["name"] == "mine"
    assert {"bytes", "shouted", "said"} <= set(done.stderr.splitlines())


def test_an_error_in_a_plugin_ends_with_its_file_and_line(
    tmp_path: Path, sequences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = "if images.shape[2] == 72: raise KeyError('odd')\n        values ="
    path = load(tmp_path / "mine.py", ("values =", late))
    number = [row.strip() for row in path.read_text().splitlines()].index(late.splitlines()[0]) + 1
    words = ["evaluate", "--dataset", str(sequences), "--descriptor", "mine", "--plugin", str(path)]
    words += ["--out", str(tmp_path / "run"), "--device", "cpu", "--long-edge", "96"]
    assert main(words, open_window=never) == 1
    said = capsys.readouterr().err
    assert f"{path}: line {number}: KeyError: 'odd'." in said
    assert "fault of the program" not in said


@pytest.mark.parametrize("command", ["match", "describe", "study", "train"])
def test_so_does_one_that_any_other_command_meets(
    command: str, tmp_path: Path, sequences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = "if images.shape[2] == 72: raise KeyError('odd')\n        values ="
    path = load(tmp_path / "mine.py", *TRAINABLE, ("values =", late))
    number = [row.strip() for row in path.read_text().splitlines()].index(late.splitlines()[0]) + 1
    folder = sorted(sequences.iterdir())[0]
    small = ("train.width=96", "train.height=72", "train.batch=1", "train.steps=1")
    words = {
        "match": [str(folder / "1.png"), str(folder / "2.png"), "--out", str(tmp_path / "m.csv")],
        "describe": [str(folder / "1.png"), "--out", str(tmp_path / "maps.npz")],
        "study": ["--dataset", str(sequences), "--long-edge", "96", "--out", str(tmp_path / "s")],
        "train": ["--photos", str(folder), "--run-dir", str(tmp_path / "t"),
                  *(word for one in small for word in ("--set", one))],
    }[command]  # fmt: skip
    named = ["mine"] if command == "study" else ["--descriptor", "mine"]
    words = [command, *named, *words, "--plugin", str(path), "--device", "cpu"]
    assert main(words, open_window=never) == 1
    said = capsys.readouterr().err
    assert f"{path}: line {number}: KeyError: 'odd'." in said
    assert "fault of the program" not in said


def test_nothing_that_a_plugin_prints_is_among_the_results_of_a_study(
    tmp_path: Path, sequences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = load(tmp_path / "mine.py", ("        values =", "        print('d')\n        values ="))
    capsys.readouterr()
    words = ["study", "mine", "--plugin", str(path), "--dataset", str(sequences), "--json"]
    words += ["--long-edge", "96", "--pairs", "1", "--device", "cpu", "--out", str(tmp_path / "s")]
    assert main(words, open_window=never) == 0
    said = capsys.readouterr()
    assert [one["descriptor"] for one in json.loads(said.out)["layers"]] == ["mine"]
    assert "d" in said.err.splitlines()


def test_an_error_of_the_program_is_no_plugin_s(tmp_path: Path) -> None:
    load(tmp_path / "mine.py")
    with pytest.raises(ValueError, match="ours") as caught:
        raise ValueError("ours")
    assert plugin_fault(caught.value) is None


# ---- training --------------------------------------------------------------------------------

TRAINABLE = (
    ("self.kernel = torch.randn(8, 3, 2, 2, generator=generator)",
     "self.module = torch.nn.Conv2d(3, 8, 2, 2)"),
    ("torch.nn.functional.conv2d(images - 0.5, self.kernel, stride=2)",
     "self.module(images - 0.5)"),
)  # fmt: skip


def train(folder: Path, run: Path, *, steps: int, resume: bool = False) -> list[str]:
    """A training of a few steps on noise; what it warns of."""
    if not folder.is_dir():
        folder.mkdir()
        for number in range(4):
            noise = np.random.default_rng(number).uniform(0, 255, (40, 56, 3)).astype(np.float32)
            soft = cv2.GaussianBlur(noise, (0, 0), 2).astype(np.uint8)
            cv2.imwrite(str(folder / f"{number}.png"), soft)
    words = ["batch=1", "width=48", "height=32", "points=30", "validation.pairs=1"]
    words += [f"steps={steps}", "validation.points=20", "saving.preview_every_steps=0"]
    config, _ = resolve_settings(
        TrainConfig,
        overrides=[f"train.{word}" for word in words],
        flags={"descriptor": "mine", "device": "cpu", "train": {"photos": {"folder": folder}}},
    )
    warnings: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, Note) and event.level == "warning":
            warnings.append(event.text)

    TrainJob(config=config, run_dir=run, resume=resume).run(JobContext(listen))
    return warnings


def test_a_training_names_the_plugin_and_tells_when_its_code_has_changed(tmp_path: Path) -> None:
    path = load(tmp_path / "mine.py", *TRAINABLE)
    photos, run = tmp_path / "photos", tmp_path / "run"
    assert train(photos, run, steps=2) == []
    settings = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    assert settings["plugin"]["mine"]["file"] == str(path)
    result = json.loads((run / "result.json").read_text("utf-8"))
    assert f"--plugin {path}" in result["command"]
    load(path, *TRAINABLE, ("SEED = 0", "SEED = 1"))
    (warning,) = train(photos, run, steps=3, resume=True)
    assert "plugin (the code of 'mine')" in warning


def test_what_no_gradient_reaches_is_refused_before_training(tmp_path: Path) -> None:
    stopped = ("    def describe", "    @torch.no_grad()\n    def describe")
    load(tmp_path / "mine.py", *TRAINABLE, stopped)
    with pytest.raises(ConfigError, match="no gradient reaches its weights"):
        train(tmp_path / "photos", tmp_path / "run", steps=2)


# ---- which files are a plugin's code ---------------------------------------------------------


def test_code_is_the_file_and_the_local_modules_it_imports_at_any_depth(tmp_path: Path) -> None:
    files = {
        "start.py": "import json, torch, engine.config\nimport beside_one\n"
        "def later():\n    from besides.inner import deep\n",
        "beside_one.py": "from beside_two import x",
        "beside_two.py": "x = 1",
        "besides/__init__.py": "",
        "besides/inner/__init__.py": "from . import deep",
        "besides/inner/deep.py": "from ..outer import y",
        "besides/outer.py": "y = 2",
        "unused.py": "",
    }
    for name, code in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code)
    start = tmp_path / "start.py"
    found = {path.relative_to(tmp_path).as_posix() for path in code_files(start)}
    assert found == set(files) - {"unused.py"}
    one = digest(code_files(start), start)
    (tmp_path / "unused.py").write_text("changed = True")
    assert digest(code_files(start), start) == one
    (tmp_path / "besides" / "outer.py").write_text("y = 3")
    assert digest(code_files(start), start) != one


def test_the_same_code_elsewhere_is_the_same_code(tmp_path: Path) -> None:
    digests = []
    for place in (tmp_path / "a", tmp_path / "b" / "c"):
        place.mkdir(parents=True)
        (place / "start.py").write_text("import beside_other")
        (place / "beside_other.py").write_text("x = 1")
        digests.append(digest(code_files(place / "start.py"), place / "start.py"))
    assert digests[0] == digests[1]


def test_built_in_descriptors_have_a_code_of_their_own(tmp_path: Path) -> None:
    daisy, msnet = (code_sha256(get_descriptor(name)) for name in ("daisy", "msnet_v0"))
    assert daisy != msnet
    assert code_sha256(get_descriptor("msnet_v1")) == msnet
