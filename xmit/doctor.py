"""``doctor``: what this machine will do, line by line, and one tiny update and scoring on its device."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from jsonargparse import Namespace

from xmit import hardware
from xmit.data.features import cache_root
from xmit.data.workers import start_method
from xmit.errors import ConfigError, XmitError
from xmit.progress import quiet
from xmit.study.cell_cli import ConfigCheck, one_line_errors
from xmit.trial import Encoder, Trial, plan_encoder, run_trial

Verdict = Literal["ok", "note", "warning", "problem"]

_PATIENCE = 3.0
"""Seconds for the hub to answer, and for the size of a cache to be summed."""
_LOW_DISK = 5e9
"""Bytes of free disk below which one encoder and its checkpoints may not fit."""
_LOW_SHARED = 2**28
"""Bytes of shared memory below which loader workers may die: containers have 64 MB unless told otherwise."""
_SHOWN = ("torch", "lightning", "transformers", "torchvision", "open_clip_torch", "datasets")
_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}
_DRIVER = "update the NVIDIA driver, or install a torch built for the one there is: https://pytorch.org/get-started"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        group: What it is about, such as ``device``.
        name: Within the group.
        value: What was found, or will be done.
        verdict: ``ok``; ``note``, nothing to do unless one wants it; ``warning``; ``problem``, a run will fail.
        why: The reason.
        remedy: What to do.
    """

    group: str
    name: str
    value: str
    verdict: Verdict = "ok"
    why: str = ""
    remedy: str = ""


@dataclass
class Asked:
    """What a config asks for; the library's defaults without one.

    Args:
        where: The config; empty without one.
        model: Arguments of the module, ``vision`` and ``fusion`` as objects.
        trainer: Arguments of the trainer as in the config.
        num_workers: Loader workers; None leaves them to the device.
    """

    where: str = ""
    model: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    num_workers: int | None = None

    @property
    def device(self) -> torch.device:
        """The kind of device that such a run computes on."""
        return hardware.chosen_device(self.trainer.get("accelerator"), self.trainer.get("strategy"))

    @property
    def precision(self) -> str:
        """As asked for; ``auto`` by default."""
        return str(self.trainer.get("precision") or "auto")


def doctor(configs: Sequence[Path] = (), more: Sequence[str] = (), form: Literal["table", "json"] = "table") -> int:
    """Say what this machine will do, then try one update and one scoring.

    Args:
        configs: The configs of a ``fit``, the later going before the earlier, or one study file; none for defaults.
        more: Further arguments of the ``fit``, such as ``["--trainer.accelerator", "cpu"]``.
        form: How to print.

    Returns:
        0: both worked.

    Raises:
        XmitError: If the config cannot be used, or the update or the scoring failed; printed before.
    """
    quiet()
    findings: list[Finding] = []
    asked, failure = Asked(), None
    try:
        asked = read_config(configs, more)
    except XmitError as error:
        failure = XmitError(f"doctor: {error}")
        failure.__cause__ = error
        findings.append(Finding("config", "config", "cannot be used", "problem", str(error), "correct it"))
    hub = _hub()
    trial = Trial(failed="encoder")
    encoder: Encoder | None = None
    try:
        encoder = plan_encoder(asked.model.get("encoder"), asked.model.get("init_from"), hub.verdict == "ok")
    except XmitError as error:
        trial.error = error
    findings += [*_versions(), *_extras(), *_devices(asked), *_computing(asked, encoder), *_host(asked), hub, *_disks()]
    if encoder is not None:
        findings.append(
            Finding("trial", "encoder", encoder.says, "warning" if encoder.remedy else "ok", "", encoder.remedy)
        )
        if failure is None:
            trial = run_trial(encoder, {**asked.model, "init_from": None}, _trainer(asked))
    if failure is None:
        findings += _tried(trial)
        if trial.error is not None:
            place = f" on {trial.device}" if trial.device is not None else ""
            failure = XmitError(f"doctor: the {trial.failed} failed{place}: {_told(trial.error)} (--debug: traceback)")
            failure.__cause__ = trial.error
    _print(findings, failure is None, asked, form)
    if failure is not None:
        raise failure
    return 0


