"""What a run is besides its training: its identity, log, origin and checkpoint, and its encoder for others."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import CSVLogger

import xmit
from xmit.errors import ConfigError, DataError, EncoderError
from xmit.files import write_text
from xmit.hardware import describe
from xmit.modules.module import MultimodalModule
from xmit.study.results import ENCODER, RESULTS

if TYPE_CHECKING:
    import torch

NOT_IN_IDENTITY = (
    "output",
    "overwrite",
    "run",
    "no_test",
    "save_encoder",
    "save_every",
    "save_minutes",
    "config",
    "ckpt_path",
    "weights_only",
)
NOT_IN_IDENTITY_TRAINER = (
    "logger",
    "enable_progress_bar",
    "enable_model_summary",
    "default_root_dir",
    "log_every_n_steps",
    "profiler",
)


def identity(config: dict[str, Any]) -> str:
    """Hash what determines a run's outcome: its config without where it is written and how it is shown.

    Args:
        config: The config of a ``fit``.
    """
    text = json.dumps(settings(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a ``fit`` config that determines its outcome."""
    kept = {k: v for k, v in config.items() if k not in NOT_IN_IDENTITY}
    if not kept.get("held_out"):  # what no run had before there was leakage to look for
        kept = {k: v for k, v in kept.items() if k not in ("held_out", "on_shared")}
    kept["trainer"] = {k: v for k, v in (config.get("trainer") or {}).items() if k not in NOT_IN_IDENTITY_TRAINER}
    return kept


def run_facts(seconds: float, device: torch.device) -> dict[str, Any]:
    """Versions, machine and time of a run.

    Args:
        seconds: The time.
        device: What it computed on.
    """
    import platform

    import lightning
    import torch
    import transformers

    return {
        "seconds": round(seconds, 1),
        "versions": {
            "xmit": xmit.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "transformers": transformers.__version__,
        },
        "hardware": describe(device),
    }


def run_logger(folder: Path, resume_at: int | None = None) -> CSVLogger:
    """The CSV log of a run, ``log.csv`` in its folder.

    Args:
        folder: The run's folder.
        resume_at: The updates already made in a run that goes on: their lines are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "log.csv"
    logger = CSVLogger(folder, name="", version="", flush_logs_every_n_steps=50)
    logger.experiment.metrics_file_path = str(path)
    if resume_at is not None and path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        logger.experiment.metrics_keys = list(rows[0]) if rows else []  # the writer adds new columns to these
        kept = [row for row in rows if int(row["step"] or 0) < resume_at]
        write_text(path, _csv_text(logger.experiment.metrics_keys, kept))
    else:
        path.unlink(missing_ok=True)
    return logger


def _csv_text(columns: list[str], rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def origin(init_from: str | None) -> tuple[str, str | None]:
    """What an ``init_from`` was trained on, and the public encoder it began with where that is known.

    Args:
        init_from: As the module takes it.

    Returns:
        The intermediate (``none`` without ``init_from``; else the run's own, or the folder's name) and the encoder.
    """
    if init_from is None:
        return "none", None
    import pandas as pd

    folder = Path(init_from)
    run = folder.parent if folder.name == ENCODER else folder
    if (run / RESULTS).is_file():
        first = pd.read_parquet(run / RESULTS, columns=["intermediate", "target", "encoder"]).iloc[0]
        return str(first["target"] or first["intermediate"]), str(first["encoder"])
    return run.resolve().name, None


def check_checkpoint(path: str | None, config: dict[str, Any] | None = None) -> int | None:
    """Refuse what is no checkpoint of ours before Lightning tries.

    Args:
        path: What ``--ckpt_path`` says.
        config: The settings of the run that shall go on from it, if training shall go on; they must be the
            checkpoint's, because optimizer, schedule and data order are.

    Returns:
        The updates made so far.

    Raises:
        DataError: If there is no such file, or it cannot be read.
        EncoderError: If it is an encoder folder, or the checkpoint of another run.
        ConfigError: If it holds weights only and training shall go on.
    """
    if path is None:
        return None
    if Path(path).is_dir():
        raise EncoderError(
            f"--ckpt_path takes a checkpoint file of the same run; for the encoder in {path} use --model.init_from"
        )
    if not Path(path).is_file():
        there = sorted(p.name for p in Path(path).parent.glob("*.ckpt"))
        near = f"its folder holds {', '.join(there)}" if there else "a run keeps its own in RUN/checkpoints/"
        raise DataError(f"--ckpt_path: there is no file {path}: {near}; without --ckpt_path a fit begins anew")
    import torch

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever a damaged or hostile file makes of the reader
        reason = f"{error}".rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0]  # advice
        raise DataError(f"--ckpt_path: {path} cannot be read as a checkpoint of tensors ({reason})") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise DataError(f"--ckpt_path: {path} is no checkpoint of a fit")
    if config is not None and "head_specs" in checkpoint:
        if "optimizer_states" not in checkpoint:
            raise ConfigError(
                f"--ckpt_path: {path} holds weights only, training cannot go on from it (checkpoints/last.ckpt of an "
                f"interrupted run can); to start a new run from its encoder: 'python -m xmit export RUN --output DIR' "
                f"and --model.init_from DIR"
            )
        if checkpoint.get("run_config"):
            _check_same_run(json.loads(checkpoint["run_config"]), resumable(config), path)
    return int(checkpoint.get("global_step", 0))


def resumable(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that must not change when a run goes on: not where it runs and where its data lie.

    Args:
        config: The config of a ``fit``.
    """
    kept: dict[str, Any] = json.loads(json.dumps(settings(config), sort_keys=True, default=str))
    for name in ("accelerator", "callbacks"):
        kept["trainer"].pop(name, None)
    return kept


