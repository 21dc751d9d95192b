"""Files of a run: whole or not there."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from xmit.errors import DataError
from xmit.files import atomic_write
from xmit.study.results import (
    COLUMNS,
    RunInfo,
    is_done,
    load_results,
    mark_done,
    result_rows,
    write_results,
)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "study" / "cell"
    scores = pd.DataFrame(
        {
            "task": "t",
            "benchmark_version": "",
            "split": "test",
            "language": ["en", "sw"],
            "metric": "accuracy",
            "is_main": True,
            "value": [0.5, 0.25],
            "n": 4,
            "reason": "",
        }
    )
    rows = result_rows(scores, RunInfo("s", "cell", "target", "none", "e"), seed=3)
    predictions = pd.DataFrame(
        {"task": "t", "language": "en", "id": ["1"], "prediction": ["a"], "scores": [[0.5, 0.5]], "target": ["b"]}
    )
    write_results(folder, rows, predictions)
    (folder / "config.yaml").write_text("x: 1\n")
    mark_done(folder, "abc", {"seconds": 1.0})
    return folder


def test_rows_come_back(run):
    rows = load_results(run.parent.parent)
    assert tuple(rows.columns) == COLUMNS
    assert rows["value"].tolist() == [0.5, 0.25]
    assert set(rows["seed"]) == {3}
    assert set(rows["target"]) == {"t"}


def test_done_means_this_identity_and_whole_files(run):
    assert is_done(run, "abc")
    assert not is_done(run, "abd")
    with (run / "results.parquet").open("r+b") as file:
        file.seek(10)
        byte = file.read(1)
        file.seek(10)
        file.write(bytes([byte[0] ^ 1]))
    assert not is_done(run, "abc")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"identity": "abc"}', '{"identity": "abc", "files": 3}'])
def test_damaged_done_is_not_done(run, text):
    (run / "done.json").write_text(text)
    assert not is_done(run, "abc")


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")

    def fail(p):
        p.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_nothing_finished_says_so(tmp_path):
    with pytest.raises(DataError, match="no finished run"):
        load_results(tmp_path)


def test_cells_that_the_study_no_longer_has_are_left_out(run):
    (run.parent / "plan.json").write_text(json.dumps({"cells": [{"name": "cell", "identity": "new"}]}))
    with pytest.raises(DataError, match="no finished run"):
        load_results(run.parent)
    (run.parent / "plan.json").write_text(json.dumps({"cells": [{"name": "cell", "identity": "abc"}]}))
    assert len(load_results(run.parent)) == 2
