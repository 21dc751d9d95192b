"""Plain running text, a blank line between documents."""

from __future__ import annotations

import re
from pathlib import Path

from xmit.data.text import read_text
from xmit.errors import DataError

_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")


def read_documents(data_dir: str | Path, language: str, *, task: str, file: str | None = None) -> list[str]:
    """Read the documents of a language: ``{language}.txt``, else all of ``{language}/*.txt`` in order of names.

    Args:
        data_dir: The folder; ``~`` is expanded.
        language: The language's code.
        task: The name of the task, for the error.
        file: Read this file below it instead; ``{language}`` in it stands for the code.

    Returns:
        The documents, none of them blank. Files may be gzipped, with ``.gz`` after their names.

    Raises:
        DataError: If there is no such file, or one is empty, damaged or not in UTF-8.
    """
    folder = Path(data_dir).expanduser()
    names = [file.replace("{language}", language)] if file else [f"{language}.txt", f"{language}/*.txt"]
    paths: list[Path] = []
    for name in names:
        paths = paths or sorted(path for end in ("", ".gz") for path in folder.glob(name + end) if path.is_file())
    if not paths:
        there = sorted({path.name.split(".")[0] for path in folder.glob("[!.]*")}) if folder.is_dir() else []
        state = (
            f"which has {', '.join(there[:8])}{', …' * (len(there) > 8)}" if there else "which is empty or no folder"
        )
        raise DataError(
            f"task {task!r}: looked for {' or '.join(names)} (or the same with .gz) in {folder}, {state}. Put UTF-8 "
            f"text there, choose other languages, or leave data_dir out to load from the hub"
        )
    documents = []
    for path in paths:
        own = [text.strip() for text in _BLANK_LINES.split(read_text(path))]
        documents += [text for text in own if text]
    return documents
