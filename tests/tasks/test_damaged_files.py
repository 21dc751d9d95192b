"""Every target task on files in their original layouts, damaged in every way: read as meant, or one clear error."""

from __future__ import annotations

import gzip
import json
import re

import pytest
from original_files import CASES, other_case, squad

from xmit.__main__ import main
from xmit.errors import DataError, LanguageNotFoundError
from xmit.registry import registered_tasks

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def write(tmp_path):
    def write(case):
        for name, file in case.files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text, encoding="utf-8", newline="")
        return tmp_path

    return write


def load(name, case, folder, *splits):
    """The rows of some splits, and the candidates of retrieval."""
    task = registered_tasks()[name.split()[0]](data_dir=str(folder), languages=case.languages, **case.options)
    rows = {split: task.table(split).to_dict() for split in splits}
    if hasattr(task, "load_candidates"):
        rows["candidates"] = task.candidates.to_dict()
    return rows


def error(name, case, folder, split):
    """What loading says is wrong, nothing where it finds nothing; any other error than a clear one is a failure."""
    try:
        load(name, case, folder, split)
    except DataError as caught:
        return str(caught)
    return ""


def kind(name, file):
    return file.kind or ("txt" if name.endswith((".iob2", "/test.txt")) else name.rsplit(".", 1)[-1])


def columns(kind, text):
    """A cell too many in the last line with data, or a key too few; the text and the number of that line."""
    if kind == "json":
        return re.sub(r'"(question|filename)": "[^"]*",', "", text, count=1), None
    lines = text.rstrip("\n").split("\n")
    if kind == "jsonl":
        lines[-1] = json.dumps(dict(list(json.loads(lines[-1]).items())[1:-1]))
    elif "\t" not in text and kind not in ("csv", "txt"):
        return "\n".join(lines[:-1]) + "\n", None  # a line alone has no columns: the other file has more lines
    else:
        lines[-1] += "," if kind == "csv" else " x" if "\t" not in text else "\tx"
    return "\n".join(lines) + text[len(text.rstrip("\n")) :], len(lines)


def twice(kind, text, ids):
    """The last row again, under the same id; or, in JSON, the second row under the first one's id."""
    if kind == "json":
        first, second = list(re.finditer(r'"id": "([^"]*)"' if ids is True else ids, text))[:2]
        return text[: second.start(1)] + first[1] + text[second.end(1) :]
    if kind == "conllu":
        return text + text.split("\n\n")[-2] + "\n\n"
    return text + text.rstrip("\n").rsplit("\n", 1)[-1] + "\n"


def damages(name, file):
    """What may befall a file: its bytes then, and the line that the error must name, where it must name one."""
    text, data, form = file.text, file.text.encode(), kind(name, file)
    lines = text.rstrip("\n").split("\n")
    last = text.rstrip("\n")
    packed = gzip.compress(data, mtime=0)
    half = len(last) - (1 if form == "json" else len(lines[-1]) // 2)
    yield "cut short", last[:half].encode(), len(lines) if form != "json" else None
    yield "empty", b"", 1
    yield "blank", b"\n", 1
    yield "NUL", data[: len(last.encode()) - 1] + b"\0" + data[len(last.encode()) - 1 :], len(lines)
    if "é" in text:
        yield "Latin-1", text.encode("latin-1"), text[: text.index("é")].count("\n") + 1
    yield "UTF-16", text.encode("utf-16"), 1
    yield "gzip cut short", packed[:-9], None
    wrong, line = columns(form, text)
    yield "columns", wrong.encode(), line
    if file.wrong:
        assert file.wrong[0] in text, (name, file.wrong)
        place = text.rindex(file.wrong[0])
        changed = text[:place] + file.wrong[1] + text[place + len(file.wrong[0]) :]
        yield "out of range", changed.encode(), None
    if file.ids:
        yield "id twice", twice(form, text, file.ids).encode(), None


def case_of(name, folder):
    if name in CASES:
        return CASES[name]
    folder.mkdir()
    return other_case(name, folder)


NAMES = [*CASES, "lareqa", "mewslix"]


def test_every_target_is_here():
    targets = {name for name, cls in registered_tasks().items() if ".target." in cls.__module__}
    assert {name.split()[0] for name in NAMES} == targets


@pytest.mark.parametrize("name", NAMES)
def test_byte_order_mark_crlf_and_gzip_change_nothing(name, write, tmp_path):
    case = case_of(name, tmp_path / "made")
    folder = write(case)
    splits = list(dict.fromkeys(file.split for file in case.files.values()))
    expected = load(name, case, folder, *splits)
    assert all(len(next(iter(rows.values()))) > 0 for rows in expected.values())
    for change in (
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"\n", b"\r\n"),
        gzip.compress,
    ):
        for file_name, file in case.files.items():
            (folder / file_name).write_bytes(change(file.text.encode()))
        assert load(name, case, folder, *splits) == expected


