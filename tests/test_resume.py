"""A run that was interrupted and goes on equals one that was not, bit for bit; and only the same run goes on."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
import yaml

from xmit import MultimodalModule, Trainer
from xmit.__main__ import main
from xmit.cli import XmitCLI
from xmit.study.results import load_results

pytestmark = pytest.mark.filterwarnings("ignore")
SINGLE = {"class_path": "mix_tasks.Vowels", "init_args": {"batch_size": 4}}  # ten updates an epoch, the last of one
MIXED = {
    "class_path": "xmit.tasks.TaskMixture",
    "init_args": {"name": "both", "tasks": [SINGLE, {"class_path": "mix_tasks.Odd", "init_args": {"batch_size": 6}}]},
}


class Stopped(Exception):
    """What an interruption looks like from within."""


class Losses(pl.Callback):
    """Every update's loss; may stop after one."""

    def __init__(self, stop_after=None, stop_before=None):
        self.losses, self.stop_after, self.validations = {}, stop_after, []
        self.stop_before = stop_before

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.losses[trainer.global_step] = (batch["task"], outputs["loss"].item())

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if self.stop_after is not None and trainer.global_step >= self.stop_after:
            raise Stopped

    def on_validation_start(self, trainer, module):
        if self.stop_before is not None and trainer.global_step >= self.stop_before:
            raise Stopped

    def on_validation_end(self, trainer, module):
        self.validations.append((trainer.global_step, float(trainer.callback_metrics["main_score"])))


def config(tiny_encoder, tmp_path, data, **trainer):
    settings = {
        "seed_everything": 3,
        "model": {"encoder": tiny_encoder, "learning_rate": 1e-3, "dropout": 0.2},
        "trainer": {
            "max_steps": 26,
            "max_epochs": -1,
            "val_check_interval": 4,
            "check_val_every_n_epoch": None,
            "accelerator": "cpu",
            "precision": "32-true",
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            **trainer,
        },
        "data": data,
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def fit(path, output, *extra, stop_after=None, stop_before=None):
    seen = Losses(stop_after, stop_before)
    arguments = ["fit", "--config", str(path), "--output", str(output), *extra]
    if stop_after is None and stop_before is None:
        XmitCLI(arguments, callbacks=[seen])
    else:
        with pytest.raises(Stopped):
            XmitCLI(arguments, callbacks=[seen])
    return seen


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("stop_before", [8, 28])
def test_no_validation_is_lost_between_a_checkpoint_and_it(stop_before, tiny_encoder, tmp_path):
    """Killed after an update that is both saved and validated, in its midst or at the end of training."""
    path = config(tiny_encoder, tmp_path, SINGLE, max_steps=28)
    whole = fit(path, tmp_path / "whole", "--save_every", "4")
    fit(path, tmp_path / "parts", "--save_every", "4", stop_before=stop_before)
    last = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == stop_before - 4
    second = fit(path, tmp_path / "parts", "--save_every", "4", "--ckpt_path", str(last))
    assert dict(second.validations) == {s: v for s, v in whole.validations if s >= stop_before}
    best = [torch.load(tmp_path / run / "checkpoints" / "best.ckpt", weights_only=True) for run in ("whole", "parts")]
    assert best[0]["global_step"] == best[1]["global_step"]
    assert all(torch.equal(value, best[1]["state_dict"][key]) for key, value in best[0]["state_dict"].items())


@pytest.mark.parametrize(
    ("data", "every", "stop_after", "workers"),
    [
        (SINGLE, "2", 7, 0),  # within an epoch
        (SINGLE, "1", 10, 0),  # at the end of an epoch
        (SINGLE, "1", 12, 0),  # where it was validated too
        (SINGLE, "null", 15, 0),  # saved by validations alone
        ({**SINGLE, "max_epochs": 5}, "4", 5, 0),  # the schedule asks for the length of an epoch
        (MIXED, "1", 9, 0),
        (MIXED, "1", 9, 2),  # with worker processes
        (MIXED, "3", 23, 0),
        (MIXED, "null", 14, 0),
    ],
)
def test_resumed_equals_uninterrupted(data, every, stop_after, workers, tiny_encoder, tmp_path):
    data = {**data, "init_args": {**data["init_args"], "num_workers": workers}}
    epochs = data.pop("max_epochs", -1)
    path = config(tiny_encoder, tmp_path, data, max_epochs=epochs)
    whole = fit(path, tmp_path / "whole", "--save_every", every)
    assert len(whole.losses) == 26
    first = fit(path, tmp_path / "parts", "--save_every", every, stop_after=stop_after)
    last = str(tmp_path / "parts" / "checkpoints" / "last.ckpt")
    at = torch.load(last, weights_only=True)["global_step"]
    assert 0 < at <= stop_after
    torch.manual_seed(99)  # whatever the new process has done before
    second = fit(path, tmp_path / "parts", "--save_every", every, "--ckpt_path", last)
    assert min(second.losses) == at + 1
    assert {**first.losses, **second.losses} == whole.losses
    assert {s: v for s, v in second.validations if s > at}.items() <= dict(whole.validations).items()
    # whatever last.ckpt was saved after, the validation of that update is behind it
    assert dict(first.validations).keys() >= {s for s in dict(whole.validations) if s <= at}
    best = [torch.load(tmp_path / run / "checkpoints" / "best.ckpt", weights_only=True) for run in ("whole", "parts")]
    assert best[0]["global_step"] == best[1]["global_step"]
    assert (
        load_results(tmp_path / "parts")
        .drop(columns="cell")
        .equals(load_results(tmp_path / "whole").drop(columns="cell"))
    )
    for key, value in weights(tmp_path / "whole").items():
        assert torch.equal(value, weights(tmp_path / "parts")[key]), key
    logs = []
    for run in ("whole", "parts"):
        with (tmp_path / run / "log.csv").open() as file:
            rows = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]
        if data["class_path"] == MIXED["class_path"]:
            # Lightning repeats the last loss of a task that was not drawn, if it knows one
            rows = [{k: v for k, v in row.items() if not k.endswith("/loss")} for row in rows]
        logs.append(sorted(tuple(sorted(row.items())) for row in rows))
    assert logs[0] == logs[1]


