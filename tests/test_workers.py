"""Loader workers, however they are started: the same batches, little sent, and clear words where they cannot run."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickletools
import signal
import subprocess
import sys
import types
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import worker_tasks
import yaml
from mix_tasks import Vowels
from small_trainer import trainer
from worker_tasks import Broken, KeepsIds, ManyVowels, Prose, ReadsIds, Shades, Tokenises

from xmit import MultimodalModule
from xmit.__main__ import main
from xmit.cli import XmitCLI
from xmit.data import workers
from xmit.data.image_spec import ImageSpec
from xmit.data.workers import packed
from xmit.errors import ConfigError, DataError
from xmit.hardware import loader_workers
from xmit.modules.vision import VisionConfig
from xmit.study.results import load_results
from xmit.tasks import TaskMixture
from xmit.tasks.datamodule import SplitBatches, TaskData

pytestmark = pytest.mark.filterwarnings("ignore")
ALL = ("fork", "spawn", "forkserver")


def flat(value, name=""):
    """All parts of a batch by their place, tensors as what they hold."""
    if isinstance(value, torch.Tensor):
        return {name: (str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes())}
    if hasattr(value, "__getstate__") and type(value).__module__.startswith("xmit"):
        value = vars(value)
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in flat(part, f"{name}/{key}").items()}
    return {name: value}


def bound(task, tokenizer, tmp_path):
    task.bind(tokenizer, ImageSpec(VisionConfig(**worker_tasks.TOWER, cache_dir=str(tmp_path / "features"))))
    return task


def mixture(**settings):
    tasks = [Vowels(batch_size=4), Shades(batch_size=6), Prose(batch_size=5)]
    return TaskMixture(tasks, sampling="uniform", updates_per_epoch=12, **settings)


def epochs(task, context="fork", n=2):
    """The batches of two epochs of training and of a test, by so many workers."""
    torch.manual_seed(3)
    task.multiprocessing_context = context
    train, test = task.train_dataloader(), task.test_dataloader()
    return [[flat(batch) for batch in loader] for loader in [train] * n + [test]]


@pytest.mark.parametrize("context", ["fork", "forkserver"])
def test_batches_of_workers_are_those_built_here(context, tokenizer, tmp_path):
    """Two epochs of text, cached images and masked text, by workers that stay."""
    here = epochs(bound(mixture(num_workers=0), tokenizer, tmp_path))
    assert [len(part) for part in here[:2]] == [12, 12]
    assert here[0] != here[1]
    assert {batch["/task"] for batch in here[0]} == {"vowels", "shades", Prose.metadata.name}
    assert any("/text/image" in batch for batch in here[2])
    assert epochs(bound(mixture(num_workers=2), tokenizer, tmp_path), context) == here


def test_an_epoch_that_is_cut_leaves_nothing_to_the_next(tokenizer, tmp_path):
    """Workers that stay have prepared batches that nobody took."""
    parts = []
    for n in (0, 2):
        torch.manual_seed(3)
        task = bound(Vowels(batch_size=4, num_workers=n), tokenizer, tmp_path)
        task.multiprocessing_context = "fork"
        loader = task.train_dataloader()
        loader.load_state_dict({"handed_out": 2})
        one = [flat(batch) for batch, _ in zip(loader, range(3), strict=False)]
        assert loader.state_dict()["handed_out"] == 6  # one more was asked for
        loader.sampler.set_epoch(1)
        parts.append((one, [flat(batch) for batch in loader]))
        assert loader.state_dict()["handed_out"] == 10
    assert parts[0] == parts[1]


# -- what is sent ----------------------------------------------------------------------------------------------


def strings(content):
    """All strings of a pickle, modules' names among them."""
    return {value for _, value, _ in pickletools.genops(content) if isinstance(value, str)}


def test_little_is_sent(tiny_encoder, tmp_path):
    """Neither trainer nor module, tables, tokenizer or tokens that lie in a file."""
    module, task = MultimodalModule(encoder=tiny_encoder), ManyVowels(batch_size=4)
    trainer(tmp_path, limit_val_batches=1).fit(module, task)
    assert task.trainer is not None
    content = packed(SplitBatches(task, "train").for_workers())
    sent = strings(content)
    assert "xmit.data.workers" in sent
    for name in ("lightning.", "xmit.modules.", "transformers", "datasets", "torch.nn"):
        assert not any(value.startswith(name) for value in sent), name
    assert any(value.endswith(".tokens") for value in sent)
    labels = 8 * 3000
    assert labels < len(content) < labels + 8000


