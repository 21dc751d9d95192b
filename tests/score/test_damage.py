"""Whatever happens to a file of a submission: no traceback, and nothing accepted in silence."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_submissions import NAMES, label_text, prediction_text

from xmit.score.files import READERS, read_file
from xmit.score.layouts import LAYOUTS
from xmit.score.scoring import _score_languages

QUIET = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def small(name):
    """A task in one language, and its benchmark."""
    layout = LAYOUTS[name]
    benchmark = next(iter(layout.languages))
    return replace(layout, languages={benchmark: layout.languages[benchmark][:1]}), benchmark


def score(folder, name, damage=None, side="predictions", suffix=""):
    """Scores of the one language, None without any, and the findings, after damage to the bytes of one side."""
    layout, benchmark = small(name)
    (language,) = layout.languages[benchmark]
    for part, text in (("predictions", prediction_text), ("labels", label_text)):
        file = folder / part / name / f"test-{language}.{layout.suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        data = text(layout, language).encode()
        packed = file.with_name(file.name + ".gz")
        packed.unlink(missing_ok=True)
        if part == side and damage is not None:
            data = damage(gzip.compress(data, mtime=0) if suffix else data)
            if suffix:
                file.unlink(missing_ok=True)
                file = packed
        file.write_bytes(data)
    findings = []
    scored = _score_languages(layout, folder / "predictions", folder / "labels", benchmark, findings)
    damaged = layout.file(folder / side, language)
    return scored.get(language), findings, damaged


def said(findings, file):
    """Whether every finding is one line that names the file (or, of a mismatch, both files)."""
    return bool(findings) and all(str(file) in str(f) and "\n" not in str(f) for f in findings)


def same(path, data, name, side):
    """Whether a file says what it said before: at most white space was lost."""
    reader = READERS[LAYOUTS[name].format][side == "labels"]
    before = path.with_name("before" + path.suffix)
    before.write_bytes(data)
    one, other = read_file(reader, before), read_file(reader, path)
    return (one.ids, one.values) == (other.ids, other.values)


tasks = st.sampled_from(NAMES)
sides = st.sampled_from(["predictions", "labels"])


@QUIET
@given(name=tasks, side=sides, where=st.floats(0.01, 0.99))
def test_truncated(tmp_path, name, side, where):
    whole = []

    def cut(data):
        whole.append(data)
        return data[: max(1, int(len(data) * where))]

    scored, findings, file = score(tmp_path, name, cut, side)
    if scored is not None and not findings and not same(file, whole[0], name, side):
        # a set of pairs may end after any of its lines
        assert LAYOUTS[name].format == "pairs"
        assert file.read_bytes().endswith(b"\n")
    assert not findings or said(findings, file)


@QUIET
@given(name=tasks, side=sides, where=st.floats(0, 0.999))
def test_gzip_cut_short(tmp_path, name, side, where):
    scored, findings, file = score(tmp_path, name, lambda data: data[: int(len(data) * where)], side, ".gz")
    assert scored is None
    assert said(findings, file)


@QUIET
@given(name=tasks, side=sides, where=st.floats(0, 1), byte=st.sampled_from([b"\0", b"\xff", b"\xe4 ", b"\xc3("]))
def test_bytes_that_are_no_text(tmp_path, name, side, where, byte):
    def insert(data):
        place = int(len(data) * where)
        return data[:place] + byte + data[place:]

    scored, findings, file = score(tmp_path, name, insert, side)
    assert scored is None
    assert said(findings, file)


@QUIET
@given(name=tasks, side=sides, encoding=st.sampled_from(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1251"]))
def test_wrong_encoding(tmp_path, name, side, encoding):
    scored, findings, file = score(tmp_path, name, lambda data: ("ж" + data.decode()).encode(encoding, "replace"), side)
    assert said(findings, file)
    assert scored is None or scored.metrics.get("accuracy", 0) < 100


@QUIET
@given(name=tasks, side=sides, line=st.integers(0, 30), what=st.sampled_from(["drop", "double", "column", "garble"]))
def test_lines(tmp_path, name, side, line, what):
    whole = []

    def change(data):
        whole.append(data)
        rows = data.split(b"\n")
        rows = rows[:-1] if rows[-1] == b"" else rows
        place = line % len(rows)
        new = {"drop": [], "double": [rows[place]] * 2, "column": [rows[place] + b"\tx"], "garble": [b'}"{']}[what]
        return b"\n".join([*rows[:place], *new, *rows[place + 1 :]]) + b"\n"

    scored, findings, file = score(tmp_path, name, change, side)
    kind = LAYOUTS[name].format
    if scored is not None and not findings and not same(file, whole[0], name, side):
        assert (kind, what) == ("pairs", "drop")  # of a set a line may be left out
    assert not findings or said(findings, file)


@QUIET
@given(
    name=tasks,
    side=sides,
    data=st.binary(min_size=0, max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "surrogatepass")),
)
def test_anything_at_all(tmp_path, name, side, data):
    scored, findings, file = score(tmp_path, name, lambda _: data, side)
    assert said(findings, file)
    assert scored is None or LAYOUTS[name].format in ("answers", "rankings", "pairs")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "paragraphs", "qas", "id", "answers", "text", "label", "q0", "q1"]), inner
        )
    ),
    max_leaves=12,
)


@QUIET
@given(name=st.sampled_from([n for n in NAMES if LAYOUTS[n].suffix != "tsv"]), side=sides, value=JSON)
def test_json_of_another_shape(tmp_path, name, side, value):
    import json

    _, findings, file = score(tmp_path, name, lambda _: json.dumps(value).encode(), side)
    assert said(findings, file)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_in_place_of_a_file(tmp_path, name):
    _, _, file = score(tmp_path, name)
    file.unlink()
    file.mkdir()
    layout, benchmark = small(name)
    findings = []
    assert not _score_languages(layout, tmp_path / "predictions", tmp_path / "labels", benchmark, findings)
    assert [finding.kind for finding in findings] == ["missing"]