def test_a_killed_process_goes_on(tiny_encoder, tmp_path):
    """The same from outside: SIGKILL, then the command with --ckpt_path."""
    path = config(tiny_encoder, tmp_path, SINGLE, max_steps=60, val_check_interval=60)
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{Path(__file__).parents[1]}"}
    command = [sys.executable, "-m", "xmit", "fit", "--config", str(path), "--save_every", "4"]
    process = subprocess.Popen([*command, "--output", str(tmp_path / "killed")], env=environment, cwd=tmp_path)
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    begun = time.monotonic()
    while not last.is_file() and process.poll() is None and time.monotonic() - begun < 120:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    at = torch.load(last, weights_only=True)["global_step"]
    assert 0 < at < 60
    assert not (tmp_path / "killed" / "done.json").exists()
    fit(path, tmp_path / "killed", "--save_every", "20", "--ckpt_path", str(last))
    fit(path, tmp_path / "whole", "--save_every", "20")
    for key, value in weights(tmp_path / "whole").items():
        assert torch.equal(value, weights(tmp_path / "killed")[key]), key


@pytest.fixture
def interrupted(tiny_encoder, tmp_path):
    path = config(tiny_encoder, tmp_path, SINGLE)
    fit(path, tmp_path / "r", "--save_every", "1", stop_after=5)
    return path, str(tmp_path / "r" / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["--data", "mix_tasks.Odd"], "data.class_path"),
        (["--model.learning_rate", "0.5"], "model.learning_rate (0.001 there, 0.5 here)"),
        (["--data.batch_size", "8"], "data.init_args.batch_size"),
        (["--trainer.max_steps", "99"], "trainer.max_steps"),
        (["--seed_everything", "4"], "seed_everything"),
    ],
)
def test_only_the_same_run_goes_on(extra, named, interrupted, tmp_path, capsys):
    """LightningCLI would let the checkpoint's settings win over config and flags without a word."""
    path, last = interrupted
    arguments = ["fit", "--config", str(path), *extra, "--output", str(tmp_path / "other"), "--ckpt_path", last]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert named in error
    assert "--model.init_from" in error
    assert error.count("\n") == 1


def test_flags_beat_a_checkpoint_that_is_scored(interrupted, tmp_path):
    """The trap itself: hyper-parameters in a checkpoint do not change what validate was told."""
    path, last = interrupted
    cli = XmitCLI(
        [
            "validate",
            "--config",
            str(path),
            "--model.learning_rate",
            "0.5",
            "--ckpt_path",
            last,
            "--output",
            str(tmp_path / "v"),
        ]
    )
    assert cli.model.hparams["learning_rate"] == 0.5
    assert torch.load(last, weights_only=True)["hyper_parameters"]["learning_rate"] == 0.001


def test_another_task_is_refused_in_a_notebook_too(interrupted, tiny_encoder):
    from mix_tasks import Odd, Vowels

    _, last = interrupted
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    for task, settings, message in (
        (Odd(), {"dropout": 0.2, "learning_rate": 1e-3}, "init_from"),
        (Vowels(), {"dropout": 0.2, "learning_rate": 0.5}, "learning_rate"),
    ):
        module = MultimodalModule(encoder=tiny_encoder, **settings)
        with pytest.raises(Exception, match=message):
            Trainer(max_steps=26, **quiet).fit(module, task, ckpt_path=last)


@pytest.mark.parametrize("data", [SINGLE, MIXED], ids=["single", "mixture"])
def test_an_epoch_that_is_cut_goes_on_too(data, tiny_encoder, tmp_path):
    path = config(tiny_encoder, tmp_path, data, limit_train_batches=6, max_steps=16)
    whole = fit(path, tmp_path / "whole", "--save_every", "1")
    first = fit(path, tmp_path / "parts", "--save_every", "1", stop_after=6)
    last = str(tmp_path / "parts" / "checkpoints" / "last.ckpt")
    second = fit(path, tmp_path / "parts", "--save_every", "1", "--ckpt_path", last)
    assert {**first.losses, **second.losses} == whole.losses
