"""Two processes (gloo, CPU) at the same global batch equal one: losses, metrics of uneven splits, a study."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from xmit.study.results import load_results

TESTS = Path(__file__).parent
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def settings(encoder, devices, folder):
    """16 examples an update over all processes; a test whose batches two processes cannot share evenly."""
    return {
        "model": {"encoder": encoder, "dropout": 0.0, "learning_rate": 1e-3},
        "trainer": {
            "max_steps": 12, "max_epochs": -1, "val_check_interval": 4, "accelerator": "cpu", "devices": devices,
            "precision": "32-true", "enable_progress_bar": False, "check_val_every_n_epoch": None,
            "callbacks": [{"class_path": "mix_tasks.Losses", "init_args": {"folder": str(folder)}}],
        },
        "data": {"class_path": "my_tasks.MyTask", "init_args": {"batch_size": 16 // devices, "eval_tokens": 17}},
    }  # fmt: skip


def execute(words, cwd):
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "xmit", *words]
    done = subprocess.run(command, cwd=cwd, env=environment, timeout=500, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def losses(folder):
    """The mean over processes of every update's loss."""
    seen = [[json.loads(line) for line in path.open()] for path in sorted(folder.iterdir())]
    return np.mean(seen, axis=0)


def test_losses_and_metrics_are_those_of_one_process(tiny_encoder, tmp_path):
    found = {}
    for devices in (1, 2):
        config = tmp_path / f"{devices}.yaml"
        config.write_text(yaml.safe_dump(settings(tiny_encoder, devices, tmp_path / f"losses{devices}")))
        execute(["fit", "--config", str(config), "--output", str(tmp_path / str(devices))], tmp_path)
        found[devices] = losses(tmp_path / f"losses{devices}"), load_results(tmp_path / str(devices))
    (one, rows), (two, other) = found[1], found[2]
    assert len(list((tmp_path / "losses2").iterdir())) == 2
    assert one.shape == two.shape == (12,)
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-5)
    pd.testing.assert_frame_equal(rows, other, check_exact=True)


def test_a_cell_of_two_processes_is_not_a_study_of_two(tiny_encoder, tmp_path):
    """Lightning starts the command line again in each process: that must be the cell's, not the study's."""
    for role, name in (("intermediate", "a"), ("target", "b")):
        (tmp_path / role).mkdir()
        config = settings(tiny_encoder, 2, tmp_path / f"losses-{name}")
        (tmp_path / role / f"{name}.yaml").write_text(yaml.safe_dump(config))
    study = {"name": "s", "encoder": tiny_encoder, "configs": ".", "intermediates": ["a"], "targets": ["b"]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    output = execute(["study", "--config", "study.yaml", "--output", "out"], tmp_path)
    assert output.count("study s: 3 cells") == 1
    assert len(list((tmp_path / "out").glob("*/done.json"))) == 3
    assert "all 3 cells are done" in execute(["study", "--config", "study.yaml", "--output", "out"], tmp_path)


def test_fsdp_starts_from_an_intermediate_and_leaves_a_whole_encoder(tiny_encoder, tmp_path):
    """``init_from``, training and ``encoder/`` under FSDP, as far as the CPU lets it run, against one process."""
    from transformers import AutoModel

    found = {}
    for devices in (1, 2):
        config = settings(tiny_encoder, devices, tmp_path / f"losses{devices}")
        config["model"] |= {"encoder": "embedded:e5-small", "init_from": tiny_encoder}
        if devices == 2:
            fsdp = {"process_group_backend": "gloo", "sharding_strategy": "FULL_SHARD", "state_dict_type": "full"}
            config["trainer"]["strategy"] = {"class_path": "mix_tasks.CpuFSDP", "init_args": fsdp}
        file = tmp_path / f"{devices}.yaml"
        file.write_text(yaml.safe_dump(config))
        execute(
            ["fit", "--config", str(file), "--output", str(tmp_path / str(devices)), "--save_encoder", "true"], tmp_path
        )
        weights = AutoModel.from_pretrained(tmp_path / str(devices) / "encoder", add_pooling_layer=False).state_dict()
        found[devices] = losses(tmp_path / f"losses{devices}"), load_results(tmp_path / str(devices)), weights
    np.testing.assert_allclose(found[1][0], found[2][0], rtol=0, atol=1e-5)
    pd.testing.assert_frame_equal(found[1][1], found[2][1], check_exact=True)
    for name, weight in found[1][2].items():
        np.testing.assert_allclose(weight, found[2][2][name], rtol=0, atol=2e-4, err_msg=name)
