"""The loggers of configs/trainer/loggers.yaml, each with one epoch: what they keep is what the run's rows say."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from xmit.__main__ import main
from xmit.study.results import load_results

FILE = Path(__file__).parents[1] / "configs" / "trainer" / "loggers.yaml"
LOGGERS = {
    logger["class_path"].rpartition(".")[2]: logger for logger in yaml.safe_load(FILE.read_text())["trainer"]["logger"]
}
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def csv(folder):
    frame = pd.read_csv(next(folder.rglob("metrics.csv")))
    return {name: frame[name].dropna().iloc[-1] for name in frame if frame[name].notna().any()}, None


def tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next(folder.rglob("events.out.*")).parent)).Reload()
    return {name: events.Scalars(name)[-1].value for name in events.Tags()["scalars"]}, None


def mlflow(folder):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("xmit").experiment_id])
    return run.data.metrics, run.data.params["run/target"]


def wandb(folder):
    """What an offline run would send to the server, when W&B's own process has written all of it."""
    for _ in range(600):
        records = list(wandb_records(next(folder.rglob("run-*.wandb")).read_bytes()))
        if records and records[-1].HasField("exit"):
            break
        time.sleep(0.2)
    found, config = {}, {}
    for record in records:
        for items, kept in ((record.history.item, found), (record.config.update, config)):
            kept.update({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return found, config["run"]["target"]


def wandb_records(data):
    """Records in LevelDB's log format, behind a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    place, whole = 7, b""
    while place + 7 <= len(data):
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if 2**15 - place % 2**15 < 7:  # no room for a header at the end of a block
            place += 2**15 - place % 2**15
        if kind in (1, 4):  # a record, or the last part of one
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


READ = {
    "CSVLogger": (csv, "yaml"),
    "TensorBoardLogger": (tensorboard, "tensorboard"),
    "WandbLogger": (wandb, "wandb"),
    "MLFlowLogger": (mlflow, "mlflow"),
}


@pytest.mark.parametrize("name", LOGGERS)
def test_a_logger_of_the_config_keeps_what_the_rows_say(name, tiny_encoder, tmp_path, monkeypatch):
    read, package = READ[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    trainer = {"max_epochs": 1, "precision": "32-true", "accelerator": "cpu", "enable_progress_bar": False}
    data = {"class_path": "my_tasks.MyTask", "init_args": {"batch_size": 16}}
    run = {"cell": "none--mine-s0", "target": "mine"}
    fit = {"model": {"encoder": tiny_encoder}, "trainer": trainer, "data": data, "run": run}
    (tmp_path / "fit.yaml").write_text(yaml.safe_dump(fit))
    (tmp_path / "log.yaml").write_text(yaml.safe_dump({"trainer": {"logger": [LOGGERS[name]]}}))
    assert main(["fit", "--config", "fit.yaml", "--config", "log.yaml", "--output", "r"]) == 0
    kept, target = read(tmp_path / "runs" / "logs")
    rows = load_results(tmp_path / "r").query("is_main and split == 'test'")
    assert len(rows) == 3
    for row in rows.itertuples():
        assert kept[f"my_task/{row.language}/{row.metric}"] == pytest.approx(row.value)
    assert "main_score" in kept
    assert target in (None, "mine")
    if name == "WandbLogger":  # which would go on with the run of this process, of another cell of a study
        assert main(["fit", "--config", "fit.yaml", "--config", "log.yaml", "--output", "again"]) == 0
        assert len(list(tmp_path.rglob("run-*.wandb"))) == 2
