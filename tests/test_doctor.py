"""``doctor`` on machines as they are, and as they may be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from xmit import doctor as doctor_
from xmit import hardware
from xmit import trial as trial_
from xmit.__main__ import main
from xmit.doctor import runs_on
from xmit.trial import plan_encoder

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hardware.flash_attn_missing.cache_clear()
    yield
    hardware.flash_attn_missing.cache_clear()


@pytest.fixture
def untried(monkeypatch):
    """Leave out the trial itself."""
    tried = trial_.Trial(device=torch.device("cpu"), precision="32-true", seconds={"update": 1.0, "scoring": 1.0})
    monkeypatch.setattr(doctor_, "run_trial", lambda *_: tried)


def diagnosis(capsys, *words):
    code = main(["doctor", "--format", "json", *words])
    done = capsys.readouterr()
    report = json.loads(done.out)
    return code, {(f["group"], f["name"]): f for f in report["findings"]}, report, done.err


def gpu(
    monkeypatch, capability=(8, 0), bf16=True, arch=("sm_80", "sm_90"), count=1, flash="flash-attn is not installed"
):
    """A machine with NVIDIA GPUs, as far as it can be asked about them."""
    values = {
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "device_count": lambda: count,
        "get_device_properties": lambda i: SimpleNamespace(total_memory=80 * 10**9),
        "get_device_capability": lambda device=None: capability,
        "get_device_name": lambda device=None: "NVIDIA Paper",
        "get_arch_list": lambda: list(arch),
        "is_bf16_supported": lambda including_emulation=True: bf16,
    }
    for name, value in values.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(doctor_, "nvidia_smi", lambda: ["NVIDIA Paper, driver 580.1"] * count)
    monkeypatch.setattr(hardware, "flash_attn_missing", lambda: flash)
    hardware.flash_attn_missing.cache_clear = lambda: None
    monkeypatch.setattr(hardware, "torch_varlen", lambda: True)


def test_a_bare_machine_updates_and_scores_in_a_process_of_its_own(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "xmit", "doctor"], capture_output=True, text=True, cwd=tmp_path, timeout=300,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1",
             "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("one update and one scoring worked")
    assert sum("works (on cpu, " in line for line in lines) == 2
    assert any("HF_HUB_OFFLINE is set" in line for line in lines)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_a_config_is_tried_with_its_encoder_tower_and_device(capsys):
    config = str(ROOT / "configs/intermediate/digits_image.yaml")
    code, found, report, error = diagnosis(capsys, "--config", config, "--trainer.accelerator", "cpu")
    assert (code, error, report["works"]) == (0, "", True)
    assert found["trial", "encoder"]["value"] == "embedded:e5-small, its own weights"
    assert found["trial", "vision tower"]["value"].startswith("embedded:digits")
    assert found["trial", "update"]["verdict"] == found["trial", "scoring"]["verdict"] == "ok"
    assert "accelerator cpu" in found["device", "config"]["why"]


def test_an_encoder_that_is_not_at_hand_is_replaced_and_said_so(capsys):
    configs = ("configs/target/xnli.yaml", "configs/model/xlmr_large.yaml")
    words = [word for config in configs for word in ("--config", str(ROOT / config))]
    code, found, _, _ = diagnosis(capsys, *words)
    assert code == 0
    assert "xlm-roberta-large is not at hand" in found["trial", "encoder"]["value"]
    assert found["trial", "encoder"]["verdict"] == "warning"
    assert "heads of 64" in found["computing", "attention in training"]["why"]


def test_a_folder_is_tried_with_its_own_weights(tiny_encoder):
    plan = plan_encoder(tiny_encoder, None, online=False)
    assert (plan.source, plan.remedy) == (tiny_encoder, "")
    assert plan.config.hidden_size == 16


def test_an_encoder_of_a_type_that_is_not_taken_fails_in_one_line(tmp_path, capsys):
    from transformers import BertConfig

    BertConfig(hidden_size=16, num_attention_heads=2).save_pretrained(tmp_path)
    words = ("--config", str(ROOT / "configs/target/cldr_geo.yaml"), "--model.encoder", str(tmp_path))
    code, found, report, error = diagnosis(capsys, *words)
    assert (code, report["works"]) == (1, False)
    assert found["trial", "update"]["verdict"] == "problem"
    assert error.startswith("xmit: doctor: the update failed")
    assert "'bert'" in error
    assert error.count("\n") == 1


def test_a_failing_scoring_is_told_and_debug_raises(monkeypatch, capsys):
    def broken(self, outputs, batch):
        raise RuntimeError("CUDA error: no kernel image is available")

    monkeypatch.setattr(trial_.TrialTask, "decode", broken)
    code, found, _, error = diagnosis(capsys)
    assert code == 1
    assert found["trial", "update"]["verdict"] == "ok"
    assert "pytorch.org" in found["trial", "scoring"]["remedy"]
    assert error.startswith("xmit: doctor: the scoring failed on cpu: RuntimeError: CUDA error")
    with pytest.raises(Exception, match="no kernel image"):
        main(["doctor", "--debug"])


def test_a_config_that_fit_refuses_is_a_problem_and_the_rest_is_printed(capsys, untried):
    code, found, report, error = diagnosis(
        capsys, "--config", str(ROOT / "configs/target/cldr_geo.yaml"), "--model.typo=1"
    )
    assert (code, report["works"]) == (1, False)
    assert found["config", "config"]["verdict"] == "problem"
    assert ("host", "CPU cores") in found
    assert "typo" in error


def test_a_study_stands_for_its_cell_with_images(capsys, untried):
    code, _, report, _ = diagnosis(capsys, "--config", str(ROOT / "configs/study/demo.yaml"))
    assert code == 0
    assert "cell" in report["config"]
    assert "digits_image" in report["config"]


@pytest.mark.parametrize(
    ("machine", "dropout", "training", "scoring", "verdict"),
    [
        ({}, 0.1, "groups", "varlen", "warning"),
        ({}, 0.0, "varlen", "varlen", "ok"),
        ({"flash": None}, 0.1, "flash-attn", "flash-attn", "ok"),
        ({"capability": (7, 0), "bf16": False, "arch": ("sm_70",)}, 0.1, "groups", "groups", "note"),
    ],
)
def test_attention_on_a_gpu_is_told_with_its_reason(
    machine, dropout, training, scoring, verdict, monkeypatch, capsys, untried
):
    gpu(monkeypatch, **machine)
    config = str(ROOT / "configs/target/cldr_geo.yaml")
    code, found, _, _ = diagnosis(capsys, "--config", config, f"--model.dropout={dropout}")
    assert code == 0
    assert found["computing", "attention in training"]["value"] == training
    assert found["computing", "attention in training"]["verdict"] == verdict
    assert found["computing", "attention in scoring"]["value"] == scoring
    precision = "16-mixed" if "bf16" in machine else "bf16-mixed"
    assert found["computing", "precision"]["value"] == precision
    assert found["device", "cuda:0"]["verdict"] == "ok"
    assert "580.1" in found["device", "cuda:0"]["why"]


def test_the_cpu_asked_for_on_a_gpu_machine_gets_the_cpu_s_choices(monkeypatch, capsys, untried):
    gpu(monkeypatch)
    monkeypatch.setattr(hardware, "_cpu_bf16", lambda: False)
    config = str(ROOT / "configs/target/cldr_geo.yaml")
    _, found, _, _ = diagnosis(capsys, "--config", config, "--trainer.accelerator=cpu")
    assert found["device", "default"]["value"] == "cuda"
    assert (found["device", "config"]["value"], found["device", "config"]["verdict"]) == ("cpu", "warning")
    assert found["computing", "precision"]["value"] == "32-true"
    assert found["computing", "attention in training"]["value"] == "groups"
    assert found["host", "loader workers"]["value"] == "0"


def test_several_gpus_are_told_of(monkeypatch, capsys, untried):
    gpu(monkeypatch, count=2)
    _, found, _, _ = diagnosis(capsys)
    assert found["device", "several"]["value"] == "all 2 GPUs"
    assert ("device", "cuda:1") in found


def test_a_gpu_without_kernels_in_this_torch_is_a_problem(monkeypatch, capsys, untried):
    gpu(monkeypatch, capability=(7, 0), bf16=False)
    _, found, _, _ = diagnosis(capsys)
    assert found["device", "cuda:0"]["verdict"] == "problem"
    assert "pytorch.org" in found["device", "cuda:0"]["remedy"]


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (["sm_80", "sm_90"], (8, 6), True),
        (["sm_80", "sm_90"], (7, 5), False),
        (["sm_80", "sm_90"], (10, 0), False),
        (["sm_80", "compute_90"], (12, 0), True),
        (["sm_90a"], (9, 0), True),
        (["sm_100", "sm_120"], (12, 0), True),
        (["sm_86"], (8, 0), False),
    ],
)
def test_kernels_run_on_later_gpus_of_their_major_version(architectures, capability, runs):
    assert runs_on(architectures, capability) is runs


@pytest.mark.parametrize(
    ("visible", "built", "says"),
    [
        (None, "13.0", "too old (found version 11040)"),
        ("", "13.0", "CUDA_VISIBLE_DEVICES is ''"),
        (None, None, "built for the CPU"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_a_warning(visible, built, says, monkeypatch, capsys, untried):
    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(doctor_, "nvidia_smi", lambda: ["Tesla K80, driver 470.2"])
    code, found, _, _ = diagnosis(capsys)
    assert code == 0
    finding = found["device", "cuda"]
    assert finding["verdict"] == "warning"
    assert "Tesla K80" in finding["value"]
    assert says in finding["why"]
    assert finding["remedy"]


def test_nvidia_smi_is_read_whatever_torch_says(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA A100-SXM4-80GB, 580.65.06'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor_.nvidia_smi() == ["NVIDIA A100-SXM4-80GB, driver 580.65.06"]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert doctor_.nvidia_smi() == []


def test_a_broken_flash_attn_is_named_and_passed_over(monkeypatch, tmp_path, capsys, untried):
    (tmp_path / "flash_attn.py").write_text("raise ImportError('flash_attn_2_cuda.so: undefined symbol: _ZN3c10')\n")
    monkeypatch.syspath_prepend(tmp_path)
    code, found, _, _ = diagnosis(capsys)
    assert code == 0
    assert found["versions", "flash-attn"]["verdict"] == "warning"
    assert "undefined symbol" in found["versions", "flash-attn"]["why"]


def test_extras_are_those_of_the_metadata(monkeypatch, capsys, untried):
    every = doctor_.metadata.version

    def version(name):
        if name == "matplotlib":
            raise doctor_.metadata.PackageNotFoundError(name)
        return "0.0.1" if name == "babel" else every(name)

    monkeypatch.setattr(doctor_.metadata, "version", version)
    _, found, _, _ = diagnosis(capsys)
    extras = doctor_.metadata.metadata("xmit").get_all("Provides-Extra")
    assert {name for group, name in found if group == "extras"} == set(extras)
    assert found["extras", "report"]["value"] == "without matplotlib"
    assert found["extras", "report"]["remedy"] == "pip install 'xmit[report]'"
    assert "babel" in found["extras", "demo"]["value"]  # too old


def test_a_hub_that_does_not_answer_costs_seconds_and_a_warning(monkeypatch, capsys, untried):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    code, found, _, _ = diagnosis(capsys)
    assert code == 0
    assert found["network", "hub"]["verdict"] == "warning"
    assert "127.0.0.1:9" in found["network", "hub"]["why"]


def test_little_shared_memory_is_a_warning_where_workers_need_it(monkeypatch, capsys, untried):
    gpu(monkeypatch)
    real = doctor_.shutil.disk_usage
    small = SimpleNamespace(total=64 * 2**20, free=64 * 2**20)
    monkeypatch.setattr(doctor_.shutil, "disk_usage", lambda path: small if str(path) == "/dev/shm" else real(path))
    monkeypatch.setattr(hardware, "loader_workers", lambda device, processes=1: 4)
    _, found, _, _ = diagnosis(capsys)
    assert found["host", "shared memory"]["verdict"] == "warning"
    assert "--shm-size" in found["host", "shared memory"]["remedy"]


def test_bf16_on_a_device_without_it_is_a_warning(monkeypatch, capsys, untried):
    monkeypatch.setattr(hardware, "computes_bf16", lambda device: False)
    config = str(ROOT / "configs/target/cldr_geo.yaml")
    _, found, _, _ = diagnosis(capsys, "--config", config, "--trainer.precision=bf16-mixed")
    assert found["computing", "precision"]["verdict"] == "warning"
    assert "auto" in found["computing", "precision"]["remedy"]


@pytest.mark.parametrize(
    ("config", "flash_attn"),
    [(None, True), pytest.param("configs/intermediate/digits_image.yaml", False, marks=pytest.mark.slow)],
)
def test_the_update_and_the_scoring_run_on_the_simulated_gpu(config, flash_attn, capsys):
    from cuda.device import Device

    words = () if config is None else ("--config", str(ROOT / config))
    with Device(flash_attn=flash_attn):
        hardware.flash_attn_missing.cache_clear()
        code, found, _, error = diagnosis(capsys, *words)
    assert (code, error) == (0, "")
    for part in ("update", "scoring"):
        assert found["trial", part]["why"].startswith("on cuda:0, bf16-mixed")
    assert found["computing", "attention in training"]["value"] == ("flash-attn" if flash_attn else "groups")
