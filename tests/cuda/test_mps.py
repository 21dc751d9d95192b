"""Every family trains and scores on a simulated Apple GPU: by the plain path, without fp64."""

from __future__ import annotations

import numpy as np
import pytest
from cuda.device import Device
from families import FUSIONS, IMAGES, TEXT
from running import assert_same, build, run, task_of

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "classification" else pytest.mark.slow) for name in TEXT],
)
def test_a_family_of_text_has_the_cpus_numbers(name, tiny_encoder, tmp_path):
    there, here = (
        run(build(tiny_encoder), task_of(TEXT[name]), tmp_path, device, precision=precision)
        for device, precision in ((Device(kind="mps"), "auto"), (None, "32-true"))
    )
    assert there.trainer.precision == "32-true"
    assert there.trainer.strategy.root_device.type == "mps"
    assert not there.update_waits
    assert not any(own.pinned for own in there.device.uploads)
    assert there.device.launched("test batch") > 0
    if name == "ranking-pooler":  # vectors all alike: rounding ranks them
        np.testing.assert_allclose(there.losses, here.losses, atol=1e-4)
    else:
        assert_same(there, here)


@pytest.mark.slow
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("name", IMAGES)
def test_a_family_with_images_has_the_cpus_numbers(name, fusion, tiny_encoder, vision, tmp_path):
    there, here = (
        run(build(tiny_encoder, vision, FUSIONS[fusion]), task_of(IMAGES[name]), tmp_path, device)
        for device in (Device(kind="mps"), None)
    )
    assert not there.update_waits
    assert_same(there, here)
