"""The treebanks of Universal Dependencies that XTREME and XTREME-R take, in files or from the hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from xmit.data.conllu import read_conllu
from xmit.data.sources import load_hub
from xmit.data.words import check_tags, hub_columns
from xmit.errors import DataError

# Those of UD 2.5 that carry their text, of UD 2.7 from lt on; those in capitals have a test split only.
_TREEBANKS = """
af afribooms/ar padt PUD/bg btb/de gsd hdt LIT PUD/el gdt/en ewt gum lines partut PRONOUNS PUD/es ancora gsd PUD/
et edt ewt/eu bdt/fa seraji/fi ftb PUD tdt/fr FQB gsd partut PUD sequoia spoken/he htb/hi hdtb PUD/hu szeged/
id gsd PUD/it isdt partut postwita PUD twittiro vit/ja gsd MODERN PUD/kk ktb/ko gsd kaist PUD/mr ufal/
nl alpino lassysmall/pt bosque gsd PUD/ru gsd PUD syntagrus taiga/ta ttb/te mtg/th PUD/tl TRG/tr GB imst PUD/ur udtb/
vi vtb/yo YTB/zh CFL gsd gsdsimp HK PUD/lt alksnis hse/pl lfg pdb PUD/uk iu/wo wtb/ro nonstandard rrt simonero
"""
TREEBANKS = {line.split()[0]: tuple(line.split()[1:]) for line in "".join(_TREEBANKS.split("\n")).split("/")}
"""Treebanks by language."""
ADDED = ("lt", "pl", "uk", "wo", "ro")
"""The languages of XTREME-R that XTREME lacks: from UD 2.7, the others from UD 2.5."""
UPOS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ"),
    *("SYM", "VERB", "X"),
)
"""The universal parts of speech."""
_RENAMED = {"fr_spoken": "fr_rhapsodie"}


def local_treebanks(
    data_dir: str | Path, language: str, split: str, only: list[str] | None = None
) -> dict[str, list[Any]]:
    """Read the CoNLL-U files of a language, wherever they lie below a folder.

    XTREME takes every treebank of a language, by the code its file begins with (``el_`` is Greek, ``grc_`` Ancient
    Greek), the files in the order of their names. Of releases side by side in folders ``ud-treebanks-v2.5`` and
    ``ud-treebanks-v2.7`` that one is taken that XTREME takes.

    Args:
        data_dir: The folder.
        language: UD's code of the language.
        split: ``train``, ``dev`` or ``test``.
        only: Take these treebanks only, such as ``["pud"]``.

    Returns:
        The columns ``id``, such as ``pud/n01001011``, ``tokens`` and ``tags``; without rows if there are no files.

    Raises:
        DataError: If a treebank is there twice, none of ``only`` is there, or a file is damaged.
    """
    pattern = re.compile(rf"{re.escape(language)}_([^-]+)-ud-{split}\.conllu(\.gz)?")
    paths = sorted(Path(data_dir).expanduser().glob(f"**/{language}_*-ud-{split}.conllu*"), key=lambda p: (p.name, p))
    release = f"ud-treebanks-v{'2.7' if language in ADDED else '2.5'}"
    if any(release in path.parts for path in paths):
        paths = [path for path in paths if release in path.parts]
    found: dict[str, Path] = {}
    for path in paths:
        match = pattern.fullmatch(path.name)
        if match is None or (only and match[1] not in only):
            continue
        if match[1] in found:
            raise DataError(f"{path}: the same treebank is also in {found[match[1]]}; keep one of them")
        found[match[1]] = path
    if only and not found:
        raise DataError(
            f"{data_dir}: no treebank {language}_… among {', '.join(only)} with a split {split!r}; name others"
        )
    return _joined({name: _columns(path) for name, path in found.items()})


def hub_treebanks(
    dataset: str, revision: str | None, language: str, split: str, only: list[str] | None = None
) -> dict[str, list[Any]]:
    """Load the same treebanks from a data set of the hub with one configuration a treebank.

    Args:
        dataset: Its id, or a folder in its layout.
        revision: The release to take, which is a branch there.
        language: UD's code of the language.
        split: ``train``, ``validation`` or ``test``.
        only: Take these treebanks only.

    Returns:
        As :func:`local_treebanks`.

    Raises:
        DataError: If there is no such treebank, or it cannot be loaded.
    """
    names = [name for name in TREEBANKS[language] if split == "test" or name.islower()]
    names = [name for name in map(str.lower, names) if not only or name in only]
    if not names:
        raise DataError(f"{dataset}: no treebank of {language!r} {f'among {only} ' if only else ''}has split {split!r}")
    configs = {name: _RENAMED.get(f"{language}_{name}", f"{language}_{name}") for name in names}
    loaded = {n: load_hub(dataset, split=split, config=config, revision=revision) for n, config in configs.items()}
    return _joined({name: hub_columns(rows, "upos") for name, rows in loaded.items()})


def _columns(path: Path) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = read_conllu(path)
    check_tags(path, columns["upos"], UPOS, column=3)
    return {"id": columns["id"], "tokens": columns["tokens"], "tags": columns["upos"]}


def _joined(treebanks: dict[str, dict[str, list[Any]]]) -> dict[str, list[Any]]:
    return {
        "id": [f"{name}/{i}" for name, columns in treebanks.items() for i in columns["id"]],
        "tokens": [row for columns in treebanks.values() for row in columns["tokens"]],
        "tags": [row for columns in treebanks.values() for row in columns["tags"]],
    }
