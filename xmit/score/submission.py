"""Write the files of a submission, and on request the labels beside them, from runs' prediction rows.

Rows keep the data's order within a language, and so do the lines of a file. What ``score`` makes of the files is what
the run's ``test`` logged. The official files have every example: a PAWS-X run for them needs ``keep_untranslated``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmit.errors import DataError
from xmit.files import write_text
from xmit.score.layouts import Format, Layout, get_layout
from xmit.study.results import PREDICTIONS

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("task", "language", "id", "prediction", "target")


def write_submission(runs: Sequence[Path], output: Path, labels: Path | None = None) -> list[Path]:
    """Write prediction files in XTREME's submission layout.

    Args:
        runs: Folders of runs, each with ``predictions.parquet``, or folders of such folders.
        output: Where to write ``<task>/test-<language>.<suffix>``; files of other tasks there stay.
        labels: Where to write the right answers in the same layout, for ``score``; not written by default.

    Returns:
        The files, predictions first.

    Raises:
        TaskNotFoundError: A run's task has no submission format.
        DataError: Both folders are one, a run has no predictions or damaged ones, two runs have the same task and
            language, or a file is already there with other content.
    """
    if labels is not None and labels.resolve() == output.resolve():
        raise DataError(f"--labels and --output are both {output}: predictions and right answers need a folder each")
    texts: dict[Path, str] = {}
    owners: dict[tuple[str, str], Path] = {}
    for path in _prediction_files(runs):
        frame = _read(path)
        for (name, language), rows in frame.groupby(["task", "language"], sort=False):
            layout = get_layout(str(name))
            _check(path, layout, str(language), rows, owners)
            for folder, column in ((output, "prediction"), (labels, "target")):
                if folder is not None:
                    text = _text(path, layout, rows, column)
                    texts[folder / layout.name / f"test-{language}.{layout.suffix}"] = text
    for file, text in texts.items():
        if file.exists() and file.read_bytes() != text.encode():
            raise DataError(f"{file} is already there and says something else: choose another folder or remove it")
    for file, text in texts.items():
        write_text(file, text)
    return sorted(texts, key=lambda file: labels is not None and labels in file.parents and output not in file.parents)


def _prediction_files(runs: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for run in runs:
        here = run / PREDICTIONS
        paths = [here] if here.is_file() else sorted(run.glob(f"*/{PREDICTIONS}"))
        if not paths:
            raise DataError(f"{run} has no {PREDICTIONS}: give the folder of a run that was tested")
        found += [path for path in paths if path not in found]
    return found


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no readable parquet file ({error}); run test again") from error
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing or frame.empty:
        what = f"column {missing[0]!r} is missing" if missing else "there are no rows"
        raise DataError(f"{path}: {what}; run test again")
    return frame


def _check(path: Path, layout: Layout, language: str, rows: pd.DataFrame, owners: dict[tuple[str, str], Path]) -> None:
    key = (layout.name, language)
    if key in owners:
        raise DataError(f"{path} and {owners[key]} both predict {layout.name} in {language}: give one of the runs")
    owners[key] = path
    if language not in layout.all_languages:
        known = " ".join(layout.all_languages)
        raise DataError(f"{path}: {language!r} is no language of {layout.name} in either benchmark ({known})")
    twice = rows["id"][rows["id"].duplicated()] if layout.format != "pairs" else rows["id"][:0]
    if len(twice):
        raise DataError(f"{path}: the id {twice.iloc[0]!r} occurs twice in {layout.name}, {language}; run test again")


def _text(path: Path, layout: Layout, rows: pd.DataFrame, column: str) -> str:
    """A file's content."""
    ids = [str(key) for key in rows["id"]]
    values = list(rows[column])
    if layout.format == "pairs":  # a sentence without a translation has a row without a prediction
        kept = [(key, value) for key, value in zip(ids, values, strict=True) if not _nothing(value)]
        ids, values = [key for key, _ in kept], [value for _, value in kept]
    for key, value in zip(ids, values, strict=True):
        if _nothing(value):
            raise DataError(f"{path}: {layout.name}: example {key!r} has no {column}; run test again on all examples")
    write = (_WRITERS if column == "prediction" else _WRITERS | _GOLD_WRITERS)[layout.format]
    return write(layout, ids, values)


