"""One run from one config: the LightningCLI behind ``fit``, ``validate``, ``test`` and ``predict``."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from jsonargparse import Namespace
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger

import xmit.tasks
from xmit.errors import ConfigError, DataError, EncoderError, did_you_mean
from xmit.files import atomic_write, write_text
from xmit.modules.module import MAIN_SCORE, MultimodalModule
from xmit.registry import registered_tasks
from xmit.study.results import CONFIG, ENCODER, RunInfo, mark_done, result_rows, write_results
from xmit.tasks.base import Task
from xmit.trainer import Trainer

assert xmit.tasks  # short class names on the command line are those of imported classes


EXAMPLE = "example: python -m xmit {} --config configs/target/cldr_geo.yaml --seed_everything 3"


class Parser(LightningArgumentParser):
    """Adds to an unknown task's error what was probably meant."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Print usage and message and exit with 2."""
        match = re.search(r"class (?:path|name)? ?[`'\"]?(\w+)|Expected a dot import path string: (\w+)", message)
        asked = next((g for g in match.groups() if g), "") if match else ""
        tasks = registered_tasks()
        known = {cls.__name__ for cls in tasks.values()} | set(tasks)
        if asked and "data" in message and asked not in known:
            message += f"\nunknown task {asked!r}.{did_you_mean(asked, known)}"
        super().error(message, ex)


