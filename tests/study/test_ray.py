"""A study on a Ray cluster of three nodes, one of which is killed, equals the same study here."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from xmit.__main__ import main
from xmit.errors import MissingDependencyError
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


@pytest.mark.slow
def test_a_node_dies_and_nothing_is_lost(study, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 by default, which a busy machine starves
    out = tmp_path / "ray"
    cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 0}))
    nodes = [patiently(lambda: cluster.add_node(num_cpus=1)) for _ in range(2)]
    killed = []

    def kill_a_node():
        """As soon as a cell on each node is under way and has a checkpoint."""
        end = time.monotonic() + 300
        while len(list(out.glob("*/checkpoints/last.ckpt"))) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        killed.extend(sorted(p.parent.parent.name for p in out.glob("*/checkpoints/last.ckpt")))
        cluster.remove_node(nodes[0], allow_graceful=False)
        cluster.add_node(num_cpus=1)

    killer = threading.Thread(target=kill_a_node)
    killer.start()
    try:
        command = ["study", "--config", str(study), "--output", str(out), "--executor", "ray"]
        assert main([*command, "--address", cluster.address]) == 0
    finally:
        killer.join()
        cluster.shutdown()
    assert len(killed) == 2
    assert main(["study", "--config", str(study), "--output", str(tmp_path / "local")]) == 0
    here, there = (
        load_results(tmp_path / name).sort_values(["cell", "language", "metric"]) for name in ("local", "ray")
    )
    pd.testing.assert_frame_equal(here.reset_index(drop=True), there.reset_index(drop=True), check_exact=True)
    identities = [
        {p.parent.name: json.loads(p.read_text())["identity"] for p in (tmp_path / name).glob("*/done.json")}
        for name in ("local", "ray")
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
