"""From a study's YAML file to its cells: every intermediate × target × seed × encoder, and what each depends on."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from xmit.errors import StudyError, check_choice, did_you_mean
from xmit.files import file_hash
from xmit.runs import NOT_IN_IDENTITY_TRAINER
from xmit.study.entries import (
    ENTRY_KEYS,
    SETTINGS,
    along_axes,
    check_keys,
    fit_config,
    named_entries,
    part_classes,
    read_yaml,
)
from xmit.study.leakage import held_out
from xmit.tasks.base import TaskData

BASELINE = "none"
KEYS = (
    "name", "encoder", "seeds", "intermediates", "targets", "axes", "configs", "leakage", "checkpoints", "resources",
    *SETTINGS,
)  # fmt: skip
RESULT_VERSION = 4
"""Part of every identity; raised when a change of the code changes outcomes."""
Keep = Literal["none", "best", "all"]
Leakage = Literal["drop", "thorough", "refuse", "ignore"]
SAVE_MINUTES = 10.0


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Args:
        name: Unique in the study, and the name of its folder.
        role: ``intermediate`` or ``target``.
        intermediate: The intermediate trained, or started from; ``none`` for the public encoder.
        target: The target; empty for an intermediate.
        seed: The seed.
        config: The config of the ``fit`` that carries it out, without its folder.
        depends: The name of the cell whose encoder it starts from, if any.
        identity: Hash of what determines its outcome, its parent's included.
        source_language: The language that it is trained on.
        keep: Which checkpoints stay when it is done.
    """

    name: str
    role: str
    intermediate: str
    target: str
    seed: int
    config: Mapping[str, Any]
    depends: str | None
    identity: str
    source_language: str
    keep: Keep = "none"


@dataclass
class Plan:
    """A study's cells, parents first.

    Args:
        name: Name of the study.
        cells: The cells.
        source: The study file's text, for the report.
        resources: What Ray sets aside for a cell: ``num_cpus``, ``num_gpus`` and the like.
    """

    name: str
    cells: list[Cell] = field(default_factory=list)
    source: str = ""
    resources: Mapping[str, float] = field(default_factory=dict)


def load_plan(path: str | Path) -> Plan:
    """Read a study file and lay out its cells.

    Keys: ``name``; ``encoder``, a name, a list of names, or a mapping from names to settings; ``seeds``, a list;
    ``intermediates`` and ``targets``, lists of task names, or mappings from a name of one's choice to ``config``,
    ``model``, ``trainer`` and ``data`` settings; ``axes``, see :func:`~xmit.study.entries.along_axes`; ``configs``,
    the folder that holds ``intermediate/<name>.yaml`` and ``target/<name>.yaml`` (by default the parent of the study
    file's folder); ``model``, ``trainer`` and ``data``, settings for every cell; ``leakage``, ``checkpoints`` and
    ``resources``, see docs/studies.md.

    Args:
        path: The study file.

    Raises:
        StudyError: If a key or a task is unknown, a file is missing, or cells are impossible.
    """
    path = Path(path)
    study, text = read_yaml(path)
    where = f"study {path}"
    check_keys(study, KEYS, where)
    missing = [key for key in ("encoder", "targets") if not study.get(key)]
    if missing:
        raise StudyError(f"{where}: the key {missing[0]!r} is missing")
    layout = _Layout(study, path)
    plan = Plan(str(study.get("name", path.stem)), source=text, resources=_resources(study, where))
    for encoder, settings in layout.encoders.items():
        _add_cells(plan, layout, encoder, settings)
    names = [cell.name for cell in plan.cells]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise StudyError(f"{where}: two cells would be called {twice!r}: give entries or encoders other names")
    return plan


class _Layout:
    """A study file's parts, checked."""

    def __init__(self, study: Mapping[str, Any], path: Path) -> None:
        where = f"study {path}"
        self.study, self.path = study, path
        self.folder = path.parent / study.get("configs", "..")
        seeds = study.get("seeds", [0])
        if not isinstance(seeds, list) or not seeds or not all(type(s) is int for s in seeds):
            raise StudyError(f"{where}: 'seeds' must be a list of whole numbers, such as [0, 1, 2], not {seeds!r}")
        if len(set(seeds)) != len(seeds):
            raise StudyError(f"{where}: a seed occurs twice in {seeds}")
        self.seeds: list[int] = seeds
        encoder = study["encoder"]
        encoders = [encoder] if isinstance(encoder, str) else encoder
        self.encoders = named_entries(encoders, "encoder", SETTINGS, where)
        axes = study.get("axes") or {}
        if not isinstance(axes, dict):
            raise StudyError(f"{where}: 'axes' must be a mapping with 'intermediate' or 'target'")
        check_keys(axes, ("intermediate", "target"), f"{where}, axes")
        given = named_entries(study.get("intermediates") or [BASELINE], "intermediates", ENTRY_KEYS, where)
        baseline = {BASELINE: given.pop(BASELINE, {})}  # every gain is a gain over it
        self.intermediates = baseline | along_axes(given, axes.get("intermediate"), "intermediate", where)
        self.targets = along_axes(
            named_entries(study["targets"], "targets", ENTRY_KEYS, where), axes.get("target"), "target", where
        )
        self.leakage: Leakage = study.get("leakage", "drop")
        check_choice(f"{where}: leakage", self.leakage, get_args(Leakage))
        checkpoints = study.get("checkpoints") or {}
        check_keys(checkpoints, ("minutes", "updates", "keep"), f"{where}, checkpoints")
        self.keep: Keep = checkpoints.get("keep", "none")
        check_choice(f"{where}: checkpoints.keep", self.keep, get_args(Keep))
        updates = checkpoints.get("updates")
        self.save = {
            "save_every": updates,
            "save_minutes": checkpoints.get("minutes", SAVE_MINUTES) if updates is None else None,
        }

    def config(self, role: str, name: str, entry: Mapping[str, Any], encoder: str, settings: Mapping[str, Any]) -> Any:
        """The fit config of an entry on an encoder, and its task's class."""
        config, cls = fit_config((self.study, settings), self.folder / role, name, entry, self.path)
        config["model"]["encoder"] = encoder
        return config, cls


