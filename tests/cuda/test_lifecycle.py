"""Runs go on, are scored, predict, and leave stock encoders on a simulated GPU as on the CPU."""

from __future__ import annotations

import gc

import numpy as np
import pandas as pd
import pytest
import torch
from cuda.device import Device
from families import FUSIONS, IMAGES, TEXT, Classes
from lightning.pytorch import Callback
from running import assert_keeps_the_device_busy, assert_same, build, run, task_of
from transformers import AutoModel, AutoTokenizer

from xmit import MultimodalModule

pytestmark = pytest.mark.filterwarnings("ignore")

RESUMED = ["classification", "masked", "contrastive"]
MORE = {"val_check_interval": 4}


@pytest.mark.parametrize("name", [RESUMED[0], *(pytest.param(n, marks=pytest.mark.slow) for n in RESUMED[1:])])
def test_a_run_that_goes_on_ends_as_one_that_never_stopped(name, tiny_encoder, tmp_path):
    kind, options = TEXT[name], {"max_steps": 4, **MORE}
    whole = run(build(tiny_encoder), task_of(kind), tmp_path, Device(), **options)
    saved = str(tmp_path / "half.ckpt")

    class Save(Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if batch_idx == 1:
                trainer.save_checkpoint(saved)

    run(build(tiny_encoder), task_of(kind), tmp_path, Device(), callbacks=[Save()], **options)
    rest = run(build(tiny_encoder), task_of(kind), tmp_path, Device(), ckpt_path=saved, **options)
    assert rest.losses == whole.losses[2:]
    for split, rows in whole.results.items():
        pd.testing.assert_frame_equal(rows, rest.results[split])
    assert not rest.pageable
    on_the_cpu = run(build(tiny_encoder), task_of(kind), tmp_path, None, ckpt_path=saved, **options)
    np.testing.assert_allclose(on_the_cpu.losses, rest.losses, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["classification", *(pytest.param(n, marks=pytest.mark.slow) for n in TEXT if n != "classification")]
)
def test_validation_test_and_prediction_by_themselves(name, tiny_encoder, tmp_path):
    there, here = (
        run(build(tiny_encoder), task_of(TEXT[name]), tmp_path, device, stages=stages)
        for device, stages in ((Device(), stages_of(name)), (None, stages_of(name)))
    )
    assert_keeps_the_device_busy(there)
    if name != "ranking-pooler":  # untrained poolers tell nothing apart
        assert_same(there, here)
        assert list(there.predictions["id"]) == list(here.predictions["id"])
    if name in ("classification", "choice", "tagging"):
        assert list(there.predictions["prediction"]) == list(here.predictions["prediction"])


def stages_of(name):
    return ("test", "predict") if name.startswith("retrieval") else ("validate", "test", "predict")


@pytest.mark.parametrize("embedding", ["compact", pytest.param("full", marks=pytest.mark.slow)])
def test_what_was_trained_there_is_a_stock_encoder_here(embedding, tiny_encoder, tmp_path):
    device = Device()
    module = build(tiny_encoder, embedding=embedding)
    run(module, task_of(Classes), tmp_path, device, stages=("fit",))
    folder = str(tmp_path / "encoder")
    with device:
        module.to("cuda:0").eval().save_pretrained(folder)
        side = dict(
            AutoTokenizer.from_pretrained(folder)(
                ["red house", "a big river of stone"], padding=True, return_tensors="pt"
            )
        )
        with torch.no_grad():
            there = module.encode({name: value.to("cuda:0") for name, value in side.items()}).hidden.cpu()
    stock, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not report["unexpected_keys"]
    assert all("pooler" in key for key in report["missing_keys"])
    with torch.no_grad():
        here = stock.eval()(**side).last_hidden_state
    mask = side["attention_mask"].bool()
    torch.testing.assert_close(there[mask], here[mask], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_an_intermediate_run_with_images_hands_its_encoder_to_a_target(tiny_encoder, vision, tmp_path):
    first = build(tiny_encoder, vision, FUSIONS["prefix"])
    run(first, task_of(IMAGES["answers"]), tmp_path, Device(), stages=("fit",))
    first.save_pretrained(str(tmp_path / "encoder"))
    runs = [
        run(build(tiny_encoder, init_from=str(tmp_path / "encoder")), task_of(Classes), tmp_path, device)
        for device in (Device(), None)
    ]
    assert_keeps_the_device_busy(runs[0])
    assert_same(*runs)


@pytest.mark.slow
def test_a_checkpoint_of_the_device_is_scored_on_the_cpu(tiny_encoder, tmp_path):
    saved = str(tmp_path / "last.ckpt")
    there = run(build(tiny_encoder), task_of(Classes), tmp_path, Device())
    with Device():
        there.trainer.save_checkpoint(saved)
    module = MultimodalModule.load_from_checkpoint(saved, map_location="cpu")
    here = run(module, task_of(Classes), tmp_path, None, stages=("test",))
    pd.testing.assert_frame_equal(there.results["test"], here.results["test"], check_exact=False, atol=1e-4)


@pytest.mark.slow
def test_two_runs_after_each_other_leave_no_memory_on_the_device(tiny_encoder, tmp_path):
    device, held = Device(), []
    for _ in range(2):
        made = run(build(tiny_encoder), task_of(Classes), tmp_path, device)
        del made
        gc.collect()
        held.append(device.live_bytes)
    assert held[1] <= held[0] <= 2**20
