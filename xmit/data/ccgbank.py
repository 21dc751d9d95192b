"""CCGbank's machine-readable derivations: the words of a sentence and their categories.

A file ``data/AUTO/02/wsj_0200.auto`` has two lines for a sentence (CCGbank's manual, Hockenmaier and Steedman 2005,
section D.2): ``ID=wsj_0200.1 PARSER=GOLD NUMPARSE=1``, then its derivation in brackets, whose leaves are
``(<L CATEGORY POS POS WORD CATEGORY_WITH_INDICES>)``.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from xmit.data.text import AGAIN, fail, read_lines
from xmit.errors import DataError

LICENCE = "CCGbank is sold under the LDC User Agreement and is on no hub: get LDC2005T13 from catalog.ldc.upenn.edu"
_LEAF = re.compile(r"\(<L (\S+) \S+ \S+ (\S+) \S+>\)(?=[\s)]|$)")
_NODE = re.compile(r"\(<T \S+ \d+ \d+>")
_BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LCB-": "{", "-RCB-": "}"}  # as the Penn Treebank writes them


def read_auto(path: Path) -> dict[str, list[Any]]:
    """Read the sentences of one file.

    Args:
        path: The file, plain or gzipped.

    Returns:
        Columns ``id``, such as ``wsj_0200.1``, ``tokens`` and ``tags``, the categories. Brackets, slashes and
        asterisks are written as such, not as the Penn Treebank escapes them.

    Raises:
        DataError: For a line that is neither, an id without a derivation or the other way round, a leaf in another
            form, and a derivation that is cut short.
    """
    columns: dict[str, list[Any]] = {"id": [], "tokens": [], "tags": []}
    name, last = "", 0
    for number, line in enumerate(read_lines(path, ended=False), 1):
        text = line.strip()
        if text.startswith("ID="):
            if name:
                fail(path, last, f"the sentence {name} has no derivation", AGAIN)
            name, last = text[3:].split(" ")[0], number
        elif text.startswith("(<"):
            if not name:
                fail(path, number, "a derivation without a line ID=… before it", AGAIN)
            leaves = _LEAF.findall(text)
            if not leaves or len(leaves) != text.count("(<L "):
                fail(path, number, f"{text.count('(<L ')} leaves, {len(leaves)} of the form (<L CATEGORY POS POS WORD "
                     "CATEGORY>)", AGAIN)  # fmt: skip
            rest, nodes = _NODE.subn("", _LEAF.sub("", text))
            if "".join(rest.split()) != ")" * nodes:
                fail(path, number, "brackets that do not match: the derivation was perhaps cut short", AGAIN)
            columns["id"].append(name)
            columns["tokens"].append([_word(word) for _, word in leaves])
            columns["tags"].append([category for category, _ in leaves])
            name = ""
        elif text:
            what = f"{text[:40]!r} is neither a line ID=… nor a derivation (<T …"
            fail(path, number, what, "check that it is this file")
    if name:
        fail(path, last, f"the sentence {name} has no derivation", AGAIN)
    return columns


def _word(word: str) -> str:
    return _BRACKETS.get(word, word.replace("\\/", "/").replace("\\*", "*"))


def read_sections(data_dir: str | None, below: str, sections: Sequence[int]) -> dict[str, list[Any]]:
    """Read some sections of the Wall Street Journal; those that are not there are warned about.

    Args:
        data_dir: CCGbank's folder, ``data`` or ``AUTO`` within it, or the one that its ``ccgbank_1_1`` lies in.
        below: A folder within it to look in instead.
        sections: Their numbers, 0 to 24.

    Returns:
        As :func:`read_auto`.

    Raises:
        DataError: If none is there: what was looked for, and where it is to be had.
    """
    remedy = f"{LICENCE}, and pass as data_dir the folder that has data/AUTO/00/wsj_0001.auto"
    if not data_dir:
        raise DataError(f"no data_dir for CCGbank. {remedy}")
    folder = Path(data_dir).expanduser() / below
    roots = [folder / place for place in ("data/AUTO", "AUTO", "", "ccgbank_1_1/data/AUTO")]
    root = next((place for place in roots if any(place.glob("[0-2][0-9]/wsj_*.auto*"))), roots[0])
    files = {section: sorted(root.glob(f"{section:02d}/wsj_*.auto*")) for section in sections}
    missing = [f"{section:02d}" for section, paths in files.items() if not paths]
    if len(missing) == len(files):
        raise DataError(f"looked for {root}/{missing[0]}/wsj_*.auto, and there is none. {remedy}")
    if missing:
        warnings.warn(f"{root} lacks the sections {', '.join(missing)}: scores will not be comparable", stacklevel=2)
    columns: dict[str, list[Any]] = {"id": [], "tokens": [], "tags": []}
    for path in chain.from_iterable(files.values()):
        for name, values in read_auto(path).items():
            columns[name] += values
    return columns


def frequent_categories(tags: Sequence[Sequence[str]], most: int) -> tuple[str, ...]:
    """The most frequent categories, by falling frequency, the alphabet deciding between equals.

    Args:
        tags: The categories of sentences.
        most: How many.

    Raises:
        DataError: If there are none.
    """
    counts = Counter(chain.from_iterable(tags))
    if not counts:
        raise DataError("no categories: CCGbank's training sections are empty")
    return tuple(sorted(counts, key=lambda category: (-counts[category], category))[:most])