def _add_cells(plan: Plan, layout: _Layout, encoder: str, settings: Mapping[str, Any]) -> None:
    """Lay out the cells on one encoder."""
    version = encoder_version(encoder)
    prefix = f"{Path(encoder).name.replace(':', '-')}--" if len(layout.encoders) > 1 else ""

    def cell(role: str, names: tuple[str, str], seed: int, found: Any, parent: Cell | None) -> Cell:
        return _cell(plan.name, prefix, role, names, seed, found, parent, layout, version)

    targets = {name: layout.config("target", name, entry, encoder, settings) for name, entry in layout.targets.items()}
    for name, (config, cls) in targets.items():
        if (
            "target" not in part_classes(config, cls, name)[0].metadata.roles
            or len(part_classes(config, cls, name)) > 1
        ):
            raise StudyError(f"study {layout.path}: {name!r} is no target: it has no test split to score in languages")
    parents: dict[tuple[str, int], Cell] = {}
    for name, entry in layout.intermediates.items():
        if name == BASELINE:
            continue
        config, cls = layout.config("intermediate", name, entry, encoder, settings)
        parts = part_classes(config, cls, name)
        if not all((config["data"].get("init_args") or {}).get("train", part.trains) for part in parts):
            raise StudyError(f"study {layout.path}: {name!r} trains nothing, so it is no intermediate")
        if layout.leakage != "ignore":
            config |= held_out(parts, targets, layout.leakage)
        for seed in layout.seeds:
            parents[name, seed] = cell("intermediate", (name, ""), seed, (config, cls), None)
    plan.cells += parents.values()
    for seed in layout.seeds:
        for name in layout.intermediates:
            for target, found in targets.items():
                parent = parents.get((name, seed))
                trains = (found[0]["data"].get("init_args") or {}).get("train", found[1].trains)
                if parent is None and not trains and seed != layout.seeds[0]:
                    continue  # nothing is trained at all, so the seed changes nothing
                plan.cells.append(cell("target", (name, target), seed, found, parent))


def _cell(
    study: str,
    prefix: str,
    role: str,
    names: tuple[str, str],
    seed: int,
    found: tuple[dict[str, Any], type[TaskData]],
    parent: Cell | None,
    layout: _Layout,
    version: str | None,
) -> Cell:
    (intermediate, target), (config, task) = names, found
    name = prefix + (f"{intermediate}--{target}-s{seed}" if target else f"{intermediate}-s{seed}")
    parts = part_classes(config, task, name)
    shown = {key: value for key, value in config["trainer"].items() if key not in NOT_IN_IDENTITY_TRAINER}
    what = {
        "version": RESULT_VERSION,
        "seed": seed,
        "config": {**config, "trainer": shown},
        "data": [cls.data_version() for cls in parts],
        "parent": parent.identity if parent else None,
        **({"encoder": version} if version and not parent else {}),
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]
    config = copy.deepcopy(config) | layout.save
    config["seed_everything"] = seed
    config["run"] = {
        "study": study, "cell": name, "role": role, "intermediate": intermediate, "encoder": config["model"]["encoder"],
        "target": target or None,
    }  # fmt: skip
    source = (config["data"].get("init_args") or {}).get("source_language") or parts[0].metadata.source_language
    source = source if isinstance(source, str) else "+".join(source)
    depends = parent.name if parent else None
    return Cell(name, role, intermediate, target, seed, config, depends, digest, source, layout.keep)


def encoder_version(name: str) -> str | None:
    """What tells one content of a local encoder folder from another: every file's size and hash, of weights samples.

    Args:
        name: An encoder as :class:`~xmit.modules.module.MultimodalModule` takes it; None comes back for a name of the
            hub or an embedded one.
    """
    folder = Path(name)
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        if size < 2**26:
            digest.update(file_hash(path).encode())
            continue
        with path.open("rb") as file:
            for part in range(65):  # gigabytes of weights are not read for a plan
                file.seek(part * (size - 2**16) // 64)
                digest.update(file.read(2**16))
    return digest.hexdigest()[:16]


def _resources(study: Mapping[str, Any], where: str) -> dict[str, float]:
    resources = study.get("resources") or {}
    known = ("num_cpus", "num_gpus", "memory")
    for key, value in resources.items():
        if key not in known or not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise StudyError(
                f"{where}, resources: {key}: {value!r} is not one of {', '.join(known)} with a number."
                f"{did_you_mean(str(key), known)}"
            )
    return dict(resources)
