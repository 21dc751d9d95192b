"""Where data come from: a folder with the original release files, or the hub under rules that keep it honest."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from xmit.data.revisions import REVISIONS
from xmit.errors import DataError, MissingDataError

if TYPE_CHECKING:
    import datasets

CONVERTED = "refs/convert/parquet"
"""The branch in which the hub keeps a parquet copy of a data set."""

# pandas takes NA, null and the like for missing values, and quotes in tab-separated text for markup (3 is QUOTE_NONE)
_CSV: dict[str, Any] = {"keep_default_na": False}
_TSV: dict[str, Any] = {**_CSV, "sep": "\t", "quoting": 3}
_REMEDIES = "connect to the hub (or fill its cache beforehand), or pass data_dir with the original release files"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_FOUND: ContextVar[list[Path]] = ContextVar("found")
_OTHER_VERSION = "this is another version of the data: pin the revision, or use data_dir with the original files"


@contextmanager
def found_files() -> Iterator[list[Path]]:
    """Note what :func:`find_file` finds meanwhile, so that an error about rows can name their file."""
    files: list[Path] = []
    token = _FOUND.set(files)
    try:
        yield files
    finally:
        _FOUND.reset(token)


def find_file(data_dir: str | Path, *names: str, task: str, hub: str = "") -> Path:
    """Find the first of some files that exists.

    Args:
        data_dir: The folder to look in; ``~`` is expanded.
        *names: Paths below it, in order of preference; each is also looked for with ``.gz`` after it.
        task: The name of the task, for the error.
        hub: The hub's id of the same data, for the error; anything else where no hub has them.

    Returns:
        The first that is a file.

    Raises:
        MissingDataError: If there is none: what was looked for, where, and both remedies.
    """
    folder = Path(data_dir).expanduser()
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                _FOUND.get([]).append(path)
                return path
    shown = names if len(names) <= 5 else (*names[:3], f"{len(names) - 4} more names", names[-1])
    wanted = " or ".join(shown)
    state = f"in {folder}" if folder.is_dir() else f"in {folder}, which is not a folder"
    remedy = f", or leave data_dir out to load {hub} from the hub" if _HUB_ID.fullmatch(hub) else ""
    raise MissingDataError(
        f"task {task!r}: looked for {wanted} (or the same with .gz) {state}. Put the original release files there and "
        f"pass that folder as data_dir{remedy}."
    )


def labels_to_ids(values: Sequence[str], names: Sequence[str], where: str | Path) -> list[int]:
    """Turn label names into their indices.

    Args:
        values: The label of each row.
        names: The names, in the order of their indices.
        where: Where the rows come from, for the error.

    Returns:
        The index of each row's label.

    Raises:
        DataError: For the first label that is none of ``names``, with its row counted from 1.
    """
    places = {name: place for place, name in enumerate(names)}
    ids = []
    for row, value in enumerate(values, 1):
        if value not in places:
            raise DataError(
                f"{where}: the label of row {row} is {value!r}, not one of {', '.join(names)}; mend that row"
            )
        ids.append(places[value])
    return ids


def load_hub(
    dataset: str,
    *,
    split: str,
    config: str | None = None,
    revision: str | None = None,
    data_files: str | Sequence[str] | Mapping[str, Any] | None = None,
    parquet_branch: bool = False,
    rows: int | None = None,
    label_names: Sequence[str] | None = None,
    drop_unlabelled: bool = False,
) -> datasets.Dataset:
    """Load one split of one configuration from the hub, or from a folder in the hub's layout.

    ``datasets`` merges languages without a word where a repository has a folder for each and no configuration is
    named, and it takes a quote or the word ``NA`` in tab-separated text for markup. Hence these rules:

    - The files of a split must lie in one folder, unless a configuration of the repository's own says otherwise.
    - ``parquet_branch`` takes ``{config}/{split}/*.parquet`` from the hub's converted copy of a repository that
      consists of a script; scripts are never run. Without a config, ``*/{split}/*.parquet`` must be one folder.
    - Tab-separated files are read without quoting, and ``NA``, ``null`` and the like are text in CSV and TSV alike.
    - Without a connection (or with ``HF_HUB_OFFLINE=1``) only the cache is used; nothing is tried over and over.

    Args:
        dataset: ``namespace/name`` on the hub, or a folder with that repository's files.
        split: The split, by the hub's name.
        config: The configuration, which is a language in most of our data sets.
        revision: A commit of the repository, so that data never change unseen; by default the one that
            :data:`~xmit.data.revisions.REVISIONS` pins. A folder has none.
        data_files: Patterns of the split's files, relative to the repository; or such patterns by split.
        parquet_branch: Whether to load from the converted copy, ``refs/convert/parquet`` unless ``revision`` is
            given.
        rows: How many rows there must be, before any are dropped.
        label_names: The names that the labels must have, in this order.
        drop_unlabelled: Drop rows whose label is negative, which is how the hub marks a missing one.

    Returns:
        The split with the hub's columns.

    Raises:
        DataError: If the data cannot be reached or are not what is expected.
    """
    if parquet_branch:
        if data_files is not None:
            raise DataError(f"{dataset}: data_files and parquet_branch exclude each other; leave one out")
        revision = revision or CONVERTED
        data_files = f"{config or '*'}/{split}/*.parquet"
    if isinstance(data_files, Mapping):
        if split not in data_files:
            raise DataError(f"{dataset}: no data_files for split {split!r}, only for {', '.join(data_files)}")
        data_files = data_files[split]
    folder = Path(dataset).expanduser()
    local = bool(dataset) and folder.is_dir()
    if not local and not _HUB_ID.fullmatch(dataset):
        raise DataError(f"{dataset}: neither a folder nor an id of the hub; ids have the form namespace/name")
    what = f"{dataset}{f' ({config})' if config else ''}, split {split!r}"
    options: dict[str, Any] = {"path": str(folder.resolve()) if local else dataset}
    if not local:
        options["revision"] = revision or REVISIONS.get(dataset)
    if data_files is None:
        options["name"] = config
    else:
        options["data_files"] = {split: data_files}
    pin = f"; {_pinned(dataset)}" if options.get("revision") and not revision else ""
    with _reaching_hub(what, local, pin):
        table = _prepare(options, split, what, pin)
    if rows is not None and len(table) != rows:
        raise DataError(f"{what}: {len(table)} rows instead of {rows}; {_OTHER_VERSION}")
    if label_names is not None or drop_unlabelled:
        table = _check_labels(table, what, label_names, drop_unlabelled)
    return table


def _pinned(dataset: str) -> str:
    """That a revision is ours, where it stands, and what to do about it."""
    return (
        f"xmit/data/revisions.py pins {REVISIONS[dataset]}: if that is gone from the hub, "
        "change it there or give load_hub another revision"
    )


def _prepare(options: dict[str, Any], split: str, what: str, pin: str) -> datasets.Dataset:
    import datasets

    if datasets.config.HF_HUB_OFFLINE and "revision" in options:
        builder = _cached(options, what, pin)
    else:
        builder = datasets.load_dataset_builder(**options)
        found = builder.config.data_files or {}
        files = [str(file) for file in found.get(split, ())]
        if found and not files:
            raise DataError(f"{what}: no such split; there are {', '.join(sorted(map(str, found)))}")
        if options.get("name") in (None, "default"):
            _check_one_part(files, options.get("data_files", {}).get(split), what)
        if hasattr(builder.config, "keep_default_na"):  # the builder of CSV and TSV
            tabs = all(PurePosixPath(file.removesuffix(".gz")).suffix == ".tsv" for file in files)
            builder = datasets.load_dataset_builder(**options, **(_TSV if tabs else _CSV))
    # the row counts are ours to check: those of a repository's card are of all its splits
    builder.download_and_prepare(verification_mode="no_checks")
    return builder.as_dataset(split=split)


def _cached(options: dict[str, Any], what: str, pin: str) -> datasets.DatasetBuilder:
    """The builder of what an earlier call left in the cache; ``datasets`` finds it by the very same arguments."""
    import datasets

    for dialect in (_TSV, _CSV):
        with suppress(Exception):
            builder = datasets.load_dataset_builder(**options, **dialect)
            break
    else:
        builder = datasets.load_dataset_builder(**options)
    revision = options["revision"] or ""
    if re.fullmatch(r"[0-9a-f]{40}", revision) and builder.hash != revision:
        raise DataError(f"{what}: the cache holds revision {builder.hash} instead of {revision}; {_REMEDIES}{pin}")
    return builder


def _check_one_part(files: Sequence[str], patterns: str | Sequence[str] | None, what: str) -> None:
    """Refuse files that are not parts of one table, such as the files of several languages."""
    allowed = len(patterns) if isinstance(patterns, Sequence) and not isinstance(patterns, str) else 1
    # what is left of a part's path without its number, as in data/train-00001-of-00003-0f3a9c….parquet
    tables = sorted({re.sub(r"[-_.]?\d+(-of-\d+)?(-[0-9a-f]{8,})?(?=\.[^/]*$)", "*", file) for file in files})
    if len(tables) > allowed:
        some = ", ".join("/".join(PurePosixPath(table).parts[-3:]) for table in tables[:4])
        raise DataError(
            f"{what}: {len(tables)} tables, perhaps languages, would be merged ({some}{', …' * (len(tables) > 4)}); "
            "name the config, or give data_files that match one"
        )


@contextmanager
def _reaching_hub(what: str, local: bool, pin: str) -> Iterator[None]:
    """Turn the errors of ``datasets`` into ours, and give up at once where the hub cannot be reached."""
    import datasets

    offline = datasets.config.HF_HUB_OFFLINE
    reason = "HF_HUB_OFFLINE is set" if offline else ""
    if not local and not offline:
        reason = _unreachable(datasets.config.HF_ENDPOINT)
    try:
        datasets.config.HF_HUB_OFFLINE = offline or bool(reason)  # then the cache answers, without any retries
        yield
    except DataError:
        raise
    except Exception as error:
        text = " ".join(str(_cause(error)).split())[:400]
        if isinstance(error, RuntimeError) and "scripts are no longer supported" in text:
            remedy = "load its converted copy (parquet_branch=True), or pass data_dir with the original release files"
            raise DataError(f"{what}: the repository is a script, which is never run; {remedy}") from error
        if isinstance(error, ConnectionError) or (reason and not local):
            why = f"{reason} and it is not in the cache" if reason else text
            raise MissingDataError(f"{what}: the hub cannot be reached ({why}); {_REMEDIES}") from error
        where = "the folder's files" if local else "id, config, revision and access"
        raise DataError(f"{what}: cannot be loaded ({text}); check {where}, or {_REMEDIES}{pin}") from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline


def _unreachable(endpoint: str) -> str:
    """Why the hub cannot be reached, found out by one request that is not repeated; empty if it can be."""
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=float(os.environ.get("HF_HUB_ETAG_TIMEOUT", "10")))
    except Exception as error:  # the kinds of error are those of whichever library makes the request
        return f"{type(error).__name__}: {error}"
    return ""


def _cause(error: BaseException) -> BaseException:
    """The error at the root of a damaged file's: ``datasets`` wraps it in one that says nothing."""
    while type(error).__name__.startswith("DatasetGeneration") and error.__cause__ is not None:
        error = error.__cause__
    return error


def _check_labels(
    table: datasets.Dataset, what: str, names: Sequence[str] | None, drop_unlabelled: bool
) -> datasets.Dataset:
    import datasets
    import numpy as np

    kinds = {column: getattr(kind, "feature", kind) for column, kind in table.features.items()}
    labels = {column: kind.names for column, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)}
    if names is not None and list(names) not in labels.values():
        there = "; ".join(f"{column!r} has {', '.join(map(str, found))}" for column, found in labels.items())
        there = there or "no column carries label names"
        raise DataError(
            f"{what}: no column has the labels {', '.join(names)} in this order ({there}); {_OTHER_VERSION}"
        )
    if drop_unlabelled:
        single = [column for column in labels if kinds[column] is table.features[column]]
        column = "label" if "label" in table.column_names else next(iter(single), "")
        if not column:
            raise DataError(f"{what}: no column of labels to find unlabelled rows by; {_OTHER_VERSION}")
        table = table.select(np.flatnonzero(np.asarray(table[column][:]) >= 0))
    return table
