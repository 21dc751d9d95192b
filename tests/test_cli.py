"""The command line as a user meets it, in this process with a tiny encoder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoModel

from xmit.__main__ import main
from xmit.study.results import COLUMNS, PREDICTION_COLUMNS, load_results

pytestmark = pytest.mark.filterwarnings("ignore")


def fit(tiny_encoder, output, *more, task="my_tasks.MyTask"):
    return main(
        [
            "fit",
            f"--data={task}",
            "--data.batch_size=8",
            f"--model.encoder={tiny_encoder}",
            "--model.learning_rate=0.01",
            "--trainer.max_epochs=2",
            "--trainer.precision=32-true",
            "--trainer.enable_progress_bar=false",
            "--trainer.enable_model_summary=false",
            f"--output={output}",
            *more,
        ]
    )


@pytest.fixture
def run(tiny_encoder, tmp_path):
    assert fit(tiny_encoder, tmp_path / "run") == 0
    return tmp_path / "run"


def test_fit_writes_a_whole_run(run, capsys):
    rows = load_results(run)
    assert tuple(rows.columns) == COLUMNS
    main_rows = rows[rows.is_main & (rows.split == "test")]
    assert main_rows["language"].tolist() == ["en", "de", "sw"]
    assert rows[rows.is_main & (rows.split == "validation")]["language"].tolist() == ["en"]
    assert set(rows["target"]) == {"my_task"}
    predictions = pd.read_parquet(run / "predictions.parquet")
    assert len(predictions) == 3 * 16
    assert tuple(predictions.columns) == PREDICTION_COLUMNS
    assert predictions[predictions["text"].notna()]["language"].tolist() == ["en"] * 16
    log = pd.read_csv(run / "log.csv")
    assert "my_task/en/accuracy" in log.columns
    assert (run / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize(("rate", "learns"), [(0.0001, False), (0.003, True)])
def test_a_collapse_onto_one_class_is_told(rate, learns, tiny_encoder, tmp_path, capsys):
    assert fit(tiny_encoder, tmp_path / "run", f"--model.learning_rate={rate}", "--trainer.max_epochs=10") == 0
    predictions = pd.read_parquet(tmp_path / "run" / "predictions.parquet").groupby("language", sort=False)
    shares = predictions["prediction"].agg(lambda labels: labels.value_counts(normalize=True).max())
    collapsed = shares[shares > 0.95].index.tolist()
    assert learns != bool(collapsed)
    told = [line for line in capsys.readouterr().out.splitlines() if "95 %" in line]
    line = f"my_task: one class takes over 95 % of the predictions in {', '.join(collapsed)}"
    assert told == ([] if learns else [line])


def test_config_of_a_run_repeats_it(run, tmp_path):
    before = load_results(run)
    assert main(["fit", "--config", str(run / "config.yaml"), "--output", str(tmp_path / "again")]) == 0
    pd.testing.assert_frame_equal(before, load_results(tmp_path / "again"))


def test_checkpoint_never_overrides_flags_and_scores_the_same(run, tiny_encoder, tmp_path, capsys):
    arguments = ["--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "best.ckpt")]
    output = tmp_path / "tested"
    assert main(["test", *_for_test(run), *arguments[2:], f"--output={output}", "--model.warmup=0.5"]) == 0
    assert "warmup: 0.5" in (output / "test.yaml").read_text()
    a, b = (load_results(p).query("split == 'test'").reset_index(drop=True) for p in (run, output))
    pd.testing.assert_frame_equal(a, b)
    assert main(["validate", *_for_test(run), *arguments[2:]]) == 0
    assert "my_task/en/accuracy" in capsys.readouterr().out
    assert main(["predict", *_for_test(run), *arguments[2:], f"--output={tmp_path / 'p'}"]) == 0
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "p" / "predictions.parquet"), pd.read_parquet(run / "predictions.parquet")
    )


def _for_test(run):
    """The run's settings that other commands share."""
    import yaml

    config = yaml.safe_load((run / "config.yaml").read_text())
    kept = {key: config[key] for key in ("model", "data")}
    kept["trainer"] = {"precision": "32-true", "enable_progress_bar": False}
    (run / "scoring.yaml").write_text(yaml.safe_dump(kept))
    return ["--config", str(run / "scoring.yaml")]


