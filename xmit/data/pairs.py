"""Files of labelled sentence pairs in every shape they are released in, machine translations among them.

How XTREME lays its translations of training data out (google-research/xtreme, README, "Translations"): a file per
language, without a header, with five columns: the English pair, the translated pair, the label. The bucket has
``XNLI/translate-train/en-de-translated.tsv`` and ``PAWSX/translate-train/en-de-translated.tsv``, as the builders of
tensorflow/datasets (``xtreme_xnli``, ``xtreme_pawsx``) load them. Before September 2020 (its issue 37) they had the
translated pair and the label only, which is what its ``third_party/processors/xnli.py`` and ``pawsx.py`` still read,
from ``XNLI-Translated/`` and ``translated/``. XNLI and PAWS-X themselves carry other translations, with headers:
``XNLI-MT-1.0/multinli/multinli.train.de.tsv`` and ``x-final/de/translated_train.tsv``.
"""

from __future__ import annotations

import gzip
import json
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xmit.data.readers import read_csv, read_jsonl, read_lines, read_tsv
from xmit.data.sources import labels_to_ids, load_hub
from xmit.data.text import fail
from xmit.errors import ConfigError

Layout = tuple[str, str, str]
"""The names of the columns of the two texts and of the label."""
OTHERS = {
    "XNLI": (
        *("XNLI-Translated/en-{}-translated.tsv", "XNLI-MT-1.0/multinli/multinli.train.{}.tsv"),
        *("multinli.train.{}.tsv", "xnli/train-{}.tsv", "train-{}.tsv"),
    ),
    "PAWSX": ("translated/en-{}-translated.tsv", "x-final/{}/translated_train.tsv", "{}/translated_train.tsv"),
}
"""Translations in other layouts than the bucket's."""


def translation_names(language: str, folder: str) -> list[str]:
    """What the file of training data translated into a language may be called, the layout of XTREME's bucket first.

    Args:
        language: ISO 639-1 code.
        folder: The bucket's folder of the data set: ``XNLI`` or ``PAWSX``.
    """
    places = [f"{folder}/translate-train/", f"{folder.lower()}/translate-train/", "translate-train/", ""]
    return [
        *(f"{place}en-{language}-translated.tsv" for place in places),
        *(n.format(language) for n in OTHERS[folder]),
    ]


def read_pairs(
    path: Path,
    layouts: Sequence[Layout],
    names: Sequence[str],
    *,
    spellings: Mapping[str, str] = MappingProxyType({}),
    dropped: Sequence[str] = (),
    broken: float = 0.0,
) -> Any:
    """Read a file of labelled pairs.

    The format goes by the name: ``.csv`` with a header, ``.jsonl``, the hub's ``.parquet``, anything else is
    tab-separated, with a header or without; all but parquet may be gzipped. Without a header there are three columns,
    or five as in XTREME's translations, of which the first two, the English, are left out.

    Args:
        path: The file.
        layouts: Names its columns may have; the first is the one returned, and what is read in doubt.
        names: The labels, in the order of their indices.
        spellings: Other ways to write them.
        dropped: What stands in place of a label where there is none; such pairs are left out.
        broken: How many lines of a tab-separated file may have another number of columns or no label, as a share;
            they are skipped with a warning. Some releases have a few.

    Returns:
        Columns of both texts and the labels' indices, named by the first layout.

    Raises:
        DataError: As the readers of each format, and for a label that is none, with its row.
    """
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        rows = load_hub(str(path.parent), split="train", data_files=path.name, label_names=names, drop_unlabelled=True)
        return {name: list(rows[name]) for name in layouts[0]}
    known = (*names, *dropped)
    found = _columns(_first_line(path), kind)
    layout = next((columns for columns in layouts if set(columns) <= set(found)), None)
    if kind == "csv":
        columns: Mapping[str, Sequence[Any]] = read_csv(path, layout or layouts[0])
    elif kind == "jsonl":
        columns = read_jsonl(path, layout or layouts[0])
    else:
        labels = {*known, *spellings}
        columns = _tab_separated(path, layout or layouts[0], layout is not None, len(found), labels, broken)
    first, second, label = columns.values()
    ids = labels_to_ids([spellings.get(str(value), str(value)) for value in label], known, path)
    kept = [i for i, place in enumerate(ids) if place < len(names)]
    texts = [[side[i] for i in kept] for side in (first, second)]
    return dict(zip(layouts[0], (*texts, [ids[i] for i in kept]), strict=True))


def _first_line(path: Path) -> str:
    """The first line, to tell the layout by; a damaged file is refused where it is read whole."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"  # as the readers tell it, whatever the name
        with (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig", errors="replace") as file:
            return str(file.readline()).rstrip("\r\n")
    except (OSError, EOFError):
        return ""


def _columns(line: str, kind: str) -> list[str]:
    if kind == "jsonl":
        try:
            return list(json.loads(line))
        except (ValueError, TypeError):
            return []
    return line.replace('"', "").split(",") if kind == "csv" else line.split("\t")


def _tab_separated(
    path: Path, layout: Layout, header: bool, width: int, labels: Collection[str], broken: float
) -> dict[str, list[str]]:
    english = ("English 1", "English 2")
    if not broken:
        names = layout if header or width != 5 else (*english, *layout)
        columns = read_tsv(path, names, header=header)
        return {name: columns[name] for name in layout}
    rows = [line.split("\t") for line in read_lines(path)]
    most = Counter(map(len, rows)).most_common(1)[0][0]  # the first line may be a broken one
    found = rows.pop(0) if header else [*(english if most == 5 else ()), *layout]
    label = found.index(layout[2])
    bad = [i for i, row in enumerate(rows) if len(row) != len(found) or row[label] not in labels]
    if len(bad) > broken * len(rows):
        what = f"{len(bad)} of {len(rows)} lines, this the first, lack one of {len(found)} columns or the label"
        fail(path, bad[0] + 1 + header, what, f"labels are {', '.join(sorted(labels))}; check that it is this file")
    if bad:
        text = f"{path}: {len(bad)} broken lines of {len(rows)} skipped, the first is line {bad[0] + 1 + header}"
        warnings.warn(text, stacklevel=4)
    wrong = set(bad)
    whole = [row for i, row in enumerate(rows) if i not in wrong]
    return {name: [row[found.index(name)] for row in whole] for name in layout}


def no_test_labels(task: str) -> ConfigError:
    """The error for a test split whose labels nobody has."""
    return ConfigError(f"task {task!r}: the labels of its test split are not public; set test_split: validation")
