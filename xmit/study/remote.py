"""A study whose folder is a URL (``s3://bucket/study``): cells run in a folder of this machine and are copied there.

An object store has neither locks nor files that grow, so nothing is written there in place: a cell's files are copied
when it ends, ``done.json`` last. Weights are copied back only to the machine that starts a cell from them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xmit.data.features import cache_root
from xmit.errors import StudyError
from xmit.files import write_json
from xmit.study.lock import LOCK, dead, held, parse, this_process
from xmit.study.results import CHECKPOINTS, DONE, ELSEWHERE, ENCODER, FUSION, PLAN, STARTED

WEIGHTS = (f"{ENCODER}/", f"{FUSION}/")


def identity_of(done: bytes) -> str | None:
    """The identity that a ``done.json`` says; None of a damaged one."""
    try:
        known = json.loads(done)["identity"]
    except (ValueError, KeyError, TypeError):
        return None
    return str(known)


def open_folder(output: str | Path) -> tuple[Path, RemoteFolder | None]:
    """The folder of this machine in which a study runs or is read, and what it is a copy of if that is a URL.

    Args:
        output: A path, ``file://…`` included, or a URL that fsspec knows.

    Raises:
        StudyError: If there is no such filesystem, or it cannot be reached.
    """
    if "://" not in str(output):
        return Path(output), None
    protocol, _, path = str(output).partition("://")
    if protocol in ("file", "local"):
        return Path(path), None
    remote = RemoteFolder(str(output))
    return remote.folder, remote


def local_copy(folder: str | Path) -> Path:
    """A folder that can be read: the one given, or a copy, without weights, of the study behind a URL."""
    place, remote = open_folder(folder)
    if remote is not None:
        remote.fetch()
    return place


class RemoteFolder:
    """A study's folder behind a URL.

    Args:
        url: Such as ``s3://bucket/study``.

    Attributes:
        folder: Its copy on this machine, in the user's cache.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        name = f"{self.url.rpartition('/')[2]}-{hashlib.sha256(self.url.encode()).hexdigest()[:8]}"
        self.folder = cache_root().absolute() / "studies" / name
        self._connect()

    def fetch(self, cells: Mapping[str, str] | None = None) -> None:
        """Copy what is finished there to this machine, without weights.

        Args:
            cells: The cells wanted and their identities; by default the plan, and what it has. What there is of another
                identity is left alone, and so is what lies here in its place.
        """
        fs, root, there = self._listed("")
        if cells is None and PLAN in there:
            self._get(fs, root, [PLAN])
            plan = json.loads((self.folder / PLAN).read_text(encoding="utf-8"))
            cells = {cell["name"]: cell["identity"] for cell in plan["cells"]}
        finished = {path.rpartition("/")[0] for path in there if path.endswith(f"/{DONE}")}
        for copy in self.folder.glob(f"*/{ELSEWHERE}"):
            if copy.parent.name not in finished:
                shutil.rmtree(copy.parent)
        self._take(fs, root, there, finished if cells is None else finished & set(cells), cells or {})

    def _take(
        self, fs: Any, root: str, there: Mapping[str, int], names: Collection[str], identities: Mapping[str, str]
    ) -> None:
        """Copy finished cells here, without weights, where another run of them or none lies here."""
        texts = fs.cat([f"{root}/{name}/{DONE}" for name in sorted(names)]) if names else {}
        new: dict[str, bytes] = {}
        for name in names:
            text, here = texts[f"{root}/{name}/{DONE}"], self.folder / name / DONE
            if here.is_file() and here.read_bytes() == text:
                continue
            if identities.get(name) in (None, identity_of(text)):
                new[name] = text
        for name in new:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        files = [path for path in there if path.rpartition("/")[0] in new and not path.endswith(f"/{DONE}")]
        self._get(fs, root, files)
        for name, text in new.items():
            own = {path.removeprefix(f"{name}/"): size for path, size in there.items() if path.startswith(f"{name}/")}
            write_json(self.folder / name / ELSEWHERE, {p: size for p, size in own.items() if p.startswith(WEIGHTS)})
            (self.folder / name / DONE).write_bytes(text)

    def fetch_for(self, cell: str, parent: str | None) -> None:
        """Copy what a cell needs here: its parent's weights, and its own checkpoint if it stopped elsewhere."""
        fs, root, there = self._listed(cell, *([parent] if parent else []))
        if f"{cell}/{STARTED}" in there and not (self.folder / cell / CHECKPOINTS / "last.ckpt").is_file():
            self._get(fs, root, [path for path in there if path.startswith(f"{cell}/")])
        if parent and f"{parent}/{DONE}" in there:
            with self._alone():
                self._take(fs, root, there, [parent], {})  # weights of another run of it go
                weights = [path for path in there if path.startswith(tuple(f"{parent}/{part}" for part in WEIGHTS))]
                self._get(fs, root, [path for path in weights if not (self.folder / path).is_file()])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process of this machine at a time: several cells may need the same parent at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".copying").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def send(self, cell: str = "") -> None:
        """Copy a cell's files there, in place of what it left before; without a name the study's own files."""
        fs, root, there = self._listed(*([cell] if cell else []))
        found = (self.folder / cell).rglob("*") if cell else self.folder.iterdir()
        here = [p.relative_to(self.folder).as_posix() for p in sorted(found) if p.is_file() and p.name[0] != "."]
        here = [path for path in here if path not in (LOCK, f"{cell}/{ELSEWHERE}")]
        last = f"{cell}/{DONE}"
        stale = [path for path in there if path == last or path not in here]
        if stale:
            fs.rm([f"{root}/{path}" for path in stale])
        for part in ([path for path in here if path != last], [last] if last in here else []):
            if part:
                fs.put([str(self.folder / path) for path in part], [f"{root}/{path}" for path in part])
        if cell and (self.folder / cell / STARTED).is_file():  # it may go on elsewhere, and come back further on
            shutil.rmtree(self.folder / cell / CHECKPOINTS, ignore_errors=True)

    def send_finished(self, cells: Mapping[str, str]) -> None:
        """Copy there what is finished here alone, because a copy failed before.

        Args:
            cells: The identity of every cell.
        """
        fs, root, there = self._listed("")
        own = (cell for cell in cells if not (self.folder / cell / ELSEWHERE).exists())
        here = {cell: self.folder / cell / DONE for cell in own if (self.folder / cell / DONE).is_file()}
        known = [f"{root}/{cell}/{DONE}" for cell in here if f"{cell}/{DONE}" in there]
        texts = fs.cat(known) if known else {}
        for cell, path in here.items():
            text = path.read_bytes()
            if identity_of(text) == cells[cell] and texts.get(f"{root}/{cell}/{DONE}") != text:
                self.send(cell)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the URL as far as a store without locks allows: by a file, which two that start at once may both write.

        Raises:
            StudyError: If another process holds it, or was killed on another machine while it did.
        """
        fs, root = self._connect()
        path = f"{root}/{LOCK}"
        holder = parse(fs.cat_file(path)) if fs.exists(path) else {}
        if holder and not dead(holder):
            raise held(self.url, f"{self.url}/{LOCK}", holder)
        fs.makedirs(root, exist_ok=True)
        fs.pipe_file(path, this_process())
        try:
            yield
        finally:
            self._connect()[0].rm_file(path)

    def _connect(self) -> tuple[Any, str]:
        """The filesystem, connected anew since hours may have passed, and the folder's path in it."""
        from fsspec.core import url_to_fs

        try:
            fs, root = url_to_fs(self.url, skip_instance_cache=True)
        except (ImportError, ValueError, OSError) as error:
            raise StudyError(f"{self.url} cannot be opened ({' '.join(str(error).split())})") from error
        fs.invalidate_cache()
        return fs, str(root).rstrip("/")

    def _listed(self, *folders: str) -> tuple[Any, str, dict[str, int]]:
        """The filesystem, the path of our folder in it, and the size of each file in some folders by its path below."""
        fs, root = self._connect()
        places = [place for place in (f"{root}/{name}".rstrip("/") for name in folders) if fs.exists(place)]
        found = {str(path): int(info["size"]) for p in places for path, info in fs.find(p, detail=True).items()}
        return fs, root, {path.removeprefix(root).lstrip("/"): size for path, size in found.items()}

    def _get(self, fs: Any, root: str, files: list[str]) -> None:
        """Copy files here, each whole or not at all."""
        drafts = [(self.folder / file).with_name(f".{Path(file).name}.{os.getpid()}") for file in files]
        for draft in drafts:
            draft.parent.mkdir(parents=True, exist_ok=True)
        if files:
            fs.get([f"{root}/{file}" for file in files], [str(draft) for draft in drafts])
        for file, draft in zip(files, drafts, strict=True):
            draft.replace(self.folder / file)
