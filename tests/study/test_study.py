"""Studies on disk: finished cells stay, killed and failed ones are done again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from xmit.__main__ import main
from xmit.study.results import load_results

TESTS = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def study(tiny_encoder, tmp_path):
    """A study of two tasks on the tiny encoder, and the folder it goes to."""
    for role in ("intermediate", "target"):
        (tmp_path / role).mkdir()
    quick = {"trainer": {"max_steps": 4, "precision": "32-true"}}
    mine = {**quick, "data": {"class_path": "my_tasks.MyTask", "init_args": {"batch_size": 8}}}
    digits = {**quick, "data": {"class_path": "xmit.tasks.DigitsText", "init_args": {"batch_size": 8}}}
    (tmp_path / "target" / "mine.yaml").write_text(yaml.safe_dump(mine))
    (tmp_path / "intermediate" / "digits.yaml").write_text(yaml.safe_dump(digits))
    file = tmp_path / "study.yaml"
    settings = {
        "name": "s",
        "encoder": tiny_encoder,
        "seeds": [0, 1],
        "configs": ".",
        "intermediates": ["none", "digits"],
        "targets": ["mine"],
    }
    file.write_text(yaml.safe_dump(settings))
    return file, tmp_path / "out"


def run(study, *more):
    return main(["study", "--config", str(study[0]), "--output", str(study[1]), *more])


def test_study_runs_once_and_reports(study, capsys):
    assert run(study, "--dry-run") == 0
    assert "6 cells" in capsys.readouterr().out
    assert not study[1].exists()
    assert run(study, "--limit", "1") == 0
    assert run(study) == 0
    output = capsys.readouterr().out
    assert "6 cells, 1 done, 5 to run" in output
    assert (study[1] / "report.html").is_file()
    rows = load_results(study[1])
    assert set(zip(rows[rows.role == "target"].intermediate, rows[rows.role == "target"].seed, strict=True)) == {
        (i, s) for i in ("none", "digits") for s in (0, 1)
    }
    assert set(rows[rows.role == "intermediate"].target) == {""}
    times = {p: p.stat().st_mtime_ns for p in study[1].rglob("results.parquet")}
    assert run(study) == 0
    assert "all 6 cells are done" in capsys.readouterr().out
    assert times == {p: p.stat().st_mtime_ns for p in study[1].rglob("results.parquet")}
    for name in ("html", "markdown", "latex", "csv"):
        assert main(["report", str(study[1]), "--format", name]) == 0


def changed(study, **settings):
    study[0].write_text(yaml.safe_dump(yaml.safe_load(study[0].read_text()) | settings))


def test_what_a_changed_study_replaces_is_said(study, capsys):
    changed(study, seeds=[0])
    assert run(study, "--only", "none--mine-s0") == 0
    changed(study, trainer={"max_steps": 3})
    capsys.readouterr()
    for more in (["--dry-run"], ["--only", "none--mine-s0"]):
        assert run(study, *more) == 0
        said = capsys.readouterr().out
        assert "1 cell is finished with other settings" in said
        assert ("run again  none--mine-s0" in said) == (more == ["--dry-run"])
    assert run(study, "--dry-run", "--only", "none--mine-s0") == 0
    said = capsys.readouterr().out
    assert "1 done, 0 to run" in said
    assert "other settings" not in said
    assert "about" not in said


def test_a_renamed_study_stays_one(study):
    changed(study, seeds=[0])
    assert run(study, "--only", "none--mine-s0") == 0
    changed(study, name="another")
    assert run(study) == 0
    assert set(load_results(study[1])["study"]) == {"another"}
    assert len(pd.read_csv(study[1] / "report-summary.csv")["study"].unique()) == 1


@pytest.mark.parametrize("kind", ["file", "run", "study"])
def test_a_folder_of_something_else_is_refused(kind, study, capsys):
    out = study[1]
    changed(study, seeds=[0])
    if kind == "file":
        out.write_text("mine")
    elif kind == "run":
        (out / "checkpoints").mkdir(parents=True)
    else:
        assert run(study, "--only", "none--mine-s0") == 0
        before = (out / "none--mine-s0" / "results.parquet").read_bytes()
        changed(study, name="another", seeds=[3])
    said = {"file": "is a file", "run": "a single run", "study": "'s' with 1 finished cells that 'another' would"}[kind]
    for more in ([], ["--dry-run"]):
        capsys.readouterr()
        assert run(study, *more) == 1
        error = capsys.readouterr().err
        assert said in error
        assert "another --output" in error or "a folder as --output" in error
    if kind == "study":
        assert (out / "none--mine-s0" / "results.parquet").read_bytes() == before


def test_damaged_cell_is_done_again_and_equals_itself(study):
    assert run(study) == 0
    before = load_results(study[1])
    victim = study[1] / "digits--mine-s1" / "results.parquet"
    victim.write_bytes(victim.read_bytes()[:-40])
    assert run(study) == 0
    pd.testing.assert_frame_equal(before, load_results(study[1]))


def test_failed_cell_is_recorded_and_the_rest_goes_on(study, capsys):
    file, out = study
    settings = yaml.safe_load(file.read_text())
    settings["intermediates"] = {"none": None, "digits": {"model": {"learning_rate": float("inf")}}}
    settings["seeds"] = [0]
    file.write_text(yaml.safe_dump(settings))
    assert run(study) == 1
    output = capsys.readouterr().out
    assert "failed: digits-s0" in output
    assert "left out: digits-s0" in output
    assert (
        "the loss of digits_text was not a number"
        in json.loads((out / "digits-s0" / "error.json").read_text())["error"]
    )
    assert set(load_results(out)["intermediate"]) == {"none"}
    assert "digits-s0" in (out / "report.html").read_text()


def test_killed_study_goes_on(study):
    """Kill the process in the middle; what was finished is kept, the rest is done by the next one."""
    file, out = study
    command = [sys.executable, "-m", "xmit", "study", "--config", str(file), "--output", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.glob("*/done.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {p: p.stat().st_mtime_ns for p in out.glob("*/done.json")}
    assert 0 < len(finished) < 6
    assert run(study) == 0
    assert len(list(out.glob("*/done.json"))) == 6
    assert all(p.stat().st_mtime_ns == when for p, when in finished.items())
    killed = load_results(out)
    assert run((file, out.parent / "undisturbed")) == 0
    pd.testing.assert_frame_equal(killed, load_results(out.parent / "undisturbed"))


def test_a_wrong_setting_is_refused_before_anything_runs(study, capsys):
    file, out = study
    settings = yaml.safe_load(file.read_text())
    settings["trainer"] = {"max_stepz": 3}
    file.write_text(yaml.safe_dump(settings))
    assert run(study) == 1
    error = capsys.readouterr().err
    assert "max_stepz" in error
    assert error.strip().splitlines()[-1].startswith("xmit: cell ")
    assert not list(out.glob("*/done.json"))