def test_checkpoint_of_another_task_is_refused_and_init_from_named(run, tiny_encoder, tmp_path, capsys):
    code = fit(
        tiny_encoder, tmp_path / "x", f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}", task="xmit.tasks.DigitsText"
    )
    assert code == 1
    assert "--model.init_from" in capsys.readouterr().err
    assert fit(tiny_encoder, tmp_path / "x", f"--ckpt_path={run}") == 1
    assert "--model.init_from" in capsys.readouterr().err


def test_export_gives_the_trained_encoder(run, tmp_path, capsys):
    assert main(["export", str(run), "--output", str(tmp_path / "out")]) == 0
    model = AutoModel.from_pretrained(tmp_path / "out")
    trained = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in model.state_dict().items():
        if not name.startswith("pooler"):
            assert torch.equal(value, trained[f"text_encoder.{name}"]), name
    assert main(["export", str(run), "--output", str(tmp_path / "out")]) == 1
    assert "already holds a model" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "nothing"), "--output", str(tmp_path / "o2")]) == 1


def test_registry_names_work_after_data(tiny_encoder, tmp_path):
    import my_tasks

    assert my_tasks
    assert fit(tiny_encoder, tmp_path / "run", task="my_task") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fit", "--data=CldrGoe"], 2, "CldrGeo"),
        (["fit", "--data=CldrGeo", "--data.languages=[xx]"], 1, "xmit: unknown language of task 'cldr_geo'"),
        (["fit", "--data=CldrGeo", "--model.encoder=/nowhere/at/all"], 1, "could not be loaded"),
        (["fit", "--data=CldrGeo", "--model.init_from=/nowhere"], 1, "there is no folder /nowhere"),
        (["fit", "--data=CldrGeo", "--ckpt_path=/nowhere.ckpt"], 1, "there is no file /nowhere.ckpt"),
        (
            ["fit", "--data=CldrGeo", "--ckpt_path", __file__],
            1,
            "test_cli.py cannot be read as a checkpoint of tensors (",
        ),
        (
            ["fit", "--data=CldrGeo", "--data.max_length=513", "--model.encoder=embedded:e5-small"],
            1,
            "max_length is 513, but the encoder has 512 positions",
        ),
        (["bench", "--compare", __file__], 1, "test_cli.py is no file that --json has written"),
        (["bench", "--compare", "/nowhere.json"], 1, "/nowhere.json is no file that --json has written"),
        (["study", "--config", "/nowhere.yaml"], 1, "there is no file /nowhere.yaml"),
        (["report", "/nowhere"], 1, "holds no study"),
        (["tasks", "--role", "aim"], 1, "unknown role 'aim'"),
        (["frobnicate"], 2, "invalid choice"),
    ],
)
def test_mistakes_are_one_clear_line(arguments, code, message, capsys, tmp_path):
    if arguments[0] == "fit":
        arguments = [*arguments, f"--output={tmp_path / 'run'}"]
    try:
        result = main(arguments)
    except SystemExit as exit_:
        result = exit_.code
    error = capsys.readouterr().err
    assert result == code
    assert message in error
    assert "Traceback" not in error
    if code == 1:
        assert error.strip().splitlines()[-1].startswith("xmit: ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none_is_one_clear_line(capsys, tmp_path):
    trainer = str(Path(__file__).parents[1] / "configs" / "trainer" / "gpu.yaml")
    assert main(["fit", "--config", trainer, "--data=CldrGeo", f"--output={tmp_path / 'run'}"]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("xmit: trainer: ")
    assert error.endswith("trainer.accelerator auto takes what there is")


def test_debug_shows_the_traceback():
    with pytest.raises(Exception, match="no file"):
        main(["study", "--config", "/nowhere.yaml", "--debug"])


def test_tasks_prints_metadata(capsys):
    assert main(["tasks", "--format", "json", "--role", "target"]) == 0
    listed = json.loads(capsys.readouterr().out)
    geo = next(t for t in listed if t["name"] == "cldr_geo")
    assert len(geo["languages"]) == 49
    assert main(["tasks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("cldr_geo" in line and "CldrGeo" in line and "babel (PyPI)" in line for line in lines)


def test_module_entry_point():
    done = subprocess.run([sys.executable, "-m", "xmit", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("xmit 0.")


def test_scoring_a_run_leaves_its_results_alone(run, tmp_path, capsys):
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    checkpoint = f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"
    for command in ("validate", "test", "predict"):
        words = [*_for_test(run), "--data.init_args.languages=[en,sw]", f"--output={run}", checkpoint]
        assert main([command, *words]) == 0
    (run / "scoring.yaml").unlink()
    assert before == {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    assert len(pd.read_parquet(run / "test" / "predictions.parquet")) == 2 * 16
    assert len(load_results(run)["language"].unique()) == 4  # all, en, de, sw: the run's own rows only
    assert main(["fit", "--config", str(run / "config.yaml")]) == 0


def test_untrained_heads_are_not_scored(run, tmp_path, capsys):
    for command in ("validate", "test", "predict"):
        assert main([command, *_for_test(run), f"--output={tmp_path / 'x'}"]) == 1
        assert "has a head that must be trained first" in capsys.readouterr().err


def test_a_run_may_be_called_like_the_command(tiny_encoder, tmp_path):
    assert fit(tiny_encoder, tmp_path / "fit") == 0
    assert len(load_results(tmp_path / "fit"))


def test_a_finished_run_is_not_overwritten_by_another(run, tiny_encoder, capsys):
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    assert fit(tiny_encoder, run, "--model.warmup=0.5") == 1
    assert "holds a finished run of another config" in capsys.readouterr().err
    assert before == {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    assert fit(tiny_encoder, run, "--model.warmup=0.5", "--overwrite") == 0


def test_an_encoder_is_written_whole_where_a_killed_run_left_half_of_one(tiny_encoder, tmp_path):
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / ".tmplVhznY").write_bytes(b"half of model.safetensors, as the kill test of the demo found")
    assert fit(tiny_encoder, tmp_path, "--save_encoder=true") == 0
    assert not list((tmp_path / "encoder").glob(".*"))
    assert (tmp_path / "encoder" / "model.safetensors").is_file()
    assert json.loads((tmp_path / "encoder" / "tokenizer.json").read_text())["truncation"] is None


def test_a_chained_run_says_what_it_started_from(run, tiny_encoder, tmp_path):
    assert main(["export", str(run), "--output", str(run / "encoder")]) == 0
    assert fit(tiny_encoder, tmp_path / "next", f"--model.init_from={run}") == 0
    assert set(load_results(tmp_path / "next")["intermediate"]) == {"my_task"}
    assert set(load_results(tmp_path / "next")["encoder"]) == {tiny_encoder}


def test_weights_alone_do_not_resume(run, tiny_encoder, tmp_path, capsys):
    best = run / "checkpoints" / "best.ckpt"
    assert fit(tiny_encoder, tmp_path / "x", f"--ckpt_path={best}") == 1
    assert "holds weights only" in capsys.readouterr().err
    (tmp_path / "cut.ckpt").write_bytes(best.read_bytes()[:-1000])
    assert fit(tiny_encoder, tmp_path / "x", f"--ckpt_path={tmp_path / 'cut.ckpt'}") == 1
    assert "cut.ckpt cannot be read" in capsys.readouterr().err


def test_too_few_updates_to_validate_keep_and_score_the_last_weights(tiny_encoder, tmp_path):
    words = ["--trainer.max_epochs=1", "--trainer.max_steps=2", "--trainer.val_check_interval=5"]
    with pytest.warns(UserWarning, match="nothing was validated in 2 updates"):
        assert fit(tiny_encoder, tmp_path / "r", *words) == 0
    assert (tmp_path / "r" / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:", "SyntaxError"),
        ("x = 1", "unknown task in broken_tasks"),
        ("from xmit.tasks import Task\nclass Mine(Task): pass", "broken_tasks"),
    ],
)
def test_a_broken_task_file_is_named(text, message, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_tasks", raising=False)
    (tmp_path / "broken_tasks.py").write_text(text)
    name = "Mine" if "Mine" in text else "Other"
    try:
        code = main(["fit", f"--data=broken_tasks.{name}"])
    except SystemExit as exit_:
        code = exit_.code
    assert code in (1, 2)
    error = capsys.readouterr().err
    assert message in error or "Mine" in error