def _check_same_run(there: Any, here: Any, path: str) -> None:
    different = [
        f"{key} ({there_flat.get(key)!r} there, {here_flat.get(key)!r} here)"
        for there_flat, here_flat in [(_flat(there), _flat(here))]
        for key in sorted({*there_flat, *here_flat})
        if there_flat.get(key) != here_flat.get(key) and key.rpartition(".")[2] not in ("data_dir", "num_workers")
    ]
    if different:
        more = f" and {len(different) - 4} more" if len(different) > 4 else ""
        raise EncoderError(
            f"--ckpt_path: {path} is of a run with other settings: {', '.join(different[:4])}{more}. --ckpt_path only "
            f"resumes the same run; to start a new one from its encoder: 'python -m xmit export RUN --output DIR' and "
            f"--model.init_from DIR"
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists with dotted keys."""
    if isinstance(value, list):
        value = {str(place): part for place, part in enumerate(value)}
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in _flat(part, f"{prefix}{key}.").items()}
    return {prefix[:-1]: value}


def export(run: Path, output: Path) -> None:
    """Write the text encoder of a run as transformers does.

    Args:
        run: A run's folder.
        output: Where to.

    Raises:
        DataError: If the run has neither an encoder nor a checkpoint.
        ConfigError: If the output folder already holds another model.
    """
    import shutil

    if (output / "config.json").exists():
        raise ConfigError(f"{output} already holds a model: choose another folder or remove it")
    encoder = run / ENCODER if (run / ENCODER / "config.json").is_file() else run
    checkpoints = sorted((run / "checkpoints").glob("*.ckpt"))
    if (encoder / "config.json").is_file():
        shutil.copytree(encoder, output, dirs_exist_ok=True)
    elif checkpoints:
        MultimodalModule.load_from_checkpoint(checkpoints[0], map_location="cpu", weights_only=True).save_pretrained(
            str(output)
        )
    else:
        raise DataError(
            f"{run} keeps no weights (neither {ENCODER}/ nor checkpoints/): give the folder of an intermediate, or fit "
            f"again with --save_encoder true (a study keeps the encoders of its intermediates alone)"
        )