@pytest.mark.parametrize("name", NAMES)
def test_damage_gives_one_error_with_file_and_line(name, write, tmp_path):
    case = case_of(name, tmp_path / "made")
    folder = write(case)
    files = list(case.files.items())
    for file_name, file in files[:2] + files[-1:] if name == "lareqa" else files:
        path = folder / file_name
        for damage, data, line in damages(file_name, file):
            path.write_bytes(data)
            message = error(name, case, folder, file.split)
            where = f"{file_name}, {damage}: {message or 'silently accepted'}"
            assert message, where
            assert "\n" not in message, where
            assert str(path) in message, where
            assert "load_split failed" not in message, where
            if line is not None:
                assert f"{path}:{line}: " in message, where
            elif damage in ("out of range", "id twice"):
                places = rf"{re.escape(str(path))}:\d+: | rows? \d|paragraph \d|(pair of|example|entry|id) '"
                assert re.search(places, message), where
        path.write_text(file.text, encoding="utf-8", newline="")
    load(name, case, folder, *dict.fromkeys(file.split for file in case.files.values()))


@pytest.mark.parametrize(
    ("name", "old", "new", "place"),
    [
        ("xvnli", '"pairID": "d"', '"pairID": null', ":4: "),
        (
            "xvnli",
            '"gold_label": "entailment"}\n{"Flikr30kID": "c"',
            '"gold_label": null}\n{"Flikr30kID": "c"',
            "row 2 ",
        ),
        ("marvl", '"label": false', '"label": null', "row 2 "),
        ("marvl", '"caption": "b"', '"caption": null', ":2: "),
        ("xgqa", '"question": "é1?"', '"question": 1', "entry '01'"),
        ("xflickrco", '["b"]', "[]", "example '1'"),
        ("xflickrco", '"1.jpg"', "null", ":2: "),
        ("xm3600", '{"caption": ["c", "b"]}', "null", ":2: "),
        ("xm3600", '["c", "b"]', '["c", " "]', "example 'k1-1'"),
        ("emoji_names", '"½"', "null", ":2: "),
        ("emoji_names", '{"en": "n ½", "de": "b"}', "null", ":2: "),
    ],
)
def test_what_is_missing_is_named(name, old, new, place, write):
    case = CASES[name]
    folder = write(case)
    file_name, file = list(case.files.items())[-1]
    assert old in file.text
    (folder / file_name).write_text(file.text.replace(old, new), encoding="utf-8")
    message = error(name, case, folder, "test")
    assert str(folder / file_name) in message
    assert place in message
    assert "load_split failed" not in message


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_language_is_refused(name, tmp_path):
    with pytest.raises(LanguageNotFoundError, match=r"unknown language of task .* 'klingon'\."):
        registered_tasks()[name.split()[0]](data_dir=str(tmp_path), languages=["klingon"])


@pytest.mark.parametrize(
    ("name", "language", "file_name"),
    [
        ("xnli as released", "vi", "xnli.test.tsv"),
        ("tydiqa", "ko", "tydiqa-goldp-v1.1-train.json"),
        ("emoji_names", "sw", "annotations.jsonl"),
    ],
)
def test_a_file_without_the_language_is_refused(name, language, file_name, write):
    case = CASES[name]
    folder = write(case)
    if name == "tydiqa":
        (folder / file_name).write_text(squad("klingon-1", "klingon-2"), encoding="utf-8")
    task = registered_tasks()[name.split()[0]](data_dir=str(folder), languages=[language])
    with pytest.raises(DataError, match=rf"{re.escape(str(folder / file_name))}: task .*: no rows"):
        task.table("train" if name == "tydiqa" else "test")


FAMILIES = {  # a case of each family, and the damage that the command line is to meet
    **{"xnli": "out of range", "xcopa": "columns", "udpos": "out of range", "xquad": "cut short"},
    **{"bucc2018": "id twice", "tatoeba": "columns", "mewslix": "Latin-1", "xvnli": "cut short", "xgqa": "id twice"},
    **{"marvl": "out of range", "xflickrco": "columns", "xm3600": "out of range", "emoji_names": "id twice"},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_command_line_says_it_in_one_line(name, write, tmp_path, tiny_encoder, capfd):
    case = case_of(name, tmp_path / "made")
    folder = write(case)
    file_name, data = next(
        (file_name, data)
        for file_name, file in case.files.items()
        for damage, data, _ in damages(file_name, file)
        if damage == FAMILIES[name]
    )
    (folder / file_name).write_bytes(data)
    command = "fit" if any(file.split == "train" for file in case.files.values()) else "test"
    arguments = [
        *("--data", name, f"--data.data_dir={folder}", f"--data.languages={json.dumps(case.languages)}"),
        *(f"--data.{key}={value}" for key, value in case.options.items()),
        *(f"--model.encoder={tiny_encoder}", "--trainer.accelerator=cpu", f"--output={tmp_path / 'run'}"),
    ]
    if name == "mewslix":  # without its phase 2 it is scored as it is
        arguments.append("--data.train=false")
    assert main([command, *arguments]) == 1
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith(("xmit: ", "Traceback"))]
    assert len(errors) == 1
    assert str(folder / file_name) in errors[0]
