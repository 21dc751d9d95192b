"""Two processes with a simulated GPU each come to the results of one, though collectives take nothing of the host."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cuda.device import Device
from processes import TASKS, metrics, run_processes, run_task
from running import UPDATES

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

LIGHTNINGS = "_broadcast_sigterm_tensor"
"""Lightning asks all processes after every update whether one of them is to end, and waits for the answer."""
REFUSED = "No backend type associated with device type cpu"


@pytest.fixture(scope="module")
def two(tiny_encoder, tmp_path_factory):
    """What both processes left of every task."""
    return run_processes(tiny_encoder, tmp_path_factory.mktemp("two"), list(TASKS), REFUSED)


def test_tensors_of_the_host_are_refused_as_nccl_refuses_them(two):
    assert [own["refused"] for own in two] == [REFUSED] * 2


@pytest.mark.parametrize("name", TASKS)
def test_results_of_two_processes_are_those_of_one(name, two, tiny_encoder, tmp_path):
    one = run_task(name, tiny_encoder, tmp_path, Device(), 1)
    first, second = (own[name] for own in two)
    np.testing.assert_allclose(np.mean([first["losses"], second["losses"]], axis=0), one.losses, atol=1e-4)
    assert len(one.losses) == (0 if name.startswith("retrieval") else UPDATES)
    for own in (first, second):
        assert own["results"].keys() == one.results.keys()
        for split, rows in one.results.items():
            pd.testing.assert_frame_equal(rows, own["results"][split], check_exact=False, rtol=1e-4, atol=1e-4)
        assert list(own["predictions"]["id"]) == list(one.predictions["id"])
        if "prediction" in one.predictions:
            same = own["predictions"]["prediction"].astype(str) == one.predictions["prediction"].astype(str)
            assert same.mean() > 0.95  # rounding may turn a tie


@pytest.mark.parametrize("name", TASKS)
def test_splits_are_shared_unevenly_and_scored_without_waits(name, two):
    for own in two:
        done = own[name]
        assert not {line: n for line, n in done["update_waits"].items() if LIGHTNINGS not in line}
        assert not done["scoring_waits"]
        assert set(done["copies"].values()) == {1.0}
        assert not [op for phase, op in done["collectives"] if phase.endswith("batch")]
    assert two[0][name]["batches"] == two[1][name]["batches"]  # the one without a batch scores the last again


def test_metrics_of_two_processes_are_those_of_one(two):
    with Device() as device:
        one = metrics(device.device, slice(None))
    assert [own["metrics"] for own in two] == [one] * 2
