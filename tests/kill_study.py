"""Kills a study with SIGKILL at random moments, starts it again each time, and compares with one left in peace.

    python -m tests.kill_study --kills 40                                     # a miniature, seconds a cell
    python -m tests.kill_study --kills 24 --config configs/study/demo.yaml --updates 50     # the demo study

Half of the kills wait for a file to be half written (checkpoints, result rows, done.json, encoder), the others come at
any time. It fails unless every cell is finished once and once only, and rows, predictions and encoders are those of the
undisturbed study, bit for bit.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).parents[1]
CHECKPOINTS = "checkpoints"


def tiny_encoder(folder):
    """A random XLM-R of two narrow layers, as in conftest.py."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    from xmit.modules.encoders import load_tokenizer

    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=250002, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=514, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    load_tokenizer("embedded:e5-small").save_pretrained(folder)


def miniature(folder):
    """A study of 5 cells on the tiny encoder: single task, mixture, dropout, validations, a checkpoint an update."""
    tiny_encoder(folder / "tiny")
    quick = {
        "model": {"dropout": 0.2, "learning_rate": 1e-3},
        "trainer": {
            "max_steps": 24, "max_epochs": -1, "val_check_interval": 5, "check_val_every_n_epoch": None,
            "accelerator": "cpu", "precision": "32-true",
        },
    }  # fmt: skip
    one = {"class_path": "mix_tasks.Vowels", "init_args": {"batch_size": 4}}
    both = {"name": "both", "tasks": [one, {"class_path": "mix_tasks.Odd", "init_args": {"batch_size": 4}}]}
    files = {
        "intermediate/vowels": one,
        "intermediate/both": {"class_path": "xmit.tasks.TaskMixture", "init_args": both},
        "target/mine": {"class_path": "my_tasks.MyTask", "init_args": {"batch_size": 8}},
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**quick, "data": data}))
    study = {
        "name": "kill", "encoder": str(folder / "tiny"), "seeds": [0], "intermediates": ["vowels", "both"],
        "targets": ["mine"], "configs": ".", "checkpoints": {"updates": 2},
    }  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return folder / "study.yaml"


def with_checkpoints(config, updates, folder):
    """A copy of a study file whose cells write a full checkpoint every so many updates."""
    study = yaml.safe_load(config.read_text())
    study["configs"] = str((config.parent / study.get("configs", "..")).resolve())
    study["checkpoints"] = {"updates": updates}
    copy = folder / config.name
    copy.write_text(yaml.safe_dump(study))
    return copy


class Study:
    """A study's process: forked from this one, which has imported everything, or with ``--spawn`` a new one."""

    spawn = False

    def __init__(self, config, folder):
        self.folder, self.code = folder, None
        self.log = folder.parent / f"{folder.name}.log"
        words = ["study", "--config", str(config), "--output", str(folder)]
        if self.spawn:
            path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
            command = [sys.executable, "-m", "xmit", *words]
            with self.log.open("a") as log:
                options = {"stdout": log, "stderr": subprocess.STDOUT, "cwd": ROOT}
                self.pid = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, **options).pid
            return
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            from xmit.__main__ import main

            code = 70
            try:
                code = main([*words])
            finally:
                sys.stdout.flush()
                os._exit(code)

    def running(self):
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is None

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def wait(self):
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code


def drafts(folder):
    """Files that are being written now."""
    found = set()
    for cell in folder.iterdir() if folder.is_dir() else ():
        for place in (cell, cell / CHECKPOINTS):
            with_dots = place.glob(".*") if place.is_dir() else ()
            found |= {p for p in with_dots if p.is_file()}
        if (cell / "encoder").is_dir() and not (cell / "results.parquet").exists():
            found |= set((cell / "encoder").iterdir())
    return found


def wait_to_kill(study, rng, since):
    """Wait for the moment: any time in the life of the process, or when a file is half written."""
    kind = rng.choice(["any", "writing"])
    if kind == "any":
        end = time.monotonic() + rng.uniform(0.0, 1.5) * since
        while study.running() and time.monotonic() < end:
            time.sleep(0.005)
        return
    old, skip = drafts(study.folder), rng.randrange(12)
    while study.running():
        new = drafts(study.folder) - old
        if new:
            if not skip:
                return
            skip, old = skip - 1, old | new
        time.sleep(0.002)  # leave the core to the study


