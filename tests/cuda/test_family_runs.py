"""Every family, head and fusion trains and scores on a simulated GPU with the CPU's numbers, and nothing waits for it.

A case runs three updates, a validation and a test. That no tensor of two devices meets, and that nothing of the host is
needed on the device, is seen to by the device itself.
"""

from __future__ import annotations

import numpy as np
import pytest
from cuda.device import Device
from families import FUSIONS, IMAGES, ROWS, TEXT
from running import assert_keeps_the_device_busy, assert_same, build, run, task_of

pytestmark = pytest.mark.filterwarnings("ignore")

TIED = {"ranking-pooler"}
"""Whose vectors are all alike after three updates, so that rounding ranks them: their scores are not compared."""
VARIANTS = {"classification-mean", "retrieval-margin", "ranking-pooler"}
"""Families under other options, whose runs belong to the slow tests."""
TYPICAL = {
    ("images", "prefix"),
    ("images-hard", "cross_attention"),
    ("answers", "late"),
    ("shown", "resampled"),
}
"""Of families with images and fusions those whose runs belong to the fast tests."""


def slow_unless(fast, *values):
    return pytest.param(*values, marks=() if fast else pytest.mark.slow)


def both(tiny_encoder, folder, kind, device, build_with=None, **options):
    """The run on the device, and in fp32 on the CPU."""
    runs = []
    for place, own in ((device, options), (None, {})):
        runs.append(run(build(tiny_encoder, **(build_with or {})), task_of(kind), folder, place, **own))
    return runs


@pytest.mark.parametrize("name", [slow_unless(name not in VARIANTS, name) for name in TEXT])
def test_a_family_of_text_has_the_cpus_numbers_and_never_waits(name, tiny_encoder, tmp_path):
    there, here = both(tiny_encoder, tmp_path, TEXT[name], Device())
    assert_keeps_the_device_busy(there)
    if name in TIED:
        np.testing.assert_allclose(there.losses, here.losses, atol=1e-4)
    else:
        assert_same(there, here)
    assert there.device.launched("test batch") > 0


@pytest.mark.parametrize(
    ("name", "fusion"), [slow_unless((name, f) in TYPICAL, name, f) for name in IMAGES for f in FUSIONS]
)
def test_a_family_with_images_has_the_cpus_numbers_and_never_waits(name, fusion, tiny_encoder, vision, tmp_path):
    more = {"vision": vision, "fusion": FUSIONS[fusion]}
    there, here = both(tiny_encoder, tmp_path, IMAGES[name], Device(), more)
    assert_keeps_the_device_busy(there)
    one_item = 1.01 / ROWS if name.startswith("images") else None  # the rank of one may turn on rounding
    assert_same(there, here, scores=one_item)


KERNELS = {"flash-attn": "flash_attn", "varlen": "varlen_attn", "groups": "sdpa"}
"""The attention kernels of packed batches, and what each calls."""
FAST = {("classification", "flash-attn"), ("tagging", "varlen")}


@pytest.mark.parametrize(
    ("name", "kernel"),
    [slow_unless((name, kernel) in FAST, name, kernel) for name in TEXT for kernel in KERNELS],
)
def test_a_family_of_text_in_bf16_takes_the_fast_attention(name, kernel, tiny_encoder, tmp_path):
    device = Device(flash_attn=kernel == "flash-attn", torch_flash=kernel != "groups")
    there, here = both(tiny_encoder, tmp_path, TEXT[name], device, precision="bf16-mixed")
    assert_keeps_the_device_busy(there)
    assert set(device.attention_calls) == {KERNELS[kernel]}
    np.testing.assert_allclose(there.losses, here.losses, rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("name", IMAGES)
def test_a_family_with_images_in_bf16_with_flash_attention(name, fusion, tiny_encoder, vision, tmp_path):
    more = {"vision": vision, "fusion": FUSIONS[fusion]}
    device = Device(flash_attn=True)
    there, here = both(tiny_encoder, tmp_path, IMAGES[name], device, more, precision="bf16-mixed")
    assert_keeps_the_device_busy(there)
    assert "flash_attn" in device.attention_calls or fusion == "cross_attention"
    np.testing.assert_allclose(there.losses, here.losses, rtol=0.02)
