"""Studies whose folder is a URL: what is copied, when, and that the results are those of a folder."""

from __future__ import annotations

import json
import os
import shutil
import socket

import fsspec
import pandas as pd
import pytest
import yaml

from xmit.__main__ import main
from xmit.errors import StudyError
from xmit.study.lock import LOCK
from xmit.study.remote import open_folder
from xmit.study.results import COLUMNS, DONE, done_facts, load_results, mark_done, write_results

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def url():
    """A study's folder in fsspec's memory filesystem: a dictionary of this process, no path of any disk."""
    place = "memory://bucket/studies/s"
    yield place
    fs = fsspec.filesystem("memory")
    if fs.exists("/bucket"):
        fs.rm("/bucket", recursive=True)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Opens a URL on a machine with a cache of its own."""

    def at(name, url):
        monkeypatch.setenv("XMIT_CACHE", str(tmp_path / name))
        return open_folder(url)[1]

    return at


def finish(folder, value=0.5, encoder=b"", identity="id"):
    """What a finished cell leaves."""
    row = dict.fromkeys(COLUMNS, "") | {"cell": folder.name, "seed": 0, "is_main": True, "value": value, "n": 1}
    if encoder:
        (folder / "encoder").mkdir(parents=True)
        (folder / "encoder" / "model.safetensors").write_bytes(encoder)
    write_results(folder, pd.DataFrame([row]), None)
    mark_done(folder, identity, {"value": value})


def test_a_path_is_a_path(tmp_path):
    for output in (tmp_path, str(tmp_path), f"file://{tmp_path}", f"local://{tmp_path}"):
        assert open_folder(output) == (tmp_path, None)


@pytest.mark.parametrize("url", ["nosuch://bucket/s", "ftp://127.0.0.1:1/s"])
def test_what_cannot_be_opened_is_one_line(url, capsys):
    assert main(["report", url]) == 1
    assert f"xmit: {url} cannot be opened (" in capsys.readouterr().err


def test_another_machine_sees_what_is_finished_and_fetches_weights_when_it_needs_them(url, machine):
    here = machine("a", url)
    finish(here.folder / "mnli-s0", encoder=b"weights" * 100)
    finish(here.folder / "none--xnli-s0")
    (here.folder / "half-s0").mkdir()
    (here.folder / "half-s0" / "results.parquet").write_bytes(b"half")
    for cell in ("mnli-s0", "none--xnli-s0", "half-s0"):
        here.send(cell)
    there = machine("b", url)
    assert there.folder != here.folder
    there.fetch()
    assert sorted(p.parent.name for p in there.folder.glob("*/done.json")) == ["mnli-s0", "none--xnli-s0"]
    assert done_facts(there.folder / "mnli-s0", "id")
    assert done_facts(there.folder / "mnli-s0", "other") is None
    assert not (there.folder / "mnli-s0" / "encoder").exists()
    pd.testing.assert_frame_equal(load_results(url), load_results(here.folder))
    there.fetch_for("mnli--xnli-s0", "mnli-s0")
    assert (there.folder / "mnli-s0" / "encoder" / "model.safetensors").read_bytes() == b"weights" * 100
    assert done_facts(there.folder / "mnli-s0", "id")


def test_what_changes_or_goes_there_changes_or_goes_here(url, machine):
    here = machine("a", url)
    finish(here.folder / "x-s0", 0.25, encoder=b"old")
    finish(here.folder / "y-s0")
    here.send("x-s0")
    here.send("y-s0")
    there = machine("b", url)
    there.fetch()
    for path in sorted((here.folder / "x-s0").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    finish(here.folder / "x-s0", 0.75)
    here.send("x-s0")
    fs = fsspec.filesystem("memory")
    assert not fs.exists("/bucket/studies/s/x-s0/encoder/model.safetensors")  # nothing of the older run stays
    fs.rm("/bucket/studies/s/y-s0", recursive=True)
    there.fetch()
    assert load_results(there.folder)["value"].tolist() == [0.75]
    there.send_finished({"x-s0": "id", "y-s0": "id"})  # a copy is not sent back as if it had run here
    assert not fs.exists("/bucket/studies/s/y-s0")
    (here.folder / "z-s0").mkdir()
    finish(here.folder / "z-s0")
    here.send_finished({"x-s0": "id", "z-s0": "other"})
    assert not fs.exists(f"/bucket/studies/s/z-s0/{DONE}")
    here.send_finished({"x-s0": "id", "z-s0": "id"})
    assert fs.exists(f"/bucket/studies/s/z-s0/{DONE}")


def test_a_cell_that_stopped_here_goes_on_elsewhere(url, machine):
    here = machine("a", url)
    run = here.folder / "x-s0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "started.json").write_text("{}")
    (run / "checkpoints" / "last.ckpt").write_bytes(b"state")
    (run / "checkpoints" / ".last.ckpt.draft").write_bytes(b"half")
    here.send("x-s0")
    there = machine("b", url)
    there.fetch()
    assert not (there.folder / "x-s0").exists()
    there.fetch_for("x-s0", None)
    assert sorted(p.name for p in (there.folder / "x-s0").rglob("*")) == ["checkpoints", "last.ckpt", "started.json"]


def test_a_cell_that_comes_back_goes_on_from_where_it_was_last(url, machine):
    here, there = machine("a", url), machine("b", url)
    for remote, state in ((here, b"100"), (there, b"500")):
        remote.fetch_for("x-s0", None)
        (remote.folder / "x-s0" / "checkpoints").mkdir(parents=True, exist_ok=True)
        (remote.folder / "x-s0" / "started.json").write_text("{}")
        (remote.folder / "x-s0" / "checkpoints" / "last.ckpt").write_bytes(state)
        remote.send("x-s0")
    here.fetch_for("x-s0", None)
    assert (here.folder / "x-s0" / "checkpoints" / "last.ckpt").read_bytes() == b"500"


def test_a_target_starts_from_the_weights_of_the_last_run_of_its_intermediate(url, machine):
    here, there = machine("a", url), machine("b", url)
    finish(here.folder / "mnli-s0", encoder=b"old")
    here.send("mnli-s0")
    weights = there.folder / "mnli-s0" / "encoder" / "model.safetensors"
    there.fetch_for("mnli--xnli-s0", "mnli-s0")
    assert weights.read_bytes() == b"old"
    finish(here.folder / "again", encoder=b"new", identity="changed")
    shutil.rmtree(here.folder / "mnli-s0")
    (here.folder / "again").rename(here.folder / "mnli-s0")
    here.send("mnli-s0")
    there.fetch_for("mnli--xnli-s0", "mnli-s0")
    assert weights.read_bytes() == b"new"


def test_an_outdated_run_there_does_not_touch_what_is_new_here(url, machine):
    """A changed cell is under way here, or finished and not yet copied, while the URL has its run of before."""
    here = machine("a", url)
    for name in ("x-s0", "y-s0"):
        finish(here.folder / name, 0.25)
        here.send(name)
        shutil.rmtree(here.folder / name)
    (here.folder / "x-s0" / "checkpoints").mkdir(parents=True)
    (here.folder / "x-s0" / "checkpoints" / "last.ckpt").write_bytes(b"state")
    finish(here.folder / "y-s0", 0.75, identity="changed")
    plan = {"x-s0": "changed", "y-s0": "changed"}
    cells = [{"name": name, "identity": identity} for name, identity in plan.items()]
    (here.folder / "plan.json").write_text(json.dumps({"cells": cells}))
    here.send()
    for cells in (plan, None):  # None: as a report or a notebook would beside the study
        here.fetch(cells)
        assert (here.folder / "x-s0" / "checkpoints" / "last.ckpt").is_file()
        assert done_facts(here.folder / "y-s0", "changed")
    here.send_finished(plan)
    there = machine("b", url)
    there.fetch(plan)
    assert done_facts(there.folder / "y-s0", "changed")
    assert not (there.folder / "x-s0").exists()


def test_one_study_at_a_url(url, machine):
    remote, fs = machine("a", url), fsspec.filesystem("memory")
    with remote.locked():
        assert json.loads(fs.cat_file(f"/bucket/studies/s/{LOCK}"))["pid"] == os.getpid()
        with pytest.raises(StudyError, match=f"{url} is in use by process {os.getpid()} on "), remote.locked():
            pass
    assert not fs.exists(f"/bucket/studies/s/{LOCK}")
    for holder, refused in (({"pid": 2**22 + 1, "host": socket.gethostname()}, False), ({"pid": 1, "host": "x"}, True)):
        fs.pipe_file(f"/bucket/studies/s/{LOCK}", json.dumps(holder).encode())
        if refused:
            with pytest.raises(StudyError, match=f"delete {url}/{LOCK}"), remote.locked():
                pass
        else:
            with remote.locked():
                pass


@pytest.mark.slow
def test_a_study_at_a_url_moves_between_machines_and_equals_one_in_a_folder(
    url, machine, tiny_encoder, tmp_path, monkeypatch, capsys
):
    """The intermediate runs on one machine, its target and the baseline on another, and a third one reports."""
    quick = {"max_steps": 6, "precision": "32-true", "accelerator": "cpu"}
    for role, data in (("intermediate", "mix_tasks.Vowels"), ("target", "my_tasks.MyTask")):
        (tmp_path / role).mkdir()
        one = {"trainer": quick, "data": {"class_path": data, "init_args": {"batch_size": 8}}}
        (tmp_path / role / "one.yaml").write_text(yaml.safe_dump(one))
    study = tmp_path / "study.yaml"
    settings = {"name": "s", "encoder": tiny_encoder, "configs": ".", "intermediates": ["one"], "targets": ["one"]}
    study.write_text(yaml.safe_dump(settings))
    words = ["study", "--config", str(study), "--output"]
    machine("a", url)
    assert main([*words, url, "--only", "one-s0"]) == 0
    machine("b", url)
    assert main([*words, url]) == 0
    assert "3 cells, 1 done, 2 to run" in capsys.readouterr().out
    machine("c", url)
    assert main(["report", url, "--format", "csv"]) == 0
    assert not list((tmp_path / "c").rglob("model.safetensors"))
    found = load_results(url)
    fs = fsspec.filesystem("memory")
    assert {"plan.json", "report.html"} <= {p.rpartition("/")[2] for p in fs.ls("/bucket/studies/s", detail=False)}
    assert not fs.exists(f"/bucket/studies/s/{LOCK}")
    assert main([*words, f"file://{tmp_path / 'folder'}"]) == 0
    there = load_results(tmp_path / "folder")
    key = ["cell", "language", "metric"]
    pd.testing.assert_frame_equal(
        found.sort_values(key).reset_index(drop=True), there.sort_values(key).reset_index(drop=True), check_exact=True
    )
