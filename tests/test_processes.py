"""Runs on two processes (gloo, CPU) against runs on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from xmit.study.results import load_results

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def fit(folder, encoder, devices):
    """A mixture with 12 and 8 examples an update over all processes."""
    sizes = {"mix_tasks.Vowels": 12, "mix_tasks.Odd": 8}
    config = {
        "seed_everything": 5,
        "model": {"encoder": encoder, "dropout": 0.0},
        "trainer": {
            "max_steps": 14,
            "max_epochs": -1,
            "accelerator": "cpu",
            "devices": devices,
            "precision": "32-true",
            "enable_progress_bar": False,
            "logger": False,
            "callbacks": [{"class_path": "mix_tasks.SeenItems", "init_args": {"folder": str(folder / "seen")}}],
        },
        "data": {
            "class_path": "xmit.tasks.TaskMixture",
            "init_args": {
                "name": "both",
                "updates_per_epoch": 7,
                "tasks": [{"class_path": c, "init_args": {"batch_size": n // devices}} for c, n in sizes.items()],
            },
        },
    }
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'tests'}{os.pathsep}{root}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "xmit", "fit", "--config", str(folder / "config.yaml"), "--output", "run"]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=300, capture_output=True)
    seen = [[json.loads(line) for line in path.open()] for path in sorted((folder / "seen").iterdir())]
    return seen, load_results(folder / "run")


def test_a_mixture_sees_the_same_examples_on_two_processes(tiny_encoder, tmp_path):
    (one,), rows = fit(tmp_path / "one", tiny_encoder, 1)
    (first, second), other = fit(tmp_path / "two", tiny_encoder, 2)
    assert len(one) == len(first) == len(second) == 14
    for (task, items), (left, mine), (right, yours) in zip(one, first, second, strict=True):
        assert task == left == right
        assert sorted(items) == sorted(mine + yours)
        assert not set(mine) & set(yours)
    assert {task for task, _ in one} == {"vowels", "odd"}
    key = ["language", "metric"]
    assert rows.set_index(key)["n"].to_dict() == other.set_index(key)["n"].to_dict()