class XmitCLI(LightningCLI):
    """LightningCLI with one model class, tasks by class path, and results written to the run's folder.

    Args:
        args: Command line arguments; those of the process by default.
        callbacks: Added to the trainer's, such as a study's progress.
        identity: What ``done.json`` shall say of the run; by default a hash of its config.
    """

    def __init__(
        self, args: ArgsType = None, callbacks: Sequence[pl.Callback] = (), identity: str | None = None
    ) -> None:
        self.extra_callbacks, self.identity = list(callbacks), identity
        self.started = time.time()
        epilogs = {name: {"epilog": EXAMPLE.format(name)} for name in self.subcommands()}
        super().__init__(
            MultimodalModule,
            Task,
            trainer_class=Trainer,
            subclass_mode_data=True,
            save_config_callback=None,  # written by us: the run's folder is ours, also without a logger
            seed_everything_default=0,  # an integer: True would say "random" and mean 0
            auto_configure_optimizers=False,
            parser_class=Parser,
            parser_kwargs={"env_prefix": "XMIT", **epilogs},
            args=args,
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse; a registry name after ``--data`` means its class."""
        if isinstance(args, dict | Namespace):
            self.config = parser.parse_object(args)
        else:
            self.config = parser.parse_args(resolve_names(list(sys.argv[1:] if args is None else args)))

    def _parse_ckpt_path(self) -> None:
        """Never let a checkpoint's hyper-parameters override the config and flags (LightningCLI would)."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's folder and its place in a study."""
        parser.add_argument("--output", type=str | None, default=None, help="the run's folder (runs/<task>-<hash>)")
        parser.add_argument("--no_test", action="store_true", help="fit: do not score the test split")
        parser.add_argument(
            "--save_encoder",
            type=bool | None,
            default=None,
            help="fit: write encoder/ (default: for intermediate tasks)",
        )
        parser.add_class_arguments(RunInfo, "run")

    # -- the run's parts -------------------------------------------------------------------------------------

    @property
    def options(self) -> Namespace:
        """The config of the subcommand."""
        return self.config[self.config.subcommand]  # type: ignore[no-any-return]

    @property
    def folder(self) -> Path:
        """The run's folder."""
        output = self.options.output
        if output is None:
            text = self._parser(self.subcommand).dump(self.options, skip_none=False)
            output = f"runs/{self.datamodule.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
            self.options.output = output
        return Path(output)

    @property
    def info(self) -> RunInfo:
        """The run's place in a study."""
        run = self.config_init[self.config.subcommand].run
        roles = self.datamodule.metadata.roles
        return RunInfo(
            run.study,
            run.cell,
            run.role or ("target" if "target" in roles else "intermediate"),
            run.intermediate,
            run.encoder or self.options.model.encoder,
        )

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Build the trainer with the run's checkpoints and log in the run's folder."""
        config = self._get(self.config_init, "trainer", default={})
        callbacks: list[pl.Callback] = list(self.extra_callbacks)
        own = config.get("callbacks") or []
        if self.subcommand == "fit" and not any(isinstance(c, ModelCheckpoint) for c in own):
            self.best = ModelCheckpoint(
                self.folder / "checkpoints", "best", MAIN_SCORE, mode="max", save_weights_only=True,
                enable_version_counter=False,
            )  # fmt: skip
            if config.get("enable_checkpointing") is not False and not config.get("fast_dev_run"):
                callbacks.append(self.best)
        if config.get("logger") is None:
            kwargs["logger"] = run_logger(self.folder) if self.subcommand == "fit" else False
        trainer_config = {**config, **kwargs, "default_root_dir": config.get("default_root_dir") or str(self.folder)}
        return self._instantiate_trainer(trainer_config, callbacks)

    # -- subcommands -----------------------------------------------------------------------------------------

    def fit(self, model: MultimodalModule, datamodule: Task, ckpt_path: str | None = None, **_: Any) -> None:
        """Train, score the chosen checkpoint, write results, and the encoder of an intermediate."""
        info, trainer = self.info, self.trainer
        self.write_config()
        if datamodule.trains:
            check_checkpoint(ckpt_path)
            trainer.fit(model, datamodule=datamodule, ckpt_path=ckpt_path)
            best = getattr(trainer.checkpoint_callback, "best_model_path", "") or None
            trainer.validate(model, datamodule=datamodule, ckpt_path=best, verbose=False)
        if info.role == "target" and not self.options.no_test:
            trainer.test(model, datamodule=datamodule, verbose=False)
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            save = self.options.save_encoder
            if save or (save is None and info.role == "intermediate"):
                model.save_pretrained(str(self.folder / ENCODER))
            self.write(model, info)

    def validate(self, model: MultimodalModule, datamodule: Task, ckpt_path: str | None = None, **_: Any) -> None:
        """Score the source language's validation split."""
        check_checkpoint(ckpt_path)
        self.trainer.validate(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=False)
        self.show(model, "validation")

    def test(self, model: MultimodalModule, datamodule: Task, ckpt_path: str | None = None, **_: Any) -> None:
        """Score the test split in every language."""
        check_checkpoint(ckpt_path)
        self.trainer.test(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=False)
        self.write_config()
        self.write(model, self.info)
        self.show(model, "test")

    def predict(self, model: MultimodalModule, datamodule: Task, ckpt_path: str | None = None, **_: Any) -> None:
        """Write the prediction rows of the test split in every language."""
        check_checkpoint(ckpt_path)
        self.trainer.predict(model, datamodule=datamodule, ckpt_path=ckpt_path, return_predictions=False)
        path = self.folder / "predictions.parquet"
        rows = model.predictions["test"][["task", "language", "id", "prediction", "scores", "target"]]
        atomic_write(path, lambda p: rows.to_parquet(p, index=False))
        sys.stdout.write(f"{len(rows)} predictions in {path}\n")

    # -- files -----------------------------------------------------------------------------------------------

    def write_config(self) -> None:
        """Write all that is needed to do the run again."""
        folder = self.folder  # known first: the config names it
        write_text(folder / CONFIG, self._parser(self.subcommand).dump(self.options, skip_none=False))

    def write(self, model: MultimodalModule, info: RunInfo) -> None:
        """Write result rows, prediction rows and, last, ``done.json``."""
        import pandas as pd

        seed = int(self.options.seed_everything)
        frames = [result_rows(frame, info, seed) for frame in model.results.values()]
        if frames:
            write_results(self.folder, pd.concat(frames, ignore_index=True), model.predictions.get("test"))
            mark_done(self.folder, self.identity or identity(self.options.as_dict()), run_facts(self.started))
        self.show(model, "test" if "test" in model.results else "validation")

    def show(self, model: MultimodalModule, split: str) -> None:
        """Print the main scores, unless a study runs this cell."""
        if split in model.results and not self.options.run.study:
            rows = model.results[split]
            for row in rows[rows.is_main].itertuples():
                sys.stdout.write(f"{row.task}/{row.language}/{row.metric}\t{row.value:.4f}\tn={row.n}\n")
            sys.stdout.write(f"results in {self.folder}\n" if (self.folder / "results.parquet").exists() else "")


def run_logger(folder: Path) -> CSVLogger:
    """The CSV log of a run, ``log.csv`` in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.csv").unlink(missing_ok=True)
    logger = CSVLogger(folder, name="", version="", flush_logs_every_n_steps=50)
    logger.experiment.metrics_file_path = str(folder / "log.csv")
    return logger


def resolve_names(args: list[str]) -> list[str]:
    """Replace registry names after ``--data`` by class paths."""
    tasks = registered_tasks()
    resolved = []
    for i, arg in enumerate(args):
        if i and args[i - 1] == "--data" and arg in tasks:
            arg = class_path(tasks[arg])
        elif arg.startswith("--data=") and arg[7:] in tasks:
            arg = f"--data={class_path(tasks[arg[7:]])}"
        resolved.append(arg)
    return resolved


def class_path(cls: type[Task]) -> str:
    """The shortest public path of a task class, so that configs outlive a move of the file."""
    if getattr(xmit.tasks, cls.__name__, None) is cls:
        return f"xmit.tasks.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def check_checkpoint(path: str | None) -> None:
    """Refuse what is no checkpoint of ours before Lightning tries.

    Raises:
        DataError: If there is no such file.
        EncoderError: If it is an encoder folder, or no Lightning checkpoint.
    """
    if path is None or path in {"best", "last"}:
        return
    if Path(path).is_dir():
        raise EncoderError(
            f"--ckpt_path takes a checkpoint file of the same run; for the encoder in {path} use --model.init_from"
        )
    if not Path(path).is_file():
        raise DataError(f"--ckpt_path: there is no file {path}")


NOT_IN_IDENTITY = ("output", "run", "no_test", "save_encoder", "config", "ckpt_path", "weights_only")
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
    kept = {k: v for k, v in config.items() if k not in NOT_IN_IDENTITY}
    kept["trainer"] = {k: v for k, v in (config.get("trainer") or {}).items() if k not in NOT_IN_IDENTITY_TRAINER}
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run_facts(started: float) -> dict[str, Any]:
    """Versions, machine and time of a run."""
    import platform

    import lightning
    import torch
    import transformers

    return {
        "seconds": round(time.time() - started, 1),
        "versions": {
            "xmit": xmit.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "transformers": transformers.__version__,
        },
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU",
    }


def run_cell(config: Path, identity: str, callbacks: Sequence[pl.Callback] = ()) -> None:
    """Carry out one cell of a study: ``fit --config FILE`` within this process."""
    XmitCLI(["fit", "--config", str(config)], callbacks, identity)


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
        raise DataError(f"{run} has neither {ENCODER}/ nor checkpoints/: give the folder of a finished fit")