# -- the config --------------------------------------------------------------------------------------------------


class _Settings(ConfigCheck):
    """Builds the module and the tasks of a config, which load nothing, and keeps the trainer's settings as they are."""

    def instantiate_classes(self) -> None:
        """Build them."""
        parts = Namespace(model=self.options.model, data=self.options.data)  # type: ignore[no-untyped-call]
        built = self._parser(self.subcommand).instantiate_classes(parts)
        self.model, self.datamodule = built.model, built.data


def read_config(configs: Sequence[Path], more: Sequence[str]) -> Asked:
    """What a config asks for, without running it.

    Args:
        configs: See :func:`doctor`.
        more: The like.

    Raises:
        ConfigError: If a ``fit`` would refuse it.
    """
    if not configs and not more:
        return Asked()
    where = " ".join([*map(str, configs), *more])
    with tempfile.TemporaryDirectory() as folder:
        contents = [_mapping(config) for config in configs]
        files = list(configs)
        for i, content in enumerate(contents):
            if "targets" in content:
                where, cell = _cell(configs[i])
                files[i] = Path(folder) / f"{i}.yaml"
                files[i].write_text(yaml.safe_dump(cell, allow_unicode=True), encoding="utf-8")
                contents[i] = cell
        words = [word for file in files for word in ("--config", str(file))]
        if not any("data" in content for content in contents) and not any(w.startswith("--data") for w in more):
            words = ["--data", "xnli", *words]  # a fit wants a task, a trial none
        with one_line_errors(where):
            settings = _Settings(["fit", *words, *more])
    module, options = settings.model, settings.options
    trainer = {name: value for name, value in options.trainer.as_dict().items() if value is not None}
    for name in ("accelerator", "strategy"):
        if not isinstance(trainer.get(name, ""), str):  # an object of the user's own
            part = Namespace(trainer=Namespace(**{name: options.trainer[name]}))  # type: ignore[no-untyped-call]
            parser = settings._parser(settings.subcommand)
            trainer[name] = parser.instantiate_classes(part).trainer[name]
    model = {name: value for name, value in module.hparams.items() if name not in ("vision", "fusion")}
    model |= {"vision": module.vision, "fusion": module.fusion_config}
    workers = [task.num_workers for task in settings.datamodule.tasks.values()]
    return Asked(where, model, trainer, workers[0] if workers else None)


def _mapping(config: Path) -> dict[str, Any]:
    try:
        value: Any = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{config} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{config} must hold a mapping of settings: the config of a fit, or a study file")
    return value


def _cell(config: Path) -> tuple[str, dict[str, Any]]:
    """The cell of a study that asks most of a machine: one with a vision tower if there is any."""
    from xmit.study.plan import load_plan

    cells = load_plan(config).cells
    cell = next((cell for cell in cells if cell.config["model"].get("vision")), cells[0])
    model = {name: value for name, value in cell.config["model"].items() if name != "init_from"}  # not trained yet
    return f"{config}, cell {cell.name}", {**cell.config, "model": model}


def _trainer(asked: Asked) -> dict[str, Any]:
    """The trainer's arguments that decide where and how one process computes."""
    names = ("accelerator", "precision", "gradient_clip_val", "gradient_clip_algorithm", "deterministic", "benchmark")
    chosen = {name: asked.trainer[name] for name in names if name in asked.trainer}
    devices = asked.trainer.get("devices")
    return {**chosen, "devices": devices[:1] if isinstance(devices, list) else 1}


# -- what is installed -------------------------------------------------------------------------------------------


