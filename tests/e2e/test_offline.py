"""Without any network everything but the downloads works, and nothing even tries to connect."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

REPOSITORY = Path(__file__).parents[2]
BLOCKED = """
import json, socket, sys, urllib.request

tried = []

def refuse(*arguments, **_):
    tried.append(repr(arguments[:2]))
    raise OSError("the network is blocked")

class Socket(socket.socket):
    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            refuse(address)
        super().connect(address)

    def connect_ex(self, address):
        return self.connect(address) or 0

socket.socket = Socket
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse

exec(sys.argv[2])
from descgui.__main__ import main

codes = [[line[0], main(line)] for line in json.loads(sys.argv[1])]
attempts = len(tried)
try:
    urllib.request.urlopen("http://localhost:9")
except OSError:
    print(json.dumps([codes, tried[:attempts], len(tried) > attempts]))
"""

# The doctor imports packages in processes of their own, which have a network.
FEWER_TRIALS = """
from engine.jobs import doctor
doctor._TRIAL.update(dict.fromkeys(doctor._TRIED_EXTRAS, ""))
"""

# Else the pauses before further trials take half a minute.
FEWER_RETRIES = """
from engine.data import download, hub
hub.Patience = lambda: download.Patience(retries=0)
"""


def test_all_commands_but_the_download_work_without_a_network(tmp_path: Path, fresh_home: Path):
    noise = np.random.default_rng(3).uniform(0, 255, (96, 128, 3)).astype(np.float32)
    plane = cv2.GaussianBlur(noise, (0, 0), 2)
    plane = ((plane - plane.min()) / np.ptp(plane) * 255).astype(np.uint8)
    sequence = tmp_path / "sets" / "v_moved"
    sequence.mkdir(parents=True)
    for index in (1, 2):
        cv2.imwrite(str(sequence / f"{index}.png"), plane[4 * index :, 4 * index :])
    (sequence / "H_1_2").write_text("1 0 -4\n0 1 -4\n0 0 1\n")
    images = [str(sequence / f"{index}.png") for index in (1, 2)]
    run, maps, trained = tmp_path / "run", tmp_path / "m.npz", tmp_path / "trained"
    fast = ["--descriptor", "descspace-fast"]
    tiny = "batch=1 width=48 height=32 points=40 steps=1 validation.pairs=1 mining.kind=none"
    settings = [word for one in tiny.split() for word in ("--set", f"train.{one}")]
    lines = [
        ["descriptors"],
        ["doctor"],
        ["demo", str(tmp_path / "demo")],
        ["match", *images, *fast, "--out", str(tmp_path / "m.csv")],
        ["describe", images[0], *fast, "--out", str(maps)],
        ["evaluate", "--dataset", str(sequence.parent), *fast, "--out", str(run)],
        ["report", str(run)],
        ["train", "--photos", str(sequence), "--run-dir", str(trained), *settings],
        ["export", str(trained), "--out", str(tmp_path / "w.safetensors")],
        ["view", *images, *fast, "--screenshot", str(tmp_path / "view.png")],
    ]
    if (
        importlib.util.find_spec("timm") is not None
    ):  # random weights, and no attempt to have others
        named = ["--descriptor", "timm:test_resnet@1"]
        lines.append(["describe", images[0], *named, "--out", str(tmp_path / "named.npz")])
        sets = ["--dataset", str(sequence.parent), "--out", str(tmp_path / "study")]
        lines.append(["study", "timm:test_resnet@1", "--query-limit", "20", *sets])
        lines.append(["descriptors", "--write-probes", str(tmp_path / "probes"), "--stride", "32"])
    codes, tried, blocked, told = run_blocked(lines, FEWER_TRIALS)
    assert codes == [[line[0], 0] for line in lines], told
    assert blocked, "the trial itself reached the network"
    assert tried == []


FILES = """
import sys, torch
from pathlib import Path
from engine.descriptors.families.libraries import use_library

folder = Path(sys.argv[3])
net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU()).eval()
image = torch.rand(1, 3, 64, 96)
torch.jit.trace(net, image).save(folder / "net.pt")
if "onnx" in sys.argv[4:]:
    from onnx import TensorProto, helper, numpy_helper, save
    shape = [1, 3, 64, 96]
    conv = helper.make_node("Conv", ["image", "w"], ["map"], strides=[2, 2], pads=[1] * 4)
    weights = numpy_helper.from_array(net[0].weight.detach().numpy(), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
            for name, size in (("image", shape), ("map", None))]
    graph = helper.make_graph([conv], "net", ends[:1], ends[1:], [weights])
    opset = helper.make_opsetid("", 17)
    save(helper.make_model(graph, opset_imports=[opset], ir_version=9), folder / "net.onnx")
if "transformers" in sys.argv[4:]:
    transformers = use_library("transformers", extra="transformers")
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=56, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained(folder / "vit")
"""


def test_networks_of_all_families_open_without_a_network_and_a_fetch_is_refused(
    tmp_path: Path, fresh_home: Path
):
    image = tmp_path / "a.png"
    noise = np.random.default_rng(3).uniform(0, 255, (64, 96, 3)).astype(np.float32)
    cv2.imwrite(str(image), cv2.GaussianBlur(noise, (0, 0), 2))
    libraries = {
        "onnx": f"onnx:{tmp_path / 'net.onnx'}",
        "transformers": f"transformers:{tmp_path / 'vit'}",
        "kornia": "kornia:xfeat",
    }
    there = {one: name for one, name in libraries.items() if importlib.util.find_spec(one)}
    names = {"exported": f"exported:{tmp_path / 'net.pt'}", **there}
    describing = [
        ["describe", str(image), "--descriptor", name, "--out", str(tmp_path / f"{library}.npz")]
        for library, name in names.items()
    ]
    codes, tried, blocked, told = run_blocked(describing, FILES, str(tmp_path), *names)
    assert codes == [["describe", 0]] * len(describing), told
    assert tried == []
    assert blocked
    if importlib.util.find_spec("timm") is None:
        return
    model = "timm:test_resnet.r160_in1k"
    fetching = ["--descriptor", model, "--download", "--out", str(tmp_path / "fetched.npz")]
    lines = [["download", model], ["describe", str(image), *fetching]]
    codes, tried, _, told = run_blocked(lines, FEWER_RETRIES)
    assert codes == [["download", 1], ["describe", 1]], told
    assert len(tried) >= 2
    assert told.count("cannot be reached") == 2, told
    assert "Traceback" not in told
    assert not (tmp_path / "fetched.npz").exists()


def run_blocked(
    lines: list[list[str]], before: str = "", *arguments: str
) -> tuple[list[list[object]], list[str], bool, str]:
    """Run command lines in one process that has no network.

    Returns:
        The exit codes, all attempts to connect, whether one would have been seen, and what was
        printed to the terminal.
    """
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, json.dumps(lines), before, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "QT_QPA_PLATFORM": "offscreen"},
    )
    assert done.returncode == 0, done.stderr
    codes, tried, blocked = json.loads(done.stdout.splitlines()[-1])
    return codes, tried, blocked, done.stderr
