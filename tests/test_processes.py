"""Runs on two processes (gloo, CPU) against runs on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from xmit.modules.encoders import load_text_encoder
from xmit.study.results import load_results

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


TEXT = {"mix_tasks.Vowels": 12, "mix_tasks.Odd": 8}
IMAGES = {"image_tasks.Brighter": 8, "image_tasks.StillOdd": 12}


def fit(folder, encoder, devices, sizes=TEXT, **model):
    """A mixture with so many examples an update of each task over all processes."""
    config = {
        "seed_everything": 5,
        "model": {"encoder": encoder, "dropout": 0.0, **model},
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


@pytest.mark.parametrize("kind", ["prefix", "cross_attention", "late"])
def test_images_and_text_train_on_two_processes_as_on_one(kind, tiny_encoder, tmp_path):
    """Updates of text leave the fusion without gradients, those of images the other head."""
    settings = {
        "vision": {"name": "embedded:digits", "random": True, "cache_dir": str(tmp_path / "features")},
        "fusion": {"kind": kind, "tokens": None if kind == "late" else 3},
        "learning_rate": 1e-3,
    }
    (one,), rows = fit(tmp_path / "one", tiny_encoder, 1, IMAGES, **settings)
    _, other = fit(tmp_path / "two", tiny_encoder, 2, IMAGES, **settings)
    assert {task for task, _ in one} == {"brighter", "odd"}
    key = ["language", "metric"]
    assert rows.set_index(key)["n"].to_dict() == other.set_index(key)["n"].to_dict()
    start, moved = load_text_encoder(tiny_encoder).state_dict(), 0.0
    for part in ("encoder", "fusion"):
        ours, theirs = (load_file(tmp_path / run / "run" / part / "model.safetensors") for run in ("one", "two"))
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            # a bias of keys has no gradient but rounding, which Adam makes steps of
            if "attention" not in name or not name.endswith(("key.bias", "in_proj_bias")):
                torch.testing.assert_close(value, theirs[name], atol=1e-4, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
            if name in start and part == "encoder":
                moved = max(moved, float((value - start[name]).abs().max()))
    assert moved > 2e-3  # so they are not equal for want of training
