"""A study on a Ray cluster of three nodes, one of which is killed, equals the same study here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from xmit.__main__ import main
from xmit.errors import MissingDependencyError
from xmit.study.remote import local_copy
from xmit.study.results import load_results

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def study(tiny_encoder, tmp_path):
    """Six cells, with a checkpoint every two updates."""
    quick = {
        "model": {"dropout": 0.2},
        "trainer": {
            "max_steps": 30,
            "val_check_interval": 10,
            "check_val_every_n_epoch": None,
            "max_epochs": -1,
            "precision": "32-true",
            "accelerator": "cpu",
        },
    }
    for role, name, data in (("intermediate", "one", "mix_tasks.Vowels"), ("target", "two", "my_tasks.MyTask")):
        (tmp_path / role).mkdir()
        settings = {**quick, "data": {"class_path": data, "init_args": {"batch_size": 8}}}
        (tmp_path / role / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    settings = {
        "name": "s", "encoder": tiny_encoder, "configs": ".", "seeds": [0, 1], "intermediates": ["one"],
        "targets": ["two"], "checkpoints": {"updates": 2}, "resources": {"num_cpus": 1},
    }  # fmt: skip
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def patiently(start):
    """Ray waits 30 seconds for a node, which a busy machine may not keep."""
    for _ in range(4):
        try:
            return start()
        except Exception as error:  # Ray raises nothing more precise
            if "timed out during startup" not in str(error):
                raise
    raise AssertionError("no node starts")


@pytest.fixture
def ftp(tmp_path):
    """An FTP server: a filesystem that fsspec knows and that is no path."""
    pytest.importorskip("pyftpdlib")
    (tmp_path / "server").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "pyftpdlib", "-i", "127.0.0.1", "-p", port, "-u", "me", "-P", "secret", "-w"]
    server = subprocess.Popen([*command, "-d", str(tmp_path / "server")], stderr=subprocess.PIPE, text=True)
    while "starting FTP" not in (line := server.stderr.readline()):
        assert line, "no FTP server"
    threading.Thread(target=server.stderr.read, daemon=True).start()  # it logs every command
    yield f"ftp://me:secret@127.0.0.1:{port}/s"
    server.kill()
    server.wait()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["folder", "url"])
def test_a_node_dies_and_nothing_is_lost(place, study, tmp_path, monkeypatch, request):
    """Nodes share a folder; or each has a home of its own, and only the URL in common."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    out = str(tmp_path / "ray") if place == "folder" else request.getfixturevalue("ftp")
    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 by default, which a busy machine starves
    monkeypatch.delenv("XMIT_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 0}))

    def node(name):
        return patiently(lambda: cluster.add_node(num_cpus=1, env_vars={"HOME": str(tmp_path / name)}))

    nodes = [node("first"), node("second")]
    killed = []

    def kill_a_node():
        """As soon as a cell on each node is under way and has a checkpoint."""
        end = time.monotonic() + 300
        while len(found := set(tmp_path.rglob("checkpoints/last.ckpt"))) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        killed.extend(sorted(p.parent.parent.name for p in found))
        cluster.remove_node(nodes[0], allow_graceful=False)
        node("third")

    killer = threading.Thread(target=kill_a_node)
    killer.start()
    try:
        command = ["study", "--config", str(study), "--output", out, "--executor", "ray"]
        assert main([*command, "--address", cluster.address]) == 0
    finally:
        killer.join()
        cluster.shutdown()
    assert len(killed) == 2
    found = load_results(out)
    if place == "url":  # what was lost lay nowhere else, and the others finished it
        (lost,) = {p.parent.name for p in (tmp_path / "first").rglob("started.json")}
        assert (tmp_path / "server" / "s" / lost / "done.json").is_file()
    assert main(["study", "--config", str(study), "--output", str(tmp_path / "local")]) == 0
    here, there = (
        rows.sort_values(["cell", "language", "metric"]).reset_index(drop=True)
        for rows in (load_results(tmp_path / "local"), found)
    )
    pd.testing.assert_frame_equal(here, there, check_exact=True)
    identities = [
        {p.parent.name: json.loads(p.read_text())["identity"] for p in folder.glob("*/done.json")}
        for folder in (tmp_path / "local", local_copy(out))
    ]
    assert identities[0] == identities[1]
    assert len(identities[0]) == 6


def test_without_ray_the_extra_is_named(study, tmp_path, monkeypatch, capsys):
    import builtins

    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "ray":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["study", "--config", str(study), "--output", str(tmp_path / "o"), "--executor", "ray"]) == 1
    assert str(MissingDependencyError("ray", "ray")) in capsys.readouterr().err


@pytest.mark.slow
def test_no_cluster_at_the_address_is_one_line(study, tmp_path, capsys):
    pytest.importorskip("ray")
    command = ["study", "--config", str(study), "--output", str(tmp_path / "o"), "--executor", "ray"]
    assert main([*command, "--address", "127.0.0.1:1"]) == 1
    error = capsys.readouterr().err
    assert "there is no Ray cluster at 127.0.0.1:1" in error
    assert error.strip().count("\n") == 0
