"""Features computed once for all runs, and training that neither loads a tower nor loses by it."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time

import pytest
import torch
import yaml

from xmit import MultimodalModule
from xmit.__main__ import main
from xmit.data.image_spec import ImageSpec
from xmit.data.images import open_image
from xmit.modules.vision import VisionConfig, VisionTower
from xmit.tasks import DigitsImage

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def settings(tiny_encoder, tmp_path):
    """The config of a fit on a few images, with a tower of random weights."""
    vision = {"name": "embedded:digits", "random": True, "cache_dir": str(tmp_path / "features")}
    return {
        "model": {"encoder": tiny_encoder, "vision": vision},
        "data": {
            "class_path": "xmit.tasks.DigitsImage",
            "init_args": {"train_examples": 24, "validation_examples": 12, "batch_size": 8},
        },
        "trainer": {
            "max_steps": 2,
            "precision": "32-true",
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    }


def write(path, value):
    path.write_text(yaml.safe_dump(value))
    return str(path)


def cached(settings) -> ImageSpec:
    return ImageSpec(VisionConfig(**settings["model"]["vision"]))


TRAIN = """
import sys
from xmit.__main__ import main
from xmit.modules import vision

def never(*args, **kwargs):
    raise AssertionError("the tower was used")

vision.VisionTower.__init__ = vision.VisionTower.forward = never
assert main(["fit", "--config", sys.argv[1], "--output", sys.argv[2]]) == 0
loaded = {"open_clip", "timm", "xmit.modules.open_clip_tower"} & set(sys.modules)
assert not loaded, loaded
"""


def test_size_first_then_features(settings, tmp_path, capsys):
    config = write(tmp_path / "fit.yaml", settings)
    assert main(["cache-features", "--config", config, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "digits_image train: 24 rows, 24 images, 24 to compute" in shown
    spec = cached(settings)
    size = f"36 images to compute, {36 * (24 * 128 * 2 + 20) / 1e9:.3f} GB in {spec.cache.folder}"
    assert f"embedded:digits: {size}" in shown
    assert len(spec.cache) == 0

    assert main(["cache-features", "--config", config, "--workers", "2"]) == 0
    assert "done: 36 images" in capsys.readouterr().out
    written = sorted(spec.cache.folder.iterdir())
    assert main(["cache-features", "--config", config, "--check"]) == 0
    shown = capsys.readouterr().out
    assert "36 images checked" in shown
    assert "digits_image validation: 12 rows, 12 images, 0 to compute" in shown
    assert sorted(spec.cache.folder.iterdir()) == written


@pytest.mark.slow
def test_training_from_the_cache_neither_loads_nor_uses_a_tower(settings, tmp_path):
    config, spec = write(tmp_path / "fit.yaml", settings), cached(settings)
    assert main(["cache-features", "--config", config]) == 0
    written = sorted(spec.cache.folder.iterdir())
    run = subprocess.run(
        [sys.executable, "-c", TRAIN, config, str(tmp_path / "run")], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert sorted(spec.cache.folder.iterdir()) == written


def test_a_study_takes_what_every_seed_draws(settings, tiny_encoder, tmp_path, capsys):
    for folder, name in (("intermediate", "digits_image"), ("target", "my_task")):
        (tmp_path / folder).mkdir()
        own = settings if folder == "intermediate" else {"data": "my_tasks.MyTask", "model": {}}
        write(tmp_path / folder / f"{name}.yaml", own)
    study = {"encoder": tiny_encoder, "configs": ".", "intermediates": ["digits_image"], "targets": ["my_task"]}
    config = write(tmp_path / "study.yaml", {**study, "seeds": [0, 1]})
    assert main(["cache-features", "--config", config]) == 0
    spec = cached(settings)
    spec.cache.refresh()
    assert 24 + 12 < len(spec.cache) <= 2 * 24 + 12
    assert capsys.readouterr().out.count("digits_image train: 24 rows") == 2


def test_configs_and_settings_add_up_as_for_fit(settings, tmp_path, capsys):
    model, rest = ({name: settings[name]} for name in ("model", "data"))
    files = [write(tmp_path / f"{n}.yaml", part) for n, part in enumerate((rest, model))]
    more = ["--data.train_examples", "10", "--data.validation_examples=5"]
    both = [word for file in files for word in ("--config", file)]
    assert main(["cache-features", *both, *more, "--dry-run"]) == 0
    assert "digits_image train: 10 rows" in capsys.readouterr().out
    assert main(["cache-features", *both, "--dry-run", "--check"]) == 1
    assert "leave one of them out" in capsys.readouterr().err
    assert main(["cache-features", *both, "--data.train_exemples", "10"]) == 1
    assert "train_exemples" in capsys.readouterr().err
    study = write(tmp_path / "study.yaml", {"encoder": "e", "targets": ["my_task"]})
    for other in (["--config", files[0]], more):
        assert main(["cache-features", "--config", study, *other]) == 1
        assert "study.yaml is a study file, which says all there is" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # such settings are those of a fit alone
        main(["study", "--config", study, *more])
    assert "unrecognized arguments: --data.train_examples 10" in capsys.readouterr().err


def test_parts_and_refusals(settings, tmp_path, capsys, monkeypatch):
    config = write(tmp_path / "fit.yaml", settings)
    assert main(["cache-features", "--config", config, "--part", "1/2"]) == 0
    spec = cached(settings)
    half = len(spec.cache)
    assert 0 < half < 36
    assert main(["cache-features", "--config", config, "--part", "2/2"]) == 0
    spec.cache.refresh()
    assert len(spec.cache) == 36
    for bad in (["--part", "3/2"], ["--part", "half"], ["--workers", "-1"], ["--workers", "x"]):
        with pytest.raises(SystemExit) as raised:
            main(["cache-features", "--config", config, *bad])
        assert raised.value.code == 2
    capsys.readouterr()

    other = {**settings, "model": {**settings["model"], "vision": {**settings["model"]["vision"], "output": "pooled"}}}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Disk", (), {"free": 5000})())
    assert main(["cache-features", "--config", write(tmp_path / "pooled.yaml", other)]) == 1
    assert "has 0.000 GB left, too little: set model.vision.cache_dir" in capsys.readouterr().err
    text = {**settings, "data": "xmit.tasks.DigitsText", "model": {"encoder": settings["model"]["encoder"]}}
    for value, message in ((text, "no run of it has both images and a vision tower"), ([1], "must hold a mapping")):
        assert main(["cache-features", "--config", write(tmp_path / "wrong.yaml", value)]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert main(["cache-features", "--config", str(tmp_path / "gone.yaml")]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_losses_of_cached_and_live_features_are_equal(settings, tiny_encoder):
    """To the last bit where live features are rounded to half precision, and within that rounding where not."""
    torch.manual_seed(0)
    task = DigitsImage(train_examples=32)
    module = MultimodalModule(encoder=tiny_encoder, vision=settings["model"]["vision"])
    module._build_encoder()
    module._build_heads(task.head_specs())
    task.bind(module.tokenizer, module.image_spec)
    module.eval()
    tower, images = VisionTower(module.vision), task.split_images("train")
    examples = task.examples("train")
    losses = {"cached": [], "rounded": [], "live": []}
    for items in torch.arange(32).split(8):
        batch = task.collate(examples, items.tolist())
        live = tower(torch.stack([tower.preprocess(open_image(images[int(i)])) for i in items]))
        for name, features in (("cached", batch["match"]["image"]), ("rounded", live.half().float()), ("live", live)):
            side = {**batch["match"], "image": features}
            with torch.no_grad():
                losses[name].append(float(module({**batch, "match": side})["loss"]))
    assert len(set(losses["live"])) == 4
    assert losses["cached"] == losses["rounded"]
    assert losses["cached"] == pytest.approx(losses["live"], rel=2**-10)


@pytest.mark.slow
def test_a_step_from_the_cache_costs_hardly_more_than_text(tmp_path, monkeypatch, capsys):
    """Steps of one total length, alternating: 24 visual and 16 text tokens against 40 text tokens; no tower runs."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    task = DigitsImage(train_examples=256, batch_size=16)
    vision = {"name": "embedded:digits", "random": True, "cache_dir": str(tmp_path)}
    module = MultimodalModule(encoder="embedded:e5-small", embedding="frozen", vision=vision)
    module._build_encoder()
    module._build_heads(task.head_specs())
    task.bind(module.tokenizer, module.image_spec)
    examples = task.examples("train")
    monkeypatch.setattr(VisionTower, "forward", lambda *_: pytest.fail("the tower was used"))
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], fused=True)

    def step(images: bool) -> float:
        items = torch.randint(0, 256, (16,)).tolist()
        started = time.process_time()  # not what else the machine does
        if not images:
            chosen, examples.images = examples.images, {}
        batch = task.collate(examples, items)
        if not images:
            examples.images = chosen
        words = 16 if images else 40
        side = {"input_ids": torch.randint(5, 1000, (16, words)), "attention_mask": torch.ones(16, words).long()}
        batch["match"] = {**batch["match"], **side}
        module(batch)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.process_time() - started

    seconds = {images: [step(images) for _ in range(2)] for images in (True, False)}
    for _ in range(9):
        for images in (True, False):
            seconds[images].append(step(images))
    cached, text = (statistics.median(seconds[images][2:]) for images in (True, False))
    reads = [time.process_time()]
    for _ in range(50):
        module.image_spec.batch([examples.images["match"][int(i)] for i in torch.randint(0, 256, (16,))])
        reads.append(time.process_time())
    with capsys.disabled():
        print(  # noqa: T201 - the figure of docs/image_text.md
            f"\nstep from the cache {cached * 1e3:.0f} ms, text alone {text * 1e3:.0f} ms: {cached / text:.2f}; "
            f"reading 16 images {(reads[-1] - reads[0]) / 50 * 1e3:.2f} ms"
        )
    assert cached < 1.15 * text