def _versions() -> Iterator[Finding]:
    yield Finding("versions", "xmit", _version("xmit") or "not installed", why=f"Python {platform.python_version()}")
    wanted = {_key(r): r for r in _requirements(None)}
    for name in dict.fromkeys((*map(_normal, _SHOWN), *wanted)):
        version, requirement = _version(name), wanted.get(name)
        bad = requirement is not None and not _met(requirement)
        if bad or name in map(_normal, _SHOWN):
            verdict: Verdict = "warning" if bad else "ok"
            why, remedy = (f"xmit wants {requirement}", "pip install -U xmit") if bad else ("", "")
            yield Finding("versions", name, version or "not installed", verdict, why, remedy)
    built = (
        f"CUDA {torch.version.cuda}"
        if torch.version.cuda
        else f"ROCm {torch.version.hip}"
        if torch.version.hip
        else "CPU"
    )
    yield Finding("versions", "torch's build", built)
    missing = hardware.flash_attn_missing()
    if missing is None:
        yield Finding("versions", "flash-attn", _version("flash-attn") or "installed")
    elif "not installed" in missing:
        yield Finding("versions", "flash-attn", "not installed", "note", "needed on no machine, see attention")
    else:
        remedy = "install a wheel of this torch and CUDA, or: pip uninstall flash-attn"
        yield Finding("versions", "flash-attn", "unusable", "warning", missing, remedy)


def _extras() -> Iterator[Finding]:
    try:
        extras = metadata.metadata("xmit").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        yield Finding("extras", "xmit", "not installed", "warning", "run from its sources", "pip install -e .")
        return
    for extra in sorted(extras):
        missing = [_key(requirement) for requirement in _requirements(extra) if not _met(requirement)]
        if missing:
            yield Finding("extras", extra, f"without {', '.join(missing)}", "note", "", f"pip install 'xmit[{extra}]'")
        else:
            yield Finding("extras", extra, "installed")


def _requirements(extra: str | None) -> list[Any]:
    """What xmit requires, or what one of its extras adds, by the installed metadata."""
    from packaging.requirements import Requirement

    try:
        every = [Requirement(text) for text in metadata.requires("xmit") or []]
    except metadata.PackageNotFoundError:
        return []
    if extra is None:
        return [r for r in every if r.marker is None or r.marker.evaluate({"extra": ""})]
    return [
        r for r in every if r.marker and r.marker.evaluate({"extra": extra}) and not r.marker.evaluate({"extra": ""})
    ]


