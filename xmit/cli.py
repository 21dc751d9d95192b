"""One run from one config: the LightningCLI behind ``fit``, ``validate``, ``test`` and ``predict``."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from jsonargparse import Namespace
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins import CheckpointIO

import xmit.tasks
from xmit import interruption
from xmit.arguments import parse_in_one_line, resolve_names
from xmit.checkpoints import BEST, AtomicCheckpointIO, BestCheckpoint, LastCheckpoint
from xmit.errors import ConfigError, XmitError
from xmit.files import atomic_write, write_text
from xmit.hardware import trainer_device
from xmit.languages import LANGUAGES
from xmit.metrics import robustness_summary
from xmit.modules.module import MultimodalModule
from xmit.progress import quiet_libraries
from xmit.runs import check_checkpoint, identity, origin, resumable, run_facts, run_logger
from xmit.study.leakage import SharedItems
from xmit.study.results import (
    CONFIG,
    DONE,
    ENCODER,
    FUSION,
    PREDICTION_COLUMNS,
    RunInfo,
    mark_done,
    read_done,
    result_rows,
    write_results,
)
from xmit.tasks.base import TaskData
from xmit.trainer import Trainer

assert xmit.tasks  # short class names on the command line are those of imported classes


EXAMPLE = "example: python -m xmit {} --config configs/target/cldr_geo.yaml --seed_everything 3"


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
        self.is_cell, self.dry_run = identity is not None, False
        self.started = time.monotonic()
        quiet_libraries()
        self.last: LastCheckpoint | None = None
        self.shared: SharedItems | None = None
        each = {name: {"epilog": EXAMPLE.format(name)} for name in self.subcommands()}
        super().__init__(
            MultimodalModule,
            TaskData,
            trainer_class=Trainer,
            subclass_mode_data=True,
            save_config_callback=None,  # written by us: the run's folder is ours, also without a logger
            seed_everything_default=0,  # an integer: True would say "random" and mean 0
            auto_configure_optimizers=False,
            parser_kwargs={"prog": "python -m xmit", "env_prefix": "XMIT", "allow_abbrev": False, **each},
            args=args,
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse; a registry name after ``--data`` means its class."""
        if isinstance(args, dict | Namespace):
            self.config = parser.parse_object(args)
        else:
            try:
                words = resolve_names(list(sys.argv[1:] if args is None else args))
            except XmitError as error:  # a wrong call, but one line says more than the usage of a hundred settings
                sys.stderr.write(f"xmit: {error}\n")
                raise SystemExit(2) from error
            self.config = parse_in_one_line(parser, words)
        # how it was called, and no setting of the run: it is in neither config nor hash
        self.dry_run = bool(self.options.pop("dry_run", False))

    def _parse_ckpt_path(self) -> None:
        """Never let a checkpoint's hyper-parameters override the config and flags (LightningCLI would)."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's folder and its place in a study."""
        parser.add_argument("--output", type=str | None, default=None, help="the run's folder (runs/<task>-<hash>)")
        parser.add_argument("--overwrite", action="store_true", help="replace a finished run of another config")
        parser.add_argument("--no_test", action="store_true", help="fit: do not score the test split")
        parser.add_argument(
            "--dry-run", action="store_true", help="fit: print the plan and the expected peak memory, and run nothing"
        )
        parser.add_argument(
            "--save_encoder",
            type=bool | None,
            default=None,
            help="fit: write encoder/ (default: for intermediate tasks)",
        )
        parser.add_argument(
            "--save_every",
            type=int | None,
            default=None,
            help="fit: updates between full checkpoints, checkpoints/last.ckpt, from which --ckpt_path goes on "
            "(default: after every validation; 0: none)",
        )
        parser.add_argument(
            "--save_minutes", type=float | None, default=None, help="fit: the same by minutes instead of updates"
        )
        parser.add_argument(
            "--held_out",
            type=list[TaskData] | None,
            default=None,
            help="fit: tasks whose test items and images are left out of the training data",
        )
        parser.add_argument(
            "--on_shared",
            type=Literal["drop", "refuse"],
            default="drop",
            help="fit: what to do with training data that share some with them",
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
            root = self.options.trainer.default_root_dir or "runs"
            output = f"{root}/{self.datamodule.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
            self.options.output = output
        return Path(output) / str(self.subcommand) if self.beside_run(Path(output)) else Path(output)

    def beside_run(self, output: Path) -> bool:
        """Whether this scores a finished run: its files then go beside that run's own, never in their place."""
        return self.subcommand != "fit" and (output / DONE).is_file() and (output / CONFIG).is_file()

    @property
    def info(self) -> RunInfo:
        """The run's place in a study, or what can be told without one."""
        run = self.config_init[self.config.subcommand].run
        roles = self.datamodule.roles
        intermediate, encoder = origin(self.options.model.init_from)
        role = run.role or ("target" if "target" in roles else "intermediate")
        return RunInfo(
            run.study,
            run.cell,
            role,
            run.intermediate or (intermediate if role == "target" else self.datamodule.name),
            run.encoder or encoder or self.options.model.encoder,
            run.target,
        )

    def instantiate_classes(self) -> None:
        """Build the task, the module and the trainer; for a plan no trainer, which begins a log."""
        if not self.dry_run:
            return super().instantiate_classes()
        if self.subcommand != "fit":
            raise ConfigError(f"{self.subcommand}: --dry-run is for fit")
        self.config_init = self.parser.instantiate_classes(self.config)
        self.datamodule, self.model = self._get(self.config_init, "data"), self._get(self.config_init, "model")

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Build the trainer with the run's checkpoints and log in the run's folder."""
        resume_at = None
        if self.subcommand == "fit":
            self.keep_finished()  # before the log of that run is begun anew
            resume_at = self.resume_at()
            self.model.run_config = json.dumps(resumable(self.options.as_dict()), sort_keys=True)
        config = self._get(self.config_init, "trainer", default={})
        callbacks: list[pl.Callback] = list(self.extra_callbacks)
        own = config.get("callbacks") or []
        if (
            self.subcommand == "fit"
            and config.get("enable_checkpointing") is not False
            and not config.get("fast_dev_run")
        ):
            if not any(isinstance(c, ModelCheckpoint) for c in own):
                callbacks.append(BestCheckpoint(self.folder / "checkpoints"))
            if self.options.save_every != 0:
                self.last = LastCheckpoint(
                    self.folder / "checkpoints", self.options.save_every, self.options.save_minutes
                )
                callbacks.append(self.last)
        if config.get("logger") is None:
            kwargs["logger"] = run_logger(self.folder, resume_at) if self.subcommand == "fit" else False
        plugins = config.get("plugins") or []
        plugins = list(plugins) if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            kwargs["plugins"] = [*plugins, AtomicCheckpointIO()]
        trainer_config = {**config, **kwargs, "default_root_dir": config.get("default_root_dir") or str(self.folder)}
        return self._instantiate_trainer(trainer_config, callbacks)

    def resume_at(self) -> int | None:
        """The updates behind the run that goes on; a study's cell whose checkpoint will not do begins anew."""
        try:
            return check_checkpoint(self.options.ckpt_path, self.options.as_dict())
        except XmitError as error:
            if not self.is_cell:
                raise
            warnings.warn(f"the cell begins anew: {error}", stacklevel=2)
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
            self.options.ckpt_path = self.config_init[self.config.subcommand].ckpt_path = None
            return None

    # -- subcommands -----------------------------------------------------------------------------------------

    def _run_subcommand(self, subcommand: str) -> None:
        """Run it; a signal saves what there is and says how to go on."""
        if self.dry_run:
            return self.print_plan()
        with interruption.interruptible():
            try:
                super()._run_subcommand(subcommand)
            except interruption.Interrupted as error:
                error.hint = "nothing was saved yet; the same command begins again"
                if self.last is not None and self.last.saved:
                    error.hint = (
                        f"saved at update {self.trainer.global_step}; it goes on with: python -m xmit fit --config "
                        f"{self.folder / CONFIG} --ckpt_path {self.last.path}"
                    )
                elif (best := self.folder / "checkpoints" / BEST).is_file():
                    error.hint = f"the best weights so far are in {best}, which test takes with --ckpt_path"
                raise
            finally:
                for logger in self.trainer.loggers:
                    # W&B would log the next cell of this process into the same run; one that never began stays so
                    getattr(getattr(logger, "_experiment", None), "finish", lambda: None)()

    def print_plan(self) -> None:
        """Print what a fit would do, and the memory that it is expected to take."""
        from xmit.dry_run import DryRun

        trainer = self.options.trainer.as_dict()
        for line in DryRun(self.model, self.datamodule, trainer, self.folder, self.leave_out_tests).lines():
            sys.stdout.write(f"{line}\n")

    def fit(self, model: MultimodalModule, datamodule: TaskData, ckpt_path: str | None = None, **_: Any) -> None:
        """Train, score the chosen checkpoint, write results, and the encoder of an intermediate."""
        info, trainer = self.info, self.trainer
        self.write_config(CONFIG)
        for logger in trainer.loggers:
            logger.log_hyperparams({"run": asdict(info), "folder": str(self.folder)})  # which of a study's cells it is
        self.leave_out_tests()
        scored = info.role == "target" and not self.options.no_test
        if scored:
            datamodule.setup("test")  # a file that is missing shows before hours of training, not after
        if datamodule.trains:
            trainer.fit(model, datamodule=datamodule, ckpt_path=ckpt_path)
            best = getattr(trainer.checkpoint_callback, "best_model_path", "") or None  # the first: not last.ckpt
            if best is None and not trainer.fast_dev_run:  # type: ignore[attr-defined]
                warnings.warn(
                    f"nothing was validated in {trainer.global_step} updates, so the last weights are kept and scored: "
                    f"lower trainer.val_check_interval to choose among more",
                    stacklevel=2,
                )
                best = str(self.folder / "checkpoints" / BEST)
                trainer.save_checkpoint(best, weights_only=True)
            trainer.validate(model, datamodule=datamodule, ckpt_path=best, verbose=False)
        if scored:
            trained = best if datamodule.trains and model.sharded else None  # else the weights are those validated
            trainer.test(model, datamodule=datamodule, ckpt_path=trained, verbose=False)
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            save = self.options.save_encoder
            if save or (save is None and info.role == "intermediate"):
                saved = self.whole(model)
                for draft in (self.folder / ENCODER).glob(".tmp*"):
                    draft.unlink()  # safetensors' own name for it, left by a process that was killed here
                saved.save_pretrained(str(self.folder / ENCODER))
                shutil.rmtree(self.folder / FUSION, ignore_errors=True)  # an overwritten run's, of another encoder
                saved.save_fusion(str(self.folder / FUSION))
            self.write(model, info)

    def whole(self, model: MultimodalModule) -> MultimodalModule:
        """The module with all its weights, scattered over processes by FSDP but whole in its checkpoint."""
        if not model.sharded:
            return model
        return MultimodalModule.load_from_checkpoint(
            self.folder / "checkpoints" / BEST, map_location="cpu", weights_only=True
        )

    def validate(self, model: MultimodalModule, datamodule: TaskData, ckpt_path: str | None = None, **_: Any) -> None:
        """Score the source language's validation split."""
        self.check_trained(ckpt_path)
        self.trainer.validate(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=False)
        self.show(model, "validation")

    def test(self, model: MultimodalModule, datamodule: TaskData, ckpt_path: str | None = None, **_: Any) -> None:
        """Score the test split in every language."""
        self.check_trained(ckpt_path)
        self.trainer.test(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=False)
        self.write_config("test.yaml")
        self.write(model, self.info)

    def predict(self, model: MultimodalModule, datamodule: TaskData, ckpt_path: str | None = None, **_: Any) -> None:
        """Write the prediction rows of the test split in every language."""
        self.check_trained(ckpt_path)
        self.trainer.predict(model, datamodule=datamodule, ckpt_path=ckpt_path, return_predictions=False)
        path = self.folder / "predictions.parquet"
        rows = model.predictions["test"][list(PREDICTION_COLUMNS)]
        atomic_write(path, lambda p: rows.to_parquet(p, index=False))
        sys.stdout.write(f"{len(rows)} predictions in {path}\n")

    def leave_out_tests(self) -> None:
        """Keep the test data of other tasks out of the training data, and count."""
        run = self.config_init[self.config.subcommand]
        if run.held_out:
            self.shared = SharedItems(
                [t for data in run.held_out for t in data.tasks.values()], run.on_shared == "refuse"
            )
            for task in self.datamodule.tasks.values():
                task.train_filter = self.shared

    # -- files -----------------------------------------------------------------------------------------------

    def check_trained(self, ckpt_path: str | None) -> None:
        """Refuse to score a head that nobody has trained.

        Raises:
            ConfigError: If the task trains and no checkpoint is given.
        """
        check_checkpoint(ckpt_path)
        if ckpt_path is None and self.datamodule.trains:
            raise ConfigError(
                f"{self.subcommand}: task {self.datamodule.name!r} has a head that must be trained first; give "
                f"--ckpt_path RUN/checkpoints/best.ckpt of a fit (cells of a study keep none: fit their config.yaml)"
            )

    def keep_finished(self) -> None:
        """Refuse to fit into the folder of a finished run of another config; the same config may be repeated.

        Raises:
            ConfigError: If there is such a run and ``--overwrite`` is not given.
        """
        done = read_done(self.folder)
        if self.identity is None and done and not self.options.overwrite:
            if done.get("config") != identity(self.options.as_dict()):
                raise ConfigError(
                    f"{self.folder} holds a finished run of another config: choose another --output, or --overwrite it"
                )
            self.identity = done["identity"]  # the study that it belongs to knows it by this

    def write_config(self, name: str) -> None:
        """Write all that is needed to do the run again."""
        folder = self.folder  # known first: the config names it
        options = self.options.clone()
        if self.subcommand == "fit":
            options.ckpt_path = None  # where it went on from is no part of the run
        write_text(folder / name, self._parser(self.subcommand).dump(options, skip_none=False))

    def write(self, model: MultimodalModule, info: RunInfo) -> None:
        """Write result rows, prediction rows and, last, ``done.json``."""
        import pandas as pd

        seed = int(self.options.seed_everything)
        frames = [result_rows(frame, info, seed) for frame in model.results.values()]
        if frames:
            write_results(self.folder, pd.concat(frames, ignore_index=True), model.predictions.get("test"))
            if not self.beside_run(Path(self.options.output)):  # a scoring of a run is no run of its own
                config = identity(self.options.as_dict())
                facts = {"config": config, **run_facts(self.seconds, trainer_device(self.trainer))}
                if self.shared is not None:
                    facts["leakage"] = self.shared.counts
                mark_done(self.folder, self.identity or config, facts)
        self.show(model, "test" if "test" in model.results else "validation")

    @property
    def seconds(self) -> float:
        """How long the run took, what went before its interruptions included."""
        return time.monotonic() - self.started + (self.last.before if self.last is not None else 0.0)

    def show(self, model: MultimodalModule, split: str) -> None:
        """Print the main scores and what they come to, unless a study runs this cell."""
        if split not in model.results or self.options.run.study:
            return
        rows = model.results[split]
        for row in rows[rows.is_main].itertuples():
            sys.stdout.write(f"{row.task}/{row.language}/{row.metric}\t{row.value:.4f}\tn={row.n}\n")
        for name, part in rows[rows.is_main].groupby("task", sort=False):
            values = dict(zip(part["language"], part["value"], strict=True))
            if len(values) > 1:
                summary = robustness_summary(values, source_language=self.datamodule.tasks[name].source_language)
                for key in ("mean", "zero_shot_mean", "low_resource_mean"):
                    sys.stdout.write(f"{name}: {key} {summary[key]:.4f} over {summary['n'][key]} languages\n")
        flags = rows[(rows.metric == "consistency/collapse") & rows.language.isin(LANGUAGES)]
        for name, part in flags.groupby("task", sort=False):  # scores alone would not show it
            sys.stdout.write(f"{name}: one class takes over 95 % of the predictions in {', '.join(part.language)}\n")
        if (self.folder / "results.parquet").exists():
            sys.stdout.write(f"results in {self.folder}\n")
