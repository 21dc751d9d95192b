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
from safetensors.torch import load_file

from xmit.__main__ import main
from xmit.study.results import load_results

TESTS = Path(__file__).parent
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module", autouse=True)
def _environment():
    """What the processes that Lightning starts need to find this library and the tests' tasks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{TESTS}{os.pathsep}{TESTS.parent}")
        yield


def settings(encoder, devices, folder):
    """16 examples an update over all processes; a test whose batches two processes cannot share evenly."""
    return {
        "model": {"encoder": "embedded:e5-small", "init_from": encoder, "learning_rate": 1e-3, "weight_decay": 0.1},
        "trainer": {
            "max_steps": 12, "max_epochs": -1, "val_check_interval": 4, "accelerator": "cpu", "devices": devices,
            "precision": "32-true", "enable_progress_bar": False, "check_val_every_n_epoch": None,
            "gradient_clip_val": 0.5,
            "callbacks": [{"class_path": "mix_tasks.Losses", "init_args": {"folder": str(folder)}}],
        },
        "data": {"class_path": "my_tasks.MyTask", "init_args": {"batch_size": 16 // devices, "eval_tokens": 17}},
    }  # fmt: skip


def fit(folder, config):
    """Losses of every update, mean over processes; result rows; the encoder's weights."""
    file = folder / "in.yaml"
    file.write_text(yaml.safe_dump(config))
    words = ["fit", "--config", str(file), "--output", str(folder / "run"), "--save_encoder", "true"]
    if config["trainer"]["devices"] == 1:
        assert main(words) == 0
    else:  # Lightning starts the command line again, which must not be pytest's
        done = subprocess.run([sys.executable, "-m", "xmit", *words], timeout=1500, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    losses = [[json.loads(line) for line in path.open()] for path in sorted((folder / "losses").iterdir())]
    assert len(losses) == config["trainer"]["devices"]
    weights = load_file(folder / "run" / "encoder" / "model.safetensors")
    return np.mean(losses, axis=0), load_results(folder / "run"), weights


@pytest.fixture(scope="module")
def one(tiny_encoder, tmp_path_factory):
    """The run of one process."""
    folder = tmp_path_factory.mktemp("one")
    return fit(folder, settings(tiny_encoder, 1, folder / "losses"))


def assert_equal(one, two, encoder):
    assert one[0].shape == two[0].shape == (12,)
    np.testing.assert_allclose(one[0], two[0], rtol=0, atol=1e-5)
    pd.testing.assert_frame_equal(one[1], two[1], check_exact=True)
    assert one[2].keys() == two[2].keys()
    start = load_file(Path(encoder) / "model.safetensors")
    assert max(float(abs(weight - start[name]).max()) for name, weight in one[2].items()) > 2e-3  # it was trained
    for name, weight in one[2].items():
        if not name.endswith("key.bias"):  # no gradient but rounding, which Adam makes steps of
            np.testing.assert_allclose(weight, two[2][name], rtol=0, atol=2e-4, err_msg=name)


def test_losses_and_metrics_are_those_of_one_process(one, tiny_encoder, tmp_path):
    assert_equal(one, fit(tmp_path, settings(tiny_encoder, 2, tmp_path / "losses")), tiny_encoder)


def test_micro_batches_of_two_processes_are_the_batches_of_one(one, tiny_encoder, tmp_path):
    config = settings(tiny_encoder, 2, tmp_path / "losses")
    config["data"]["init_args"]["train_tokens"] = 12
    assert_equal(one, fit(tmp_path, config), tiny_encoder)


def test_fsdp_starts_from_an_intermediate_and_leaves_a_whole_encoder(one, tiny_encoder, tmp_path):
    """``init_from``, training, clipping, scoring and ``encoder/`` with the weights in pieces."""
    config = settings(tiny_encoder, 2, tmp_path / "losses")
    config["trainer"]["strategy"] = {
        "class_path": "mix_tasks.CpuFSDP", "init_args": {"process_group_backend": "gloo"}
    }  # fmt: skip
    assert_equal(one, fit(tmp_path, config), tiny_encoder)


def test_a_cell_of_two_processes_is_not_a_study_of_two(tiny_encoder, tmp_path, capsys):
    """Lightning starts the command line again in each process: that must be the cell's, not the study's."""
    for role, name in (("intermediate", "a"), ("target", "b")):
        (tmp_path / role).mkdir()
        config = settings(tiny_encoder, 2, tmp_path / f"losses-{name}")
        del config["model"]["init_from"]
        config["trainer"] |= {"max_steps": 4}
        (tmp_path / role / f"{name}.yaml").write_text(yaml.safe_dump(config))
    study = {"name": "s", "encoder": tiny_encoder, "configs": ".", "intermediates": ["a"], "targets": ["b"]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    words = ["study", "--config", str(tmp_path / "study.yaml"), "--output", str(tmp_path / "out"), "--only", "a--b"]
    assert main(words) == 0
    assert "3 cells, 0 done, 2 to run" in capsys.readouterr().out
    for cell in ("a-s0", "a--b-s0"):
        assert (tmp_path / "out" / cell / "done.json").is_file()
        assert "study" not in (tmp_path / "out" / cell / "output.txt").read_text()
    for name in "ab":
        assert len(list((tmp_path / f"losses-{name}").iterdir())) == 2
    assert main([*words, "--dry-run"]) == 0
    assert "2 done, 0 to run" in capsys.readouterr().out
