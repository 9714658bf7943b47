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

from descgui.__main__ import main

codes = [[line[0], main(line)] for line in json.loads(sys.argv[1])]
attempts = len(tried)
try:
    urllib.request.urlopen("http://localhost:9")
except OSError:
    print(json.dumps([codes, tried[:attempts], len(tried) > attempts]))
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
        lines.append(["study", "timm:test_resnet", *sets])
        lines.append(["descriptors", "--write-probes", str(tmp_path / "probes"), "--stride", "32"])
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, json.dumps(lines)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "QT_QPA_PLATFORM": "offscreen"},
    )
    assert done.returncode == 0, done.stderr
    codes, tried, blocked = json.loads(done.stdout.splitlines()[-1])
    assert codes == [[line[0], 0] for line in lines], done.stderr
    assert blocked, "the trial itself reached the network"
    assert tried == []