def _met(requirement: Any) -> bool:
    version = _version(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")


def _key(requirement: Any) -> str:
    return _normal(requirement.name)


# -- devices -----------------------------------------------------------------------------------------------------


def _devices(asked: Asked) -> Iterator[Finding]:
    driver = nvidia_smi()
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            yield _gpu(i, driver)
    elif driver:
        yield _unused(driver)
    if torch.backends.mps.is_available():
        yield Finding("device", "mps", "Apple GPU", "note", "batches take the plain, padded path in fp32")
    best, device = hardware.best_device(), asked.device
    yield Finding("device", "default", best.type, why=f"{hardware.describe(best)}; what trainer.accelerator auto takes")
    if not asked.where:
        n = torch.cuda.device_count() if best.type == "cuda" else 1
        if n > 1:
            yield Finding(
                "device", "several", f"all {n} GPUs", "note", "a run takes all by default", "trainer.devices: 1"
            )
        return
    wanted = str(asked.trainer.get("accelerator", "auto"))
    told = f"trainer.accelerator {wanted}, devices {asked.trainer.get('devices', 'auto')}"
    if (wanted == "gpu" and best.type == "cpu") or (wanted in ("cuda", "mps") and best.type != wanted):
        remedy = "trainer.accelerator: auto takes what there is"
        yield Finding("device", "config", "no such device", "problem", told, remedy)
    elif device.type == "cpu" and best.type != "cpu":
        yield Finding("device", "config", "cpu", "warning", told, "leave trainer.accelerator out to use the GPU")
    else:
        yield Finding("device", "config", device.type, why=told)


def _gpu(number: int, driver: Sequence[str]) -> Finding:
    facts: Any = torch.cuda.get_device_properties(number)
    major, minor = torch.cuda.get_device_capability(number)
    value = f"{torch.cuda.get_device_name(number)}, {_size(facts.total_memory)}, compute capability {major}.{minor}"
    name = f"cuda:{number}"
    architectures = torch.cuda.get_arch_list()
    if torch.version.hip is None and architectures and not runs_on(architectures, (major, minor)):
        why = f"this torch has kernels for {' '.join(architectures)} alone"
        return Finding(
            "device", name, value, "problem", why, "install a torch that has: https://pytorch.org/get-started"
        )
    why = driver[0].rpartition(", driver ")[2] if driver else ""
    return Finding("device", name, value, why=f"driver {why}" if why else "")


def runs_on(architectures: Sequence[str], capability: tuple[int, int]) -> bool:
    """Whether kernels built for some architectures run on a GPU.

    Args:
        architectures: As ``torch.cuda.get_arch_list`` gives them, such as ``sm_80`` or ``compute_90``.
        capability: The GPU's compute capability.
    """
    for architecture in architectures:
        kind, _, digits = architecture.partition("_")
        digits = digits.rstrip("af")
        if digits.isdecimal():
            built = int(digits[:-1]), int(digits[-1])
            # binaries run on later GPUs of the same major version, intermediate code on all later ones
            if built <= capability and (kind == "compute" or built[0] == capability[0]):
                return True
    return False


def _unused(driver: Sequence[str]) -> Finding:
    """GPUs that the driver knows and torch cannot use."""
    value = f"{len(driver)} NVIDIA GPU{'s' * (len(driver) > 1)} not used ({driver[0]})"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if torch.version.cuda is None:
        why, remedy = "this torch is built for the CPU", "install one for CUDA: https://pytorch.org/get-started"
    elif visible is not None and (not visible.strip() or visible.strip().startswith("-1")):
        why, remedy = f"CUDA_VISIBLE_DEVICES is {visible!r}", "unset it, or name GPUs in it"
    else:
        why, remedy = (
            f"torch is built for CUDA {torch.version.cuda}, for which the driver is too old or broken",
            _DRIVER,
        )
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
        except (RuntimeError, AssertionError) as error:
            why = f"torch is built for CUDA {torch.version.cuda}: {' '.join(str(error).split())[:200]}"
    return Finding("device", "cuda", value, "warning", why, remedy)


def nvidia_smi() -> list[str]:
    """One line a GPU that NVIDIA's driver knows, whatever torch says; empty without driver."""
    if not (program := shutil.which("nvidia-smi")):
        return []
    query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip().replace(", ", ", driver ") for line in done.stdout.splitlines() if line.strip()]


# -- precision and attention -------------------------------------------------------------------------------------


def _computing(asked: Asked, encoder: Encoder | None) -> Iterator[Finding]:
    device, precision = asked.device, asked.precision
    if device.type == "cuda" and not torch.cuda.is_available():
        return  # said above; nothing can be asked of it
    bf16 = hardware.computes_bf16(device)
    has = f"{hardware.describe(device)} {'computes in bf16' if bf16 else 'has no bf16 of its own'}"
    if precision == "auto":
        precision = hardware.fast_precision(device)
        yield Finding("computing", "precision", precision, why=f"auto: {has}")
    elif precision.startswith("bf16") and not bf16:
        remedy = f"trainer.precision: auto takes {hardware.fast_precision(device)}"
        yield Finding("computing", "precision", precision, "warning", f"slow: {has}", remedy)
    elif precision.startswith("16") and device.type == "cpu":
        remedy = f"trainer.precision: auto takes {hardware.fast_precision(device)}"
        why = "on a CPU Lightning computes in bf16 instead of mixed fp16, and plain fp16 is slow"
        yield Finding("computing", "precision", precision, "warning", why, remedy)
    else:
        yield Finding("computing", "precision", precision, why=f"as asked for; {has}")
    config: Any = None if encoder is None else encoder.config
    heads = getattr(config, "num_attention_heads", None)
    if not heads:
        return
    dtype = {"bf": torch.bfloat16, "16": torch.float16, "64": torch.float64}.get(precision[:2], torch.float32)
    size = config.hidden_size // heads
    dropped = asked.model.get("dropout")
    dropout = config.attention_probs_dropout_prob if dropped is None else dropped
    yield _attention("attention in training", device, dtype, float(dropout), size)
    if hardware.packs_scoring(device):
        yield _attention("attention in scoring", device, dtype, 0.0, size)
    else:
        yield Finding(
            "computing", "attention in scoring", "sdpa", why=f"{device.type}: sorted by length, hardly padded"
        )


