"""A study whose folder is a URL (``s3://bucket/study``): cells run in a folder of this machine and are copied there.

An object store has neither locks nor files that grow, so nothing is written there in place: a cell's files are copied
when it ends, ``done.json`` last. Weights are copied back only to the machine that starts a cell from them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xmit.data.features import cache_root
from xmit.errors import StudyError
from xmit.files import write_json
from xmit.study.lock import LOCK, dead, held, parse, this_process
from xmit.study.results import DONE, ELSEWHERE, ENCODER, FUSION, PLAN, STARTED

WEIGHTS = (f"{ENCODER}/", f"{FUSION}/")


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

    def fetch(self, cells: Collection[str] | None = None) -> None:
        """Copy what is finished there to this machine, without weights.

        Args:
            cells: The cells wanted; by default all there are, and the plan.
        """
        fs, root, there = self._listed("")
        finished = {path.rpartition("/")[0] for path in there if path.endswith(f"/{DONE}")}
        for copy in self.folder.glob(f"*/{ELSEWHERE}"):
            if copy.parent.name not in finished:
                shutil.rmtree(copy.parent)
        wanted = sorted(finished if cells is None else finished & set(cells))
        texts = fs.cat([f"{root}/{name}/{DONE}" for name in wanted]) if wanted else {}
        done = {name: texts[f"{root}/{name}/{DONE}"] for name in wanted}
        here = {name: self.folder / name / DONE for name in wanted}
        new = {name for name, path in here.items() if not path.is_file() or path.read_bytes() != done[name]}
        for name in new:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        files = [path for path in there if path.rpartition("/")[0] in new and not path.endswith(f"/{DONE}")]
        self._get(fs, root, [*files, *([PLAN] if cells is None and PLAN in there else [])])
        for name in new:
            own = {path.removeprefix(f"{name}/"): size for path, size in there.items() if path.startswith(f"{name}/")}
            write_json(self.folder / name / ELSEWHERE, {p: size for p, size in own.items() if p.startswith(WEIGHTS)})
            here[name].write_bytes(done[name])

    def fetch_for(self, cell: str, parent: str | None) -> None:
        """Copy what a cell needs here: its parent's weights, and its own checkpoint if it stopped elsewhere."""
        fs, root, there = self._listed(cell, *([parent] if parent else []))
        if f"{cell}/{STARTED}" in there and not (self.folder / cell).is_dir():
            self._get(fs, root, [path for path in there if path.startswith(f"{cell}/")])
        weights = tuple(f"{parent}/{part}" for part in WEIGHTS)
        self._get(fs, root, [p for p in there if p.startswith(weights) and not (self.folder / p).is_file()])

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

    def send_finished(self, cells: Iterable[str]) -> None:
        """Copy there what is finished here alone, because a copy failed before."""
        _, _, there = self._listed("")
        for cell in cells:
            if f"{cell}/{DONE}" not in there and (self.folder / cell / DONE).is_file():
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