def _nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def official_labels(layout: Layout, ids: Sequence[str], values: Sequence[Any]) -> list[str]:
    """A task's own label names as the official ones, which its class lists in the same order.

    Raises:
        DataError: A value is no label of the task, or, where labels are line numbers, no number.
    """
    from xmit.registry import registered_tasks

    texts = [str(value) for value in values]
    if layout.labels and not set(texts) <= set(layout.labels):
        own = getattr(registered_tasks().get(layout.name), "label_names", ())
        names = dict(zip(own, layout.labels, strict=True)) if len(own) == len(layout.labels) else {}
        texts = [text if text in layout.labels else names.get(text, text) for text in texts]
    for key, text in zip(ids, texts, strict=True):
        if text not in layout.labels if layout.labels else not text.isdecimal():
            known = " ".join(layout.labels) or "line numbers from 0"
            raise DataError(f"{layout.name}: {text!r} of example {key!r} is no official label; known: {known}")
    return texts


def _strings(value: Any) -> list[str]:
    """A list as it comes out of parquet (list, array, JSON text or words with blanks between them)."""
    if isinstance(value, str):
        if value.startswith("["):
            return [str(part) for part in json.loads(value)]
        return value.split()
    return [str(part) for part in value]


def _lines(layout: Layout, ids: Sequence[str], values: Sequence[Any]) -> str:
    return "".join(f"{value}\n" for value in official_labels(layout, ids, values))


def _tags(layout: Layout, ids: Sequence[str], values: Sequence[Any]) -> str:
    return "\n".join("".join(f"{tag}\n" for tag in _strings(value)) for value in values)


def _pairs(layout: Layout, ids: Sequence[str], values: Sequence[Any]) -> str:
    return "".join(f"{key}\t{value}\n" for key, value in zip(ids, values, strict=True))


def _choices(layout: Layout, ids: Sequence[str], values: Sequence[Any]) -> str:
    return "".join(json.dumps({"label": int(value)}) + "\n" for value in official_labels(layout, ids, values))


def _object(ids: Sequence[str], values: Sequence[Any]) -> str:
    return json.dumps(dict(zip(ids, values, strict=True)), indent=1) + "\n"


def _answers(layout: Layout, ids: Sequence[str], values: Sequence[Any]) -> str:
    return _object(ids, [str(value) for value in values])


def _rankings(layout: Layout, ids: Sequence[str], values: Sequence[Any]) -> str:
    return _object(ids, [_strings(value) for value in values])


def _squad(layout: Layout, ids: Sequence[str], values: Sequence[Any]) -> str:
    """SQuAD's layout with what ``score`` needs; contexts and questions are not in prediction rows."""
    questions = [
        {"id": key, "question": "", "answers": [{"text": text, "answer_start": -1} for text in _texts(value)]}
        for key, value in zip(ids, values, strict=True)
    ]
    return json.dumps({"data": [{"paragraphs": [{"context": "", "qas": questions}]}]}, indent=1) + "\n"


def _texts(value: Any) -> list[str]:
    """Right answers: a list, or a JSON list as text."""
    return [str(text) for text in (json.loads(value) if isinstance(value, str) else value)]


Writer = Callable[[Layout, Sequence[str], Sequence[Any]], str]
_WRITERS: dict[Format, Writer] = {
    "lines": _lines,
    "tags": _tags,
    "pairs": _pairs,
    "choices": _choices,
    "answers": _answers,
    "rankings": _rankings,
}
_GOLD_WRITERS: dict[Format, Writer] = {"answers": _squad}