def _attention(name: str, device: torch.device, dtype: torch.dtype, dropout: float, size: int) -> Finding:
    if not hardware.runs_packed(device):
        return Finding("computing", name, "sdpa", why=f"{device.type}: padded batches, the plain path")
    chosen = hardware.attention(device, dtype, dropout > 0, size)
    why = f"{chosen.why}; heads of {size}, dropout {dropout:g}, {str(dtype).removeprefix('torch.')}"
    if device.type != "cuda" or chosen.kernel != "groups":
        return Finding("computing", name, chosen.kernel, why=why)
    if dtype == torch.float32:
        remedy = f"trainer.precision: {hardware.fast_precision(device)}"
        return Finding("computing", name, chosen.kernel, "warning", why, remedy)
    if hardware.attention(device, dtype, False, size).kernel == "varlen":
        remedy = "pip install flash-attn --no-build-isolation, or model.dropout: 0 for torch's own kernel"
        return Finding("computing", name, chosen.kernel, "warning", f"slower; {why}", remedy)
    return Finding("computing", name, chosen.kernel, "note", why)


# -- the machine -------------------------------------------------------------------------------------------------


def _host(asked: Asked) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    bf16 = hardware.computes_bf16(hardware.CPU)
    why = (
        f"{os.cpu_count()} in all; torch computes with {torch.get_num_threads()}, {'with' if bf16 else 'without'} bf16"
    )
    yield Finding("host", "CPU cores", str(cores), why=why)
    total, limit = _memory()
    if total:
        held = limit is not None and limit < total
        size = limit if held and limit is not None else total
        yield Finding("host", "memory", _size(size), why="limit of this container" if held else "")
    n = hardware.loader_workers(asked.device) if asked.num_workers is None else asked.num_workers
    told = "as many as suit the device" if asked.num_workers is None else "data.num_workers"
    yield Finding("host", "loader workers", str(n), why=f"{told}; {start_method()} starts processes")
    shared = Path("/dev/shm")
    if shared.is_dir():
        size = shutil.disk_usage(shared).total
        low = n > 0 and size < _LOW_SHARED
        remedy = "give the container more (docker run --shm-size=8g), or data.num_workers: 0" if low else ""
        why = "loader workers hand over large batches through it" if low else ""
        yield Finding("host", "shared memory", _size(size), "warning" if low else "ok", why, remedy)


def _memory() -> tuple[int | None, int | None]:
    """Bytes of memory that there are, and that a container leaves; None where nothing tells."""
    limit, total = None, None
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        text = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        limit = int(text) if text.isdecimal() else None
    except (OSError, ValueError, AttributeError):  # another system, or no container
        return total, None
    return total, limit


def _hub() -> Finding:
    """Whether the hub answers one request that is not repeated, within some seconds."""
    from huggingface_hub import constants

    endpoint = constants.ENDPOINT
    if constants.HF_HUB_OFFLINE:
        return Finding("network", "hub", "not asked", "note", "HF_HUB_OFFLINE is set: only its cache is used")
    reason = [f"no answer within {_PATIENCE:g} s"]
    asking = threading.Thread(target=_ask, args=(endpoint, reason), daemon=True)  # looking up a name has no timeout
    asking.start()
    asking.join(_PATIENCE + 1)
    if not reason[0]:
        return Finding("network", "hub", "reachable", why=endpoint)
    remedy = "connect, fill its cache beforehand, or give folders: model.encoder, data.data_dir"
    return Finding("network", "hub", "not reachable", "warning", f"{endpoint}: {reason[0]}", remedy)


