"""How many kernels a layer of the encoder costs the host in an update."""

from __future__ import annotations

import pytest
from cuda.device import Device
from families import TEXT
from launches import count, encoder

BEFORE = {True: 80.7, False: 120.7}
"""Launches a layer by the stock code under autocast, with flash-attn and with groups; docs/performance.md."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flash", [True, False])
def test_a_layer_takes_a_third_fewer_launches_than_the_stock_one(flash, tmp_path):
    counts = []
    for layers in (1, 3):
        source = encoder(str(tmp_path / str(layers)), layers)
        launches, waits, pageable = count(source, TEXT["classification"], Device(flash_attn=flash))
        assert (waits, pageable) == (0, 0)
        counts.append(launches)
    assert 20 < (counts[1] - counts[0]) / 2 <= 2 / 3 * BEFORE[flash]
