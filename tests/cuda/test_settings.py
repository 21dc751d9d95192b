"""Nothing that a user can set makes a GPU wait, but logging: batching, precision, clipping, loaders, bars."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
import torch.distributed as dist
from cuda.device import Device
from families import IMAGES, TEXT, Classes, Masked, Matched, Spans, Tags, mixture
from lightning.pytorch.loggers import CSVLogger
from running import UPDATES, Phases, assert_keeps_the_device_busy, assert_same, build, on, run, task_of, trainer

from xmit.errors import XmitError
from xmit.metrics.store import PredictionStore

pytestmark = pytest.mark.filterwarnings("ignore")

SETTINGS = {
    "grouped": (Classes, {"batching": "grouped"}, {}, {}),
    "padded": (Classes, {"batching": "padded"}, {}, {}),
    "padded-pairs": (Matched, {"batching": "padded"}, {}, {}),
    "padded-choices": (TEXT["choice"], {"batching": "padded"}, {}, {}),
    "padded-spans": (Spans, {"batching": "grouped", "max_length": 40, "stride": 8}, {}, {}),
    "full-embedding": (Classes, {}, {"embedding": "full"}, {}),
    "frozen-embedding": (Classes, {}, {"embedding": "frozen"}, {}),
    "checkpointing": (Classes, {}, {"checkpointing": True}, {}),
    "padded-checkpointing": (Tags, {"batching": "padded"}, {"checkpointing": True}, {}),
    "micro-batches": (Classes, {"train_tokens": 24}, {}, {}),
    "micro-batches-tags": (Tags, {"train_tokens": 24}, {}, {}),
    "micro-batches-masked": (Masked, {"train_tokens": 64, "max_length": 32}, {}, {}),
    "micro-batches-padded": (Classes, {"train_tokens": 24, "batching": "padded"}, {}, {}),
    "clip-by-value": (Classes, {}, {}, {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}),
    "no-clipping": (Classes, {}, {}, {"gradient_clip_val": None}),
    "accumulation": (Classes, {}, {}, {"accumulate_grad_batches": 2, "max_steps": 2, "val_check_interval": 4}),
    "inference-mode-off": (Classes, {}, {}, {"inference_mode": False}),
}
"""Task, its options, the module's, the trainer's."""
QUICK = {"padded", "checkpointing", "micro-batches", "clip-by-value"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SETTINGS]
)
def test_a_setting_has_the_cpus_numbers_and_never_waits(name, tiny_encoder, tmp_path):
    kind, options, model, more = SETTINGS[name]
    there, here = (
        run(build(tiny_encoder, **model), task_of(kind, **options), tmp_path, device, **more)
        for device in (Device(), None)
    )
    assert_keeps_the_device_busy(there)
    assert_same(there, here)


# -- precision and attention -------------------------------------------------------------------------------

HALF = {
    "16-mixed": {"precision": "16-mixed"},
    "16-mixed-value": {
        "precision": "16-mixed", "gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"
    },
    "16-mixed-no-clipping": {"precision": "16-mixed", "gradient_clip_val": None},
    "bf16-true": {"precision": "bf16-true"},
    "16-true": {"precision": "16-true"},
    "bf16-mixed-value": {
        "precision": "bf16-mixed", "gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "16-mixed" else pytest.mark.slow) for name in HALF]
)
@pytest.mark.parametrize("task", ["classification", pytest.param("contrastive", marks=pytest.mark.slow)])
def test_half_precision_with_clipping_never_waits(name, task, tiny_encoder, tmp_path):
    device = Device(flash_attn=True)
    there = run(build(tiny_encoder), task_of(TEXT[task]), tmp_path, device, **HALF[name])
    here = run(build(tiny_encoder), task_of(TEXT[task]), tmp_path, None)
    assert_keeps_the_device_busy(there)
    assert set(device.attention_calls) == {"flash_attn"}
    np.testing.assert_allclose(there.losses, here.losses, rtol=0.03)


@pytest.mark.slow
def test_micro_batches_in_fp16_never_wait(tiny_encoder, tmp_path):
    task = task_of(Classes, train_tokens=24)
    there = run(build(tiny_encoder), task, tmp_path, Device(), precision="16-mixed")
    here = run(build(tiny_encoder), task_of(Classes), tmp_path, None)
    assert_keeps_the_device_busy(there)
    np.testing.assert_allclose(there.losses, here.losses, rtol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["flash_attn", "varlen_attn", "sdpa"])
def test_dropout_and_checkpointing_in_bf16_never_wait(kernel, tiny_encoder, tmp_path):
    device = Device(flash_attn=kernel == "flash_attn", torch_flash=kernel != "sdpa")
    module = build(tiny_encoder, dropout=0.1, checkpointing=True)
    there = run(module, task_of(Classes), tmp_path, device, precision="bf16-mixed")
    assert_keeps_the_device_busy(there)
    training = "flash_attn" if kernel == "flash_attn" else "sdpa"  # torch's own kernel knows no dropout
    assert set(device.attention_calls) == {training, kernel}


def test_a_gpu_without_bf16_trains_in_fp16_by_groups(tiny_encoder, tmp_path):
    """A V100, on which somebody has installed flash-attn all the same."""
    device = Device(capability=(7, 0), bf16=False, flash_attn=True)
    there = run(build(tiny_encoder), task_of(Classes), tmp_path, device, precision="auto")
    assert there.trainer.precision == "16-mixed"
    assert_keeps_the_device_busy(there)
    assert set(device.attention_calls) == {"sdpa"}


def test_a_flash_attn_that_does_not_import_is_done_without(tiny_encoder, tmp_path, monkeypatch):
    package = tmp_path / "broken" / "flash_attn"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('undefined symbol: _ZN3c104cuda9SetDeviceEi')")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "flash_attn", raising=False)
    there = run(build(tiny_encoder), task_of(Classes), tmp_path, Device(), precision="bf16-mixed")
    assert_keeps_the_device_busy(there)
    assert set(there.device.attention_calls) == {"varlen_attn"}


@pytest.mark.slow
@pytest.mark.parametrize("heads", [4, 1])
def test_heads_that_flash_attention_does_not_know_take_groups(heads, tiny_encoder, tmp_path):
    """Of four values, which is no multiple of eight; and of 264, which is above 256."""
    from transformers import XLMRobertaConfig, XLMRobertaModel

    from xmit.modules.encoders import load_tokenizer

    config = XLMRobertaConfig.from_pretrained(tiny_encoder)
    config.num_attention_heads, config.num_hidden_layers = heads, 1
    config.hidden_size = 16 if heads == 4 else 264
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "odd")
    load_tokenizer(tiny_encoder).save_pretrained(tmp_path / "odd")
    device = Device(flash_attn=True)
    there = run(build(str(tmp_path / "odd")), task_of(Classes), tmp_path, device, precision="bf16-mixed")
    assert_keeps_the_device_busy(there)
    assert set(device.attention_calls) == {"sdpa"}


# -- loaders, bars, logs -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "masked", "contrastive"])
def test_loader_workers_give_the_same_batches_page_locked(task, tiny_encoder, tmp_path):
    there, here = (
        run(build(tiny_encoder), task_of(TEXT[task], num_workers=n), tmp_path, device)
        for n, device in ((2, Device()), (0, None))
    )
    assert_keeps_the_device_busy(there)
    assert_same(there, here)


def logged_phases(every, updates):
    """What the log of an update belongs to: it is written before the next begins."""
    return {f"update {i}" for i in range(updates) if (i + 1) % every == 0}


def test_the_progress_bar_waits_only_where_losses_are_logged(tiny_encoder, tmp_path, capsys):
    device = Device()
    more = {"max_steps": 8, "log_every_n_steps": 4, "limit_val_batches": 0, "val_check_interval": None}
    there = run(build(tiny_encoder), task_of(Classes, batch_size=4), tmp_path, device, enable_progress_bar=True, **more)
    assert len(there.losses) == 8
    # the bar shows the loss of an update after it, when the next one's phase has begun
    allowed = logged_phases(4, 8) | {"update 4", "update 8"}
    waits = {w.line: w.phase for w in device.waits if w.phase.startswith("update") and w.phase not in allowed}
    assert not waits
    assert len([w for w in device.waits if w.phase.startswith("update")]) <= 6


def test_a_logger_waits_only_where_losses_are_logged(tiny_encoder, tmp_path):
    device = Device()
    there = run(
        build(tiny_encoder), task_of(Classes, batch_size=4), tmp_path, device, max_steps=8, log_every_n_steps=4,
        limit_val_batches=0, val_check_interval=None, logger=CSVLogger(tmp_path),
    )  # fmt: skip
    assert len(there.losses) == 8
    phases = {w.phase for w in device.waits if w.phase.startswith("update")}
    assert phases == logged_phases(4, 8)


def test_a_mixture_never_waits(tiny_encoder, tmp_path):
    more = {"max_steps": 4, "val_check_interval": 4}
    there, here = (run(build(tiny_encoder), mixture(), tmp_path, device, **more) for device in (Device(), None))
    assert_keeps_the_device_busy(there)
    assert_same(there, here)


@pytest.mark.slow
def test_a_second_epoch_is_as_the_first(tiny_encoder, tmp_path):
    more = {"max_steps": -1, "max_epochs": 3, "val_check_interval": None}
    there, here = (run(build(tiny_encoder), task_of(Classes), tmp_path, device, **more) for device in (Device(), None))
    assert len(there.losses) == 3 * math.ceil(36 / 8)
    assert_same(there, here)
    assert not there.pageable
    lasts = {f"update {i}" for i in (4, 9, 14)}  # which are logged
    assert {w.phase for w in there.device.waits if w.phase.startswith("update")} <= lasts


# -- who computes, decides ---------------------------------------------------------------------------------


def test_a_run_on_the_cpu_of_a_machine_with_a_gpu_leaves_the_gpu_alone(tiny_encoder, tmp_path):
    """Precision, batches, pinning and the search follow the device that computes."""
    device, phases = Device(), Phases(None)
    with on(device):
        module, task = build(tiny_encoder), task_of(TEXT["ranking-mean"])
        made = trainer(tmp_path, None, [phases], accelerator="cpu", precision="auto")
        made.fit(module, task)
        made.test(module, task, verbose=False)
    alone = run(build(tiny_encoder), task_of(TEXT["ranking-mean"]), tmp_path, None, precision="auto")
    assert made.precision == alone.trainer.precision
    assert [float(loss) for loss in phases.losses] == alone.losses
    assert (device.launched(), device.uploads, device.peak_bytes, device.pins) == (0, [], 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("cpu_has_bf16", [True, False])
@pytest.mark.parametrize("name", ["retrieval", "ranking-mean"])
def test_a_search_by_the_host_takes_the_hosts_precision(name, cpu_has_bf16, tiny_encoder, tmp_path, monkeypatch):
    """A GPU with bf16 says nothing about the CPU that searches, nor one without."""
    from xmit import hardware
    from xmit.tasks import nearest

    monkeypatch.setattr(hardware, "_cpu_bf16", lambda: cpu_has_bf16)
    monkeypatch.setattr(nearest, "_FAST_FROM", 1)
    low, plain = set(), torch.Tensor.bfloat16
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: low.add(self.device.type) or plain(self))
    device = Device(bf16=not cpu_has_bf16)
    run(build(tiny_encoder), task_of(TEXT[name]), tmp_path, device, stages=("test",), precision="32-true")
    assert low == ({"cpu"} if cpu_has_bf16 else set())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["answers", "images"])
def test_the_tower_computes_the_cpus_features_on_the_device(name, tiny_encoder, tmp_path):
    runs = []
    for place, device in (("there", Device()), ("here", None)):
        module = build(tiny_encoder, tmp_path / place, {"kind": "prefix"})
        runs.append(run(module, task_of(IMAGES[name]), tmp_path, device))
    assert [op for _, op in runs[0].device.launches if "convolution" in op]
    assert_same(*runs, tolerance=2e-3)  # features are kept in half precision
    again = run(build(tiny_encoder, tmp_path / "there", {"kind": "prefix"}), task_of(IMAGES[name]), tmp_path, Device())
    assert again.losses == runs[0].losses  # out of the cache
    convolutions = [n for (_, op), n in again.device.launches.items() if "convolution" in op]
    assert not convolutions


def test_predictions_are_gathered_where_processes_know_no_tensors_of_the_host(tmp_path):
    """As NCCL: torchmetrics would gather what the store has laid on the host."""
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        with Device(count=2) as device:
            kept = PredictionStore(["item", "prediction"])
            items = torch.tensor([2, 0], device="cuda")
            kept.update({"item": items, "prediction": items + 5})
            assert kept.compute()["prediction"].tolist() == [5, 7]
            assert device.collectives
    finally:
        dist.destroy_process_group()


def test_an_unknown_token_is_the_promised_error_and_no_device_assert(tiny_encoder, tmp_path):
    task = task_of(Classes)
    batch = task.batch

    def strange(split, items):
        made = batch(split, items)
        if split == "train":
            made["text"]["input_ids"][0, 1] = 249_999  # in the vocabulary, but in no example
        return made

    task.batch = strange
    with pytest.raises((IndexError, XmitError), match=r"token 249999"):
        run(build(tiny_encoder), task, tmp_path, Device())


def test_losses_that_are_no_numbers_are_found_where_losses_are_logged(tiny_encoder, tmp_path):
    with pytest.raises(XmitError, match="not a number at or before update"):
        run(
            build(tiny_encoder, learning_rate=1e30, warmup=0.0),
            task_of(Classes),
            tmp_path,
            Device(),
            max_steps=UPDATES + 1,
        )