def finished(folder):
    """When and how each cell was finished."""
    return {p.parent.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.glob("*/done.json")}


def outcome(folder):
    """Everything that must be the same: rows, predictions, the weights of encoders."""
    from xmit.files import file_hash
    from xmit.study.results import load_results

    rows = load_results(folder).sort_values(["cell", "language", "metric"]).reset_index(drop=True)
    hashes = {
        str(p.relative_to(folder)): file_hash(p)
        for pattern in ("*/predictions.parquet", "*/results.parquet", "*/encoder/*")
        for p in sorted(folder.glob(pattern))
    }
    return rows, hashes


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", help="a study file; a miniature by default")
    parser.add_argument("--updates", type=int, help="with --config: updates between full checkpoints (as it says)")
    parser.add_argument(
        "--undisturbed", help="with --config: this finished study to compare with, instead of running one"
    )
    parser.add_argument("--spawn", action="store_true", help="a new interpreter each time: slower, the same otherwise")
    args = parser.parse_args(arguments)
    Study.spawn = args.spawn
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(ROOT / "tests"))
    import mix_tasks
    import my_tasks

    import xmit.cli
    import xmit.report
    import xmit.study.runner

    assert all((mix_tasks, my_tasks, xmit.cli, xmit.report, xmit.study.runner))  # imported once, for all forks
    rng, work = random.Random(args.seed), Path(tempfile.mkdtemp(prefix="kill-study-"))
    config = Path(args.config).resolve() if args.config else miniature(work)
    if args.config and args.updates:
        config = with_checkpoints(config, args.updates, work)
    if not args.config:
        from xmit.modules.encoders import load_tokenizer

        load_tokenizer(str(work / "tiny"))
    begun = time.monotonic()
    peace = Path(args.undisturbed).resolve() if args.undisturbed else work / "peace"
    if not args.undisturbed:
        code = Study(config, peace).wait()
        assert code == 0, (work / "peace.log").read_text()
    alone = sum(json.loads(done)["seconds"] for _, done in finished(peace).values())
    cells = len(finished(peace))
    rows, hashes = outcome(peace)
    print(f"undisturbed: {cells} cells, {len(rows)} rows, {alone:.0f} s", flush=True)
    kills, rounds, resumed, hit = 0, 0, 0, collections.Counter()
    while kills < args.kills:
        folder = work / f"killed-{rounds}"
        rounds, first = rounds + 1, kills
        done = {}
        while True:
            study = Study(config, folder)
            if kills < args.kills:
                wait_to_kill(study, rng, alone / 4)
            if kills >= args.kills or not study.running():
                code = study.wait()
                assert code == 0, (work / f"{folder.name}.log").read_text()
                break
            study.kill()
            kills += 1
            hit.update({p.name.split(".")[1] if p.name[0] == "." else "encoder" for p in drafts(folder)})
            resumed += len(list(folder.glob("*/checkpoints/last.ckpt")))
            now = finished(folder)
            assert done.items() <= now.items(), f"a finished cell was touched: {set(done) - set(now)}"
            done = now
        now = finished(folder)
        assert done.items() <= now.items(), "a finished cell ran again"
        assert len(now) == cells
        again, other = outcome(folder)
        pd.testing.assert_frame_equal(rows, again, check_exact=True)
        assert hashes == other, {k for k in hashes | other if hashes.get(k) != other.get(k)}
        litter = [p for p in folder.rglob(".*") if p.is_file()] + list(folder.rglob("*.ckpt"))
        assert not litter, litter
        print(f"round {rounds}: {kills - first} kills, finished, rows, predictions and encoders equal", flush=True)
        shutil.rmtree(folder)
    print(
        f"{kills} kills in {rounds} rounds of {cells} cells, {time.monotonic() - begun:.0f} s; {resumed} of them left "
        f"a checkpoint to go on from; half-written files at the kill: {dict(hit)}; no cell was finished twice; all "
        f"equal to the undisturbed study, bit for bit"
    )
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
