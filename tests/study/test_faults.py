"""What goes wrong on real disks and machines, each tried."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from xmit.__main__ import main
from xmit.errors import StudyError
from xmit.files import no_room
from xmit.study.executors import prepare
from xmit.study.lock import LOCK, locked
from xmit.study.results import load_results

TESTS = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def study(tiny_encoder, tmp_path):
    """One intermediate and one target on the tiny encoder, two cells and the baseline."""
    quick = {
        "model": {"dropout": 0.2},
        "trainer": {"max_steps": 12, "val_check_interval": 4, "precision": "32-true", "accelerator": "cpu"},
    }
    for role, data in (("intermediate", "mix_tasks.Vowels"), ("target", "my_tasks.MyTask")):
        (tmp_path / role).mkdir()
        one = {**quick, "data": {"class_path": data, "init_args": {"batch_size": 8}}}
        (tmp_path / role / "one.yaml").write_text(yaml.safe_dump(one))
    (tmp_path / "target" / "two.yaml").write_text((tmp_path / "target" / "one.yaml").read_text())
    settings = {"name": "s", "encoder": tiny_encoder, "configs": ".", "intermediates": ["one"], "targets": ["two"]}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({**settings, "checkpoints": {"updates": 2}}))
    return file, tmp_path / "out"


def command(study, *more):
    return ["study", "--config", str(study[0]), "--output", str(study[1]), *more]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("when", "signum"),
    [
        ("update", signal.SIGTERM),
        pytest.param("update", signal.SIGINT, marks=SLOW),
        pytest.param("update", signal.SIGUSR1, marks=SLOW),
        pytest.param("validation", signal.SIGTERM, marks=SLOW),
        pytest.param("test", signal.SIGTERM, marks=SLOW),
        pytest.param("end", signal.SIGTERM, marks=SLOW),
    ],
)
def test_a_signal_saves_and_ends_the_study(when, signum, study, capsys, monkeypatch):
    """Wherever it comes; the same command then goes on and equals an undisturbed study bit for bit."""
    from xmit import MultimodalModule

    calls = {"update": "training_step", "validation": "validation_step", "test": "test_step", "end": "on_train_end"}
    original, count = getattr(MultimodalModule, calls[when]), [0]

    def once(self, *args):
        count[0] += 1
        if count[0] == (5 if when == "update" else 1):
            os.kill(os.getpid(), signum)
        return original(self, *args)

    monkeypatch.setattr(MultimodalModule, calls[when], once)
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    assert main(command(study)) == 128 + signum
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == handlers
    error = capsys.readouterr().err
    assert f"stopped by {signal.Signals(signum).name}" in error
    assert "goes on with: python -m xmit study" in error
    assert not list(study[1].glob("*/error.json"))
    assert not list(study[1].glob("one--*")) or when == "test"  # the study did not go on with the next cell
    if when != "test":
        last = torch.load(study[1] / "one-s0" / "checkpoints" / "last.ckpt", weights_only=True)
        assert last["global_step"] == {"update": 5, "validation": 5, "end": 12}[when]
    assert main(command(study)) == 0
    again = load_results(study[1])
    assert main(command((study[0], study[1].parent / "peace"))) == 0
    pd.testing.assert_frame_equal(again, load_results(study[1].parent / "peace"), check_exact=True)
    assert not list(study[1].rglob("*.ckpt"))


def test_a_fit_that_is_stopped_says_how_to_go_on(study, tmp_path, capsys, monkeypatch):
    from xmit import MultimodalModule

    original = MultimodalModule.training_step

    def once(self, batch, batch_idx):
        if self.global_step == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, batch, batch_idx)

    fit = ["fit", "--config", str(tmp_path / "target" / "two.yaml"), "--output", str(tmp_path / "r")]
    encoder = yaml.safe_load(study[0].read_text())["encoder"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with monkeypatch.context() as patch:
            patch.setattr(MultimodalModule, "training_step", once)
            assert main([*fit, "--model.encoder", encoder]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    error = capsys.readouterr().err
    assert "saved at update 7" in error
    words = error.split("goes on with: python -m xmit ")[1].split()
    assert main(words) == 0
    assert (tmp_path / "r" / "done.json").is_file()
    assert yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())["ckpt_path"] is None


def test_two_studies_do_not_share_a_folder(tmp_path):
    code = "import sys, time; from pathlib import Path; from xmit.study.lock import locked\n"
    code += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StudyError, match=f"in use by process {holder.pid} on .*another --output"), locked(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
    assert (tmp_path / LOCK).read_text()  # what a killed process leaves
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


@pytest.mark.slow
def test_the_clock_may_jump(study, monkeypatch):
    """Nothing is measured or decided by the time of day: not seconds, not checkpoints, not what is done."""
    real, jump = time.time, [0.0]

    def jumping():
        jump[0] = -3e8 if jump[0] >= 0 else 3e8
        return real() + jump[0]

    monkeypatch.setattr(time, "time", jumping)
    assert main(command(study)) == 0
    for done in study[1].glob("*/done.json"):
        assert 0 < json.loads(done.read_text())["seconds"] < 600
        os.utime(done, (5e9, 5e9))
    assert main(command(study, "--dry-run")) == 0
    assert main(command(study)) == 0


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("done.json", lambda b: b[: len(b) // 2]),
        pytest.param("done.json", lambda b: b.replace(b"identity", b"identitx"), marks=SLOW),
        pytest.param("done.json", lambda b: b"\x00" * len(b), marks=SLOW),
        ("results.parquet", lambda b: b[:-20]),
        pytest.param("results.parquet", lambda b: b[:40] + bytes([b[40] ^ 255]) + b[41:], marks=SLOW),
        pytest.param("predictions.parquet", lambda b: b[: len(b) // 2], marks=SLOW),
    ],
)
def test_a_damaged_cell_is_not_done_and_done_again(name, damage, study, capsys):
    assert main(command(study)) == 0
    before = load_results(study[1])
    file = study[1] / "none--two-s0" / name
    file.write_bytes(damage(file.read_bytes()))
    assert len(load_results(study[1])) < len(before)
    assert main(["report", str(study[1]), "--format", "csv"]) == 0  # the others can still be reported
    capsys.readouterr()
    assert main(command(study)) == 0
    assert "2 done, 1 to run" in capsys.readouterr().out
    pd.testing.assert_frame_equal(before, load_results(study[1]))


def test_a_cell_goes_on_only_from_its_own_checkpoint(tmp_path):
    run = tmp_path / "cell"
    assert prepare(run, "abc") is None
    last = run / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    last.write_bytes(b"x")
    for name in (".done.json.ab_d1234", ".results.parquet.4711", ".gitignore", ".env.template"):
        (run / name).write_text("half")
    assert prepare(run, "abc") == str(last)
    assert sorted(path.name for path in run.glob(".*")) == [".env.template", ".gitignore"]
    assert prepare(run, "other") is None
    assert not last.exists()


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


def evil(path):
    with path.open("wb") as file:
        pickle.dump({"state_dict": Evil(), "global_step": 3}, file)


def other_encoder(path):
    torch.save({"state_dict": {}, "head_specs": {}, "optimizer_states": [], "run_config": "{}", "global_step": 3}, path)


def half(path):
    path.write_bytes(b"PK\x03\x04 half a file")


@pytest.mark.parametrize("plant", [evil, pytest.param(other_encoder, marks=SLOW), pytest.param(half, marks=SLOW)])
def test_a_checkpoint_that_will_not_do_is_left_aside(plant, study, tmp_path, monkeypatch, recwarn):
    """A hostile pickle, one of another encoder and half a file: the cell begins anew, and no code runs."""
    monkeypatch.chdir(tmp_path)
    assert main(command(study, "--only", "none--")) == 0
    before = load_results(study[1])
    run = study[1] / "none--two-s0"
    identity = json.loads((run / "done.json").read_text())["identity"]
    (run / "done.json").unlink()
    (run / "started.json").write_text(json.dumps({"identity": identity}))
    (run / "checkpoints").mkdir()
    plant(run / "checkpoints" / "last.ckpt")
    assert main(command(study, "--only", "none--")) == 0
    assert not (tmp_path / "hacked").exists()
    pd.testing.assert_frame_equal(before, load_results(study[1]))


def test_hostile_and_foreign_checkpoints_are_refused_by_fit(study, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder = yaml.safe_load(study[0].read_text())["encoder"]
    fit = ["fit", "--config", str(tmp_path / "target" / "two.yaml"), "--model.encoder", encoder]
    for plant, message in ((evil, "cannot be read as a checkpoint of tensors"), (other_encoder, "other settings")):
        plant(tmp_path / "x.ckpt")
        assert main([*fit, "--output", str(tmp_path / "r"), "--ckpt_path", str(tmp_path / "x.ckpt")]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error or "run_config" in error
    assert not (tmp_path / "hacked").exists()
    assert main([*fit, "--ckpt_path", str(tmp_path / "y.ckpt")]) == 1
    assert "its folder holds x.ckpt" in capsys.readouterr().err


def test_a_full_disk_leaves_everything_readable(study, capsys):
    """Files may not grow beyond a limit, as on a disk that is full; then the limit goes and the study goes on."""
    import resource

    assert main(command(study, "--limit", "1", "--only", "none--")) == 0
    done = (study[1] / "none--two-s0" / "done.json").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        assert main(command(study)) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err
    assert "File too large while one-s0 ran" in error
    assert "the same command goes on" in error
    assert (study[1] / "none--two-s0" / "done.json").read_bytes() == done
    assert len(load_results(study[1])) > 0
    assert main(["report", str(study[1]), "--format", "csv"]) == 0
    assert main(command(study)) == 0
    assert len(list(study[1].glob("*/done.json"))) == 3


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    study = tmp_path / "s.yaml"
    settings = {"name": "s", "encoder": "embedded:e5-small", "targets": ["cldr_geo"]}
    study.write_text(yaml.safe_dump({**settings, "configs": str(TESTS.parent / "configs")}))
    words = ["study", "--config", str(study), "--output"]
    (tmp_path / "file").write_text("")
    for place in ("/proc/1/xmit", str(tmp_path / "file" / "out")):
        assert main([*words, place]) == 1
        assert "cannot be written" in capsys.readouterr().err
    if os.geteuid() != 0:
        pytest.skip("another user's rights are tried as root alone")
    for folder in (tmp_path, *tmp_path.parents):
        if os.access(folder, os.W_OK) and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    (tmp_path / "out").mkdir(mode=0o755)
    os.seteuid(65534)
    try:
        assert main([*words, str(tmp_path / "out")]) == 1
    finally:
        os.seteuid(0)
    error = capsys.readouterr().err
    assert "out/study.lock cannot be written (Permission denied)" in error
    assert error.strip().count("\n") == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(30, "Read-only file system"), "Read-only file system"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "No space left on device"),  # safetensors
        (ValueError("[Errno 28] Error writing bytes to file."), "No space left on device"),  # pyarrow
        (OSError(2, "No such file"), None),
        (ValueError("error 28"), None),
    ],
)
def test_what_a_full_disk_looks_like(error, said):
    assert no_room(error) == said
    outer = RuntimeError("outer")
    outer.__cause__ = error
    assert no_room(outer) == said