def _ask(endpoint: str, reason: list[str]) -> None:
    from huggingface_hub import get_session

    try:
        answer = get_session().head(endpoint, timeout=_PATIENCE)
    except Exception as error:  # the kinds of error are those of whichever library makes the request
        reason[0] = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        return
    reason[0] = f"it answers with status {answer.status_code}" if answer.status_code >= 500 else ""


def _disks() -> Iterator[Finding]:
    from huggingface_hub import constants

    yield _disk("cache of xmit", cache_root(), "XMIT_CACHE=DIR")
    yield _disk("cache of the hub", Path(constants.HF_HOME), "HF_HOME=DIR")
    yield _disk("runs", Path("runs"), "--output DIR")


def _disk(name: str, folder: Path, remedy: str) -> Finding:
    there = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    value = f"{folder}: {_used(folder)}, {_size(free)} free"
    if not os.access(there, os.W_OK):
        return Finding("disk", name, value, "warning", f"{there} cannot be written to", remedy)
    if free < _LOW_DISK:
        return Finding("disk", name, value, "warning", "an encoder and its checkpoints may not fit", remedy)
    return Finding("disk", name, value)


def _used(folder: Path) -> str:
    """The size of a folder, as far as it is summed in some seconds."""
    total, started = 0, time.monotonic()
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            if not path.is_symlink():  # the hub's cache links to its files
                try:
                    total += path.stat().st_size
                except OSError:  # gone meanwhile
                    continue
        if time.monotonic() - started > _PATIENCE:
            return f"over {_size(total)}"
    return _size(total) if folder.exists() else "empty"


def _size(n: int) -> str:
    return f"{n / 1e9:,.1f} GB" if n >= 1e8 else f"{n / 1e6:,.1f} MB"


# -- the trial and the report ------------------------------------------------------------------------------------


def _tried(trial: Trial) -> Iterator[Finding]:
    if trial.tower:
        yield Finding("trial", "vision tower", trial.tower)
    for name, seconds in trial.seconds.items():
        more = f", {trial.precision}" + (f", {_size(trial.peak)} of tensors at most" if trial.peak else "")
        yield Finding("trial", name, "works", why=f"on {trial.device}{more}, {seconds:.1f} s")
    if trial.error is not None:
        yield Finding("trial", trial.failed, "failed", "problem", _told(trial.error), _remedy(trial.error))


def _told(error: Exception) -> str:
    kind = "" if isinstance(error, XmitError) else f"{type(error).__name__}: "
    return kind + (" ".join(str(error).split())[:400] or "no message")


def _remedy(error: Exception) -> str:
    if isinstance(error, XmitError):
        return ""  # its message names it
    if isinstance(error, torch.OutOfMemoryError):
        return "free the GPU (nvidia-smi shows who has it), or model.checkpointing: true"
    if "no kernel image" in str(error):
        return "install a torch that has kernels for this GPU: https://pytorch.org/get-started"
    return "--debug shows the traceback; trainer.accelerator: cpu goes round a broken device"


def _print(findings: Sequence[Finding], works: bool, asked: Asked, form: str) -> None:
    if form == "json":
        report: Mapping[str, Any] = {
            "works": works, "config": asked.where or None, "platform": platform.platform(),
            "findings": [asdict(finding) for finding in findings],
        }  # fmt: skip
        sys.stdout.write(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    width = max(len(finding.name) for finding in findings)
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            console.print(Text(group, style="bold"))
        line = Text("  ").append(f"{finding.verdict:<8}", style=_COLOURS[finding.verdict])
        line.append(f"{finding.name:<{width}}  {finding.value}")
        line.append(f" ({finding.why})" if finding.why else "", style="dim")
        line.append(f" → {finding.remedy}" if finding.remedy else "")
        console.print(line)
    if works:
        n = sum(finding.verdict == "warning" for finding in findings)
        more = f"; {n} warning{'s' * (n > 1)} above" if n else ""
        console.print(Text(f"one update and one scoring worked{more}", style="bold"))