def test_no_tower_is_sent_and_the_cache_is_opened_again(tokenizer, tmp_path):
    task = bound(Shades(batch_size=4), tokenizer, tmp_path)
    build = SplitBatches(task, "train").for_workers()
    assert task.image_spec._tower is not None
    there = workers._unpacked(packed(build)).func.__self__
    assert there.image_spec._tower is None
    assert there.image_spec.cache is not task.image_spec.cache
    assert flat(there.batch("train", [3, 9])) == flat(task.batch("train", [3, 9]))


def test_what_is_sent_builds_the_batches_of_every_family(tokenizer, tmp_path, monkeypatch):
    """Opened here, as a worker opens it."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "cuda")
    import families

    for name, make in {**families.TEXT, **families.IMAGES}.items():
        task = bound(make(batch_size=4), tokenizer, tmp_path)
        loaders = [(split, task.evaluation_loader(split)) for split in ("test", "validation")]
        loaders += [("train", task.train_dataloader())] if task.trains else []
        for split, loader in loaders:
            there = workers._unpacked(packed(loader.dataset.for_workers()))
            for which in loader.sampler:
                assert flat(there(which)) == flat(task.batch(split, which)), (name, split)


@pytest.mark.parametrize("part", [slice(None), slice(5, 800), slice(7, 7)])
def test_mapped_arrays_are_sent_as_their_place(part, tmp_path):
    numbers = np.arange(900, dtype=np.int32)
    (tmp_path / "file").write_bytes(bytes(64) + numbers.tobytes())
    whole = np.memmap(tmp_path / "file", np.uint8, "r")
    array = whole[64:].view(np.ndarray).view(np.int32)[part]
    content = packed(array)
    assert len(content) < 300
    assert (workers._unpacked(content) == numbers[part]).all()
    assert (workers._unpacked(packed(array[::2])) == numbers[part][::2]).all()
    (tmp_path / "file").unlink()
    if array.size:
        many = packed([whole[64 + 512 * i : 64 + 512 * (i + 1)].view(np.ndarray) for i in range(7)])
        assert len(many) < 800  # the file is named once, and opened once
        with pytest.raises(DataError, match="has gone"):
            workers._unpacked(content)


@pytest.mark.parametrize(("kind", "what"), [(ReadsIds, "examples.ids"), (Tokenises, "self.tokenizer")])
def test_what_was_not_sent_is_refused_with_the_remedy(kind, what, tokenizer, tmp_path):
    build = SplitBatches(bound(kind(), tokenizer, tmp_path), "train").for_workers()
    with pytest.raises(ConfigError, match=f"keep {what} in an own Task.for_workers, or set num_workers to 0"):
        workers._unpacked(packed(build))([1, 2])


def test_a_task_may_send_more(tokenizer, tmp_path):
    build = SplitBatches(bound(KeepsIds(), tokenizer, tmp_path), "train").for_workers()
    assert workers._unpacked(packed(build))([1, 2])["ids"] == ["1", "2"]


# -- how they run ----------------------------------------------------------------------------------------------


class Watch(pl.Callback):
    """The losses, and the processes there are."""

    def __init__(self):
        self.losses, self.children, self.scores = [], [], []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())

    def on_train_epoch_end(self, trainer, module):
        self.children.append({child.pid for child in multiprocessing.active_children()})

    def on_validation_end(self, trainer, module):
        self.scores.append(float(trainer.callback_metrics["main_score"]))


def fit(task, encoder, tmp_path, **settings):
    torch.manual_seed(0)
    watch, model = Watch(), {k: settings.pop(k) for k in ("vision", "fusion") if k in settings}
    module = MultimodalModule(encoder=encoder, learning_rate=1e-3, **model)
    run = trainer(tmp_path, max_epochs=3, max_steps=-1, callbacks=[watch], **settings)
    run.fit(module, task)
    return watch, run, module


def test_workers_stay_over_the_epochs_of_a_fit_and_end_with_it(tiny_encoder, tmp_path):
    before = {child.pid for child in multiprocessing.active_children()}
    here, *_ = fit(Vowels(batch_size=8, num_workers=0), tiny_encoder, tmp_path)
    task = Vowels(batch_size=8, num_workers=2)
    task.multiprocessing_context = "fork"
    there, run, module = fit(task, tiny_encoder, tmp_path)
    assert there.losses == here.losses
    assert there.scores == here.scores
    own = [children - before for children in there.children]
    assert own[0] == own[1] == own[2]
    assert len(own[0]) == 4  # of training and of validation
    assert {child.pid for child in multiprocessing.active_children()} == before
    run.test(module, task, verbose=False)
    assert {child.pid for child in multiprocessing.active_children()} == before


def test_batches_that_are_kept_hold_no_files_open(tokenizer, tmp_path):
    task = bound(Vowels(eval_tokens=1, num_workers=2, test_split="validation"), tokenizer, tmp_path)
    task.multiprocessing_context = "fork"
    opened = []
    kept = []
    for batch in task.test_dataloader():
        kept.append(batch)
        opened.append(sum(1 for _ in Path("/proc/self/fd").iterdir()))
    assert len(kept) == 10
    assert max(opened) == min(opened)


def test_large_tensors_come_in_shared_memory_and_odd_ones_as_they_are():
    large = torch.arange(2**18, dtype=torch.float32).reshape(2, -1)
    batch = {"a": large, "b": [torch.ones(2, dtype=torch.bfloat16), large[:, :2]], "c": torch.zeros(0, 3), "d": "x"}
    parcel = workers._Parcel(batch)
    assert len(parcel.large) == 1
    assert len(parcel.content) < 5000
    back = parcel.opened()
    assert torch.equal(back["a"], large)
    assert torch.equal(back["b"][0], batch["b"][0])
    assert torch.equal(back["b"][1], large[:, :2])
    assert back["c"].shape == (0, 3)
    back["b"][1][0] = 7  # its own memory, to be written to


def test_every_tensor_of_a_batch_is_pinned(tokenizer, tmp_path, monkeypatch):
    """Large and small ones, those of a side, and the packings of a batch that is cut."""
    task = bound(Vowels(batch_size=8, train_tokens=10), tokenizer, tmp_path)
    batch = task.batch("train", list(range(8))) | {"large": torch.zeros(2**19)}
    assert isinstance(batch["packing"], list)
    tensors = sum(isinstance(v, torch.Tensor) for part in (batch, batch["text"]) for v in part.values())
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self, device=None: pinned.append(self.nbytes) or self)
    assert flat(workers._Parcel(batch).pin_memory()) == flat(batch)
    assert len(pinned) == tensors + len(batch["packing"])


def test_what_goes_wrong_in_a_worker_is_one_line(tokenizer, tmp_path):
    task = bound(Broken(batch_size=4, num_workers=1), tokenizer, tmp_path)
    task.multiprocessing_context = "fork"
    with pytest.raises(DataError) as caught:
        list(task.train_dataloader())
    assert str(caught.value) == "the image shades/7.png is damaged: get the file again"
    assert "in collate" in caught.value.__notes__[0]


def test_signals_for_the_whole_group_do_not_end_workers(tokenizer, tmp_path):
    """SLURM tells all processes to end; the batches to the next checkpoint are still wanted."""
    task = bound(Vowels(batch_size=1, num_workers=1), tokenizer, tmp_path)
    task.multiprocessing_context = "fork"
    seen = 0
    before = {child.pid for child in multiprocessing.active_children()}
    for _ in task.train_dataloader():
        if seen == 0:
            (worker,) = [c for c in multiprocessing.active_children() if c.pid not in before]
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
                os.kill(worker.pid, number)
        seen += 1
    assert seen == 37
    status = {name: int(value, 16) for name, value in _signals(os.getpid()).items()}
    assert not status["SigIgn"] & (1 << (signal.SIGTERM - 1))  # nothing changed here


def _signals(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t") for line in lines if line.startswith("Sig") and "Q" not in line)


# -- what is chosen --------------------------------------------------------------------------------------------


def test_workers_memory_and_sizes_follow_the_device(tokenizer, tmp_path):
    gpu = torch.device("cuda", 0)
    task = bound(Vowels(), tokenizer, tmp_path)
    loader = task.val_dataloader()
    assert (task.workers(), loader.num_workers, loader.pin_memory, task.eval_tokens) == (0, 0, False, 1024)
    task.compute_on(gpu)
    task.multiprocessing_context = "fork"
    loader = task.val_dataloader()
    assert loader.num_workers == loader_workers(gpu) > 0
    assert loader.pin_memory
    assert task.eval_tokens == 16384
    both = mixture()
    both.compute_on(gpu)
    assert both.workers() == loader_workers(gpu)
    assert both.tasks["vowels"].eval_tokens == 16384
    asked = Vowels(num_workers=0, eval_tokens=77)
    asked.compute_on(gpu)
    assert (asked.workers(), asked.eval_tokens) == (0, 77)


def test_processes_of_one_machine_share_its_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8))
    task = Vowels()
    task.compute_on(torch.device("cuda", 0))
    task.trainer = types.SimpleNamespace(num_devices=4)
    assert task.workers() == 1
    task.trainer.num_devices = 1
    assert task.workers() == 4


@pytest.mark.parametrize("bad", [-1, 1.5, "2"])
def test_no_such_number_of_workers(bad):
    for kind in (Vowels, mixture):
        with pytest.raises(ConfigError, match="num_workers must be a whole number"):
            kind(num_workers=bad)


def test_few_workers_prepare_more_each():
    assert [workers.prefetched(n) for n in (1, 2, 4, 16)] == [8, 4, 2, 2]


# -- where they cannot run -------------------------------------------------------------------------------------


def program(monkeypatch, file=None, module=None):
    """Make the program look as if it was started that way."""
    main = types.ModuleType("__main__")
    if file is not None:
        main.__file__ = str(file)
    main.__spec__ = module
    monkeypatch.setitem(sys.modules, "__main__", main)
    return main


def test_a_class_from_a_notebook_is_refused_or_left_to_this_process(monkeypatch, tokenizer, tmp_path):
    class Mine(Vowels):
        pass

    Mine.__module__, Mine.__qualname__ = "__main__", "Mine"
    program(monkeypatch).Mine = Mine
    task = bound(Mine(num_workers=2), tokenizer, tmp_path)
    task.multiprocessing_context = "spawn"
    with pytest.raises(ConfigError, match=r"Mine is defined in a notebook .* file .* set num_workers to 0"):
        task.train_dataloader()
    with pytest.raises(ConfigError, match="Mine is defined in a notebook"):
        packed(SplitBatches(task, "train").for_workers())
    task.num_workers = None
    task.compute_on(torch.device("cuda", 0))
    with pytest.warns(UserWarning, match="Mine is defined in a notebook"):
        assert task.train_dataloader().num_workers == 0
    task.multiprocessing_context = "fork"
    assert task.train_dataloader().num_workers > 0
    other = Vowels(num_workers=2)  # imported, as nearly all are
    other.multiprocessing_context = "spawn"
    assert other.workers() == 2


def test_a_script_that_workers_would_run_again_is_refused(monkeypatch, tmp_path):
    plain, guarded = tmp_path / "plain.py", tmp_path / "guarded.py"
    plain.write_text("fit()\n")
    guarded.write_text("if __name__ == '__main__':\n    fit()\n")
    for file, module, start, fine in (
        (plain, None, "spawn", False),
        (plain, None, "forkserver", False),
        (plain, None, "fork", True),
        (plain, "xmit.__main__", "spawn", True),
        (guarded, None, "spawn", True),
    ):
        program(monkeypatch, file, module)
        reason = workers.hindrance(start, [Vowels])
        assert (reason is None) == fine
        assert fine or f"run {plain} again" in reason


def test_what_cannot_be_pickled_is_told_before_a_worker_starts(tokenizer, tmp_path):
    task = bound(Vowels(num_workers=1), tokenizer, tmp_path)
    task.multiprocessing_context = "spawn"
    task.own = io.open(os.devnull)  # noqa: SIM115, UP020
    before = multiprocessing.active_children()
    with pytest.raises(ConfigError, match=r"TextIOWrapper.* set num_workers to 0"):
        next(iter(task.train_dataloader()))
    assert multiprocessing.active_children() == before
    task.own.close()


# -- the whole -------------------------------------------------------------------------------------------------

IMAGES = {"vision": worker_tasks.TOWER, "fusion": {"kind": "prefix", "tokens": 3}}
KINDS = {
    "text": (lambda **k: ManyVowels(batch_size=200, validation_examples=40, **k), {}),
    "images": (lambda **k: Shades(batch_size=6, **k), IMAGES),
    "masked": (lambda **k: Prose(batch_size=5, **k), {}),
    "mixture": (mixture, IMAGES),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("context", ALL)
def test_runs_with_workers_are_those_without(context, kind, tiny_encoder, tmp_path):
    """Fit, validate, test, predict, and a fit that goes on in the midst of an epoch."""
    make, model = KINDS[kind]
    if model:
        model = {**model, "vision": {**model["vision"], "cache_dir": str(tmp_path / "features")}}

    def everything(name, **settings):
        task = make(**settings)
        task.multiprocessing_context = context
        saved = pl.callbacks.ModelCheckpoint(tmp_path / name, filename="{step}", every_n_train_steps=5, save_top_k=-1)
        torch.manual_seed(0)
        module, watch = MultimodalModule(encoder=tiny_encoder, learning_rate=1e-3, **model), Watch()
        options = {"max_steps": 14, "val_check_interval": 0.5, "enable_checkpointing": True}
        run = trainer(tmp_path, **options, callbacks=[watch, saved])
        run.fit(module, task)
        rows = [module.results["validation"]]
        for stage in ("validate", "test", "predict"):
            getattr(run, stage)(module, task, **({} if stage == "predict" else {"verbose": False}))
            rows.append(module.results[{"validate": "validation"}.get(stage, "test")])
        torch.manual_seed(0)
        resumed, rest = MultimodalModule(encoder=tiny_encoder, learning_rate=1e-3, **model), Watch()
        again = make(**settings)
        again.multiprocessing_context = context
        trainer(tmp_path, **{**options, "enable_checkpointing": False}, callbacks=[rest]).fit(
            resumed, again, ckpt_path=str(tmp_path / name / "step=5.ckpt")
        )
        assert rest.losses == watch.losses[5:]
        return watch.losses, watch.scores, [frame.to_csv() for frame in rows], module.state_dict()

    *here, weights = everything("here", num_workers=0)
    *there, others = everything("there", num_workers=2)
    assert len(here[0]) == 14
    assert there == here
    assert all(torch.equal(value, others[name]) for name, value in weights.items())
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_the_command_line_goes_on_with_workers_where_it_stopped_without(tiny_encoder, tmp_path, monkeypatch):
    """A config says how many there are; that changes nothing, and is no other run."""
    monkeypatch.setattr(TaskData, "multiprocessing_context", "forkserver")
    config = {
        "seed_everything": 3,
        "model": {"encoder": tiny_encoder, "learning_rate": 1e-3},
        "trainer": {
            "max_steps": 12, "max_epochs": -1, "val_check_interval": 4, "check_val_every_n_epoch": None,
            "accelerator": "cpu", "precision": "32-true", "enable_progress_bar": False,
        },
        "data": {"class_path": "mix_tasks.Vowels", "init_args": {"batch_size": 5, "num_workers": 2}},
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))

    def run(name, *extra):
        call = ["fit", "--config", str(tmp_path / "config.yaml"), "--output", str(tmp_path / name), "--save_every", "3"]
        assert main([*call, *extra]) == 0
        return load_results(tmp_path / name).drop(columns="cell")

    whole = run("whole")
    alone = run("alone", "--data.num_workers", "0")
    assert alone.equals(whole)

    class Stop(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            if trainer.global_step == 7:
                raise KeyError("stopped")

    call = ["fit", "--config", str(tmp_path / "config.yaml"), "--output", str(tmp_path / "parts"), "--save_every", "3"]
    with pytest.raises(KeyError, match="stopped"):
        XmitCLI([*call, "--data.num_workers", "0"], callbacks=[Stop()])
    last = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 6
    assert run("parts", "--ckpt_path", str(last)).equals(whole)
    assert not multiprocessing.active_children()


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import torch
from mix_tasks import Vowels
from xmit.modules.encoders import load_tokenizer

class Mine(Vowels):
    pass

def main():
    task = Mine(batch_size=4, num_workers=2)
    task.multiprocessing_context = {context!r}
    task.bind(load_tokenizer("embedded:e5-small"))
    print(sum(len(batch["item"]) for batch in task.train_dataloader()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
@pytest.mark.parametrize("start", ["guarded", "plain", "prompt"])
def test_programs_of_users(start, context, tmp_path):
    text = SCRIPT.format(tests=str(Path(__file__).parent), context=context)
    call = "\nif __name__ == '__main__':\n    main()\n" if start == "guarded" else "\nmain()\n"
    (tmp_path / "mine.py").write_text(text + call)
    command = [sys.executable, *(["-c", text + call] if start == "prompt" else ["mine.py"])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    if start == "guarded":
        assert done.stdout.split() == ["37"], done.stderr
        return
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert "ConfigError" in last
    assert "set num_workers to 0" in last
    what = f"run {tmp_path / 'mine.py'} again" if start == "plain" else "Mine is defined in a notebook"
    assert what in last


def test_the_start_method_is_a_setting_of_every_task():
    assert TaskData.multiprocessing_context is None
    assert workers.start_method() in ALL
    assert workers.start_method("spawn") == "spawn"


def test_a_start_method_that_does_not_exist_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"multiprocessing_context.*nonsense"):
        workers.start_method("nonsense")
