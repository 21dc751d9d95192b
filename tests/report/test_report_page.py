"""The page: self-contained, safe, small, and alive in a browser."""

import html
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest
from big_study import write_study
from synthetic_study import study

from xmit.errors import DataError, MissingDependencyError, StudyError
from xmit.report import (
    agreement,
    effect_table,
    forest,
    gain_by_pretraining,
    gains,
    language_dots,
    overview,
    primary_table,
    summary_table,
    write_report,
)
from xmit.report.plots import to_svg
from xmit.report.rows import checked
from xmit.report.stored import Stored

HOSTILE = "<script>alert('x')</script>"
INFO = {
    "name": f"A study {HOSTILE}",
    "version": "0.1.0",
    "date": "2026-01-01",
    "hardware": "2 cores",
    "versions": {"torch": "2.11"},
    "cells": {"none--geo-s0": 70.0, "x": float("nan")},
    "warnings": [f"shares items {HOSTILE}"],
    "missing": [{"intermediate": "digits_image", "target": "geo", "seed": 1, "reason": f"killed {HOSTILE}"}],
    "config": f"name: demo # {HOSTILE}",
    "chance": {"geo": 0.28},
    "arabic": "مرحبا بالعالم",
}


@pytest.fixture(scope="module")
def rows():
    frame = study()
    frame["intermediate"] = frame["intermediate"].replace("digits_text", f"text {HOSTILE} $x$")
    return frame


@pytest.fixture(scope="module")
def page(rows, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report") / "runs" / "demo", rows, INFO)


class Reader(HTMLParser):
    """Collects what a page refers to, its scripts and the cells of its tables."""

    def __init__(self):
        super().__init__()
        self.references, self.scripts, self.open, self.ids, self.text = [], 0, [], [], []

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.references.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_data(self, data):
        self.text.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def test_page_is_self_contained_and_small(page):
    reader = read(page)
    assert page.name == "report.html"
    assert reader.references
    assert all(ref.startswith("#") for ref in reader.references)
    assert {ref[1:] for ref in reader.references} <= set(reader.ids)
    assert len(set(reader.ids)) == len(reader.ids)
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"@import|url\((?!#)|https?://", text)
    assert page.stat().st_size < 2_000_000


def test_hostile_names_are_texts(page):
    text = page.read_text(encoding="utf-8")
    assert read(page).scripts == 1
    assert HOSTILE not in text
    # in the title, a heading, the tables, the figures, the config, the warnings
    assert text.count(html.escape(HOSTILE, quote=False).replace("'", "&#39;")) > 10


def test_page_shows_the_numbers_of_the_tables(page, rows):
    words = set(" ".join(read(page).text).split())
    for value in summary_table(rows)["zero_shot_mean"]:
        assert f"{100 * value:.1f}" in words
    text = page.read_text(encoding="utf-8")
    assert "No effect on low-resource languages can be claimed from 2 seeds" in text
    assert "differences of single seeds are noise" in text
    assert "digits_image on geo, seed 1: killed" in text
    assert "1 seed, missing 1" in text
    assert "over 95 % in my" in text
    assert INFO["arabic"] in text


def test_tables_lie_beside_the_page(page, rows):
    names = {p.name for p in page.parent.iterdir()}
    stems = {"summary", "primary", "best", "tests", "consistency", "groups", "languages", "target-languages"}
    stems |= {"languages-geo", "languages-lookup", "intermediates"}
    assert names - {"report-overview.png", "report-overview.pdf"} == {"report.html", "report-files.json"} | {
        f"report-{s}.{x}" for s in stems for x in ("csv", "tex")
    }
    read_back = pd.read_csv(page.parent / "report-summary.csv")
    pd.testing.assert_series_equal(read_back["mean"], summary_table(rows)["mean"])


def test_the_same_rows_give_the_same_bytes(rows, tmp_path):
    few = rows[rows["language"].isin(["en", "de", "sw", "te", "all"])]
    pages = [write_report(tmp_path / name, few, INFO) for name in ("a", "b")]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_no_table_of_an_older_report_stays(rows, tmp_path):
    few = rows[rows["language"].isin(["en", "de", "sw", "all"])]
    (tmp_path / "report-mine.csv").write_text("a,b")
    write_report(tmp_path, few, INFO)
    assert (tmp_path / "report-languages-lookup.tex").is_file()
    write_report(tmp_path, few[few["target"] != "lookup"], INFO)
    names = {path.name for path in tmp_path.iterdir()}
    assert not [name for name in names if "lookup" in name]
    assert {"report-mine.csv", "report-summary.csv", "report-languages-geo.csv"} <= names


def test_no_info_and_few_rows_are_enough(tmp_path):
    rows = study(intermediates=("none",), targets=("lookup",), languages=("en", "de"), seeds=(0,), missing=None)
    text = write_report(tmp_path, rows).read_text(encoding="utf-8")
    assert "The study has no intermediate task" in text
    assert "tests" not in {p.name for p in tmp_path.iterdir()}
    with pytest.raises(StudyError, match="no test score"):
        write_report(tmp_path, rows[rows["role"] == "intermediate"])


def test_a_target_without_rows_is_on_the_page(tmp_path, rows):
    missing = [{"intermediate": "none", "target": "quiz", "seed": 0, "reason": "failed"}]
    text = write_report(tmp_path, study(languages=("en", "de", "sw")), {"missing": missing}).read_text()
    assert "quiz" in text
    assert "<em>missing</em>" in text


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_a_missing_extra_names_the_remedy(package, rows, tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"{package} is not installed.*xmit\[report\]"):
        write_report(tmp_path / "x", rows)
    assert not (tmp_path / "x" / "report.html").exists()


def test_figures(rows):
    figure = overview(rows, chance={"geo": 0.28})
    assert len(figure.axes) == 2
    labels = [t.get_text() for t in figure.axes[-1].get_xticklabels()]
    assert len(labels) == 49
    assert labels.index("sw") < labels.index("en")
    assert "majority class" in {t.get_text() for t in figure.axes[0].texts}
    assert len(language_dots(rows, "geo", by="script").axes) == 1
    panels = gains(rows, "geo").axes
    assert len(panels) == 2
    svg = to_svg(figure, "a", 'A "title" & <more>')
    assert "<text" in svg
    assert "<script" not in svg
    assert 'id="a-figure_1"' in svg


def test_figures_leave_pyplot_alone(rows):
    from matplotlib._pylab_helpers import Gcf

    before = len(Gcf.figs)
    overview(rows)
    assert len(Gcf.figs) == before


def test_importing_the_package_is_cheap():
    code = "import sys, xmit.report; assert not {'pandas', 'matplotlib', 'jinja2', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --dump-dom"
)
PROBE = """<script>
const table = document.getElementById("t-target-languages");
const column = (i) => Array.from(table.tBodies[0].rows).filter((r) => !r.hidden).map((r) => r.cells[i].textContent);
const say = (key, value) => document.body.setAttribute("data-say-" + key, JSON.stringify(value));
const heads = Array.from(table.tHead.rows[0].cells);
const at = heads.findIndex((h) => h.textContent.trim() === "none");
heads[at].querySelector("button").click(); say("down", column(at));
heads[at].querySelector("button").click(); say("up", column(at)); say("sort", heads[at].getAttribute("aria-sort"));
heads[0].querySelector("button").click(); say("names", column(0));
const box = document.getElementById("language");
box.value = "DRAVID"; box.dispatchEvent(new Event("input")); say("filtered", column(0));
say("found", document.getElementById("language-found").textContent);
</script></body>"""


def browse(path, profile):
    done = subprocess.run(
        [CHROMIUM, *FLAGS.split(), f"--user-data-dir={profile}", path.as_uri()],
        capture_output=True,
        timeout=60,
        check=False,
    )
    log = done.stderr.decode(errors="replace")
    return done.stdout.decode(errors="replace"), [line for line in log.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_in_a_browser(page, tmp_path):
    probe = tmp_path / "probe.html"
    probe.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")
    dom, errors = browse(probe, tmp_path / "profile")
    assert errors == []
    said = {
        k: json.loads(html.unescape(v))
        for k, v in re.findall(r' data-say-(\w+)="([^"]*)"', dom[dom.index("<body") :][:30000])
    }
    numbers = [float(v) for v in said["down"] if v != "–"]
    assert len(numbers) == 97
    assert numbers == sorted(numbers, reverse=True)
    # what has no value is last in both directions
    assert said["down"][-1] == said["up"][-1] == "–"
    assert [float(v) for v in said["up"][:-1]] == sorted(numbers)
    assert said["sort"] == "ascending"
    assert said["names"][0] == "Afrikaans"
    assert said["filtered"] == ["Malayalam", "Malayalam", "Tamil", "Tamil", "Telugu", "Telugu"]
    assert said["found"] == "9 of 147"
    broken = tmp_path / "broken.html"
    broken.write_text("<script>nowhere()</script>", encoding="utf-8")
    assert browse(broken, tmp_path / "profile")[1], "a broken page must be noticed"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small study with prediction rows: 4 intermediates, 4 targets, 12 languages, 3 seeds."""
    folder = tmp_path_factory.mktemp("whole")
    languages = ("en", "de", "ar", "he", "hi", "zh", "th", "ta", "sw", "yo", "qu", "my")
    made = write_study(folder, 4, 4, languages, range(3), 60, missing=(3, 1, 2))
    cells = [
        {"intermediate": f"task0{i}", "target": "", "source_language": "en", "config": {
            "data": {"class_path": "MNLI", "init_args": {"train_examples": 10 ** (i + 2)}}}}
        for i in range(4)
    ]  # fmt: skip
    (folder / "plan.json").write_text(json.dumps({"name": "whole", "source": "", "cells": cells}))
    return write_report(folder, made, {"warnings": ["12 of 900 training examples of snli dropped"]}), made


def section(path, name):
    """The text of one section of a page."""
    text = path.read_text(encoding="utf-8")
    start = text.index(f'id="{name}"')
    reader = Reader()
    reader.feed(text[start : text.index("</section>", start)])
    return " ".join(" ".join(reader.text).split())


def test_every_view_stands_on_the_page(whole):
    page, rows = whole
    ids = set(read(page).ids)
    views = "primary matrix best languages consistency examples sizes measures tests run"
    assert ids >= set(views.split())
    found = effect_table(rows, items=Stored(page.parent, checked(rows)).items)
    primary = primary_table(found)
    shown = section(page, "primary")
    for line in primary.to_dict("records"):
        half = 50 * (line["low-resource_high"] - line["low-resource_low"])
        assert f"±{half:.1f}" in shown
    # two seeds are left of the intermediate that lacks a cell: its interval covers the items alone and says so
    kinds = primary.set_index("intermediate")["low-resource_kind"].to_dict()
    assert kinds == dict.fromkeys(("task00", "task01", "task03"), "seeds and items") | {"task02": "items"}
    assert shown.count("ⁱ") == 3
    tests = section(page, "tests")
    for family in ("primary", "secondary: target00", "secondary: target03"):
        assert tests.count(family) == 4
    assert "12 of 900 training examples of snli dropped" in section(page, "run")
    assert "best per target" in section(page, "matrix")
    assert "task02 on target01, seed 2" in page.read_text(encoding="utf-8")


def test_examples_show_each_languages_answer(whole):
    page, rows = whole
    text = page.read_text(encoding="utf-8")
    shown = section(page, "examples")
    # target00 and target02 have labels, target01 texts; target03 has no parallel items
    assert [f"target0{i}" in shown for i in range(4)] == [True, True, True, False]
    assert "without, seed 0" in shown
    assert shown.count("Is this true of item-") == 15
    consistency = pd.read_csv(page.parent / "report-consistency.csv").set_index(["target", "intermediate"])["rankc"]
    rankc = rows[rows["metric"] == "consistency/rankc"].groupby(["target", "intermediate"])["value"].mean()
    pd.testing.assert_series_equal(consistency.dropna(), rankc, check_names=False, check_like=True)
    assert set(consistency[consistency.isna()].reset_index()["target"]) == {"target01"}  # its answers are texts
    assert 'lang="ar">القاهرة</bdi>' in text
    assert shown.count("other languages agree") == 15
    agreement = pd.read_csv(page.parent / "report-agreement-target00.csv")
    own = pd.read_parquet(page.parent / "none--target00-s0" / "predictions.parquet")
    wide = own.pivot(index="id", columns="language", values="prediction")
    base = agreement[agreement["run"] == "without, seed 0"].set_index("language")
    assert base.loc["sw", "de"] == pytest.approx((wide["sw"] == wide["de"]).mean())


def test_sizes_are_read_from_the_plan(whole):
    page, _ = whole
    table = pd.read_csv(page.parent / "report-sizes.csv")
    assert set(table["task"]) == {"MNLI"}
    assert table["points"].str.startswith("100: ").all()
    assert len(table) == 4


def test_damaged_predictions_are_named(whole, tmp_path):
    _, rows = whole
    folder = tmp_path / "none--target00-s0"
    folder.mkdir()
    (folder / "predictions.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(DataError, match=r"none--target00-s0/predictions\.parquet is damaged"):
        write_report(tmp_path, rows)


def test_new_figures(whole):
    _, rows = whole
    found = effect_table(rows)
    primary = primary_table(found)
    (ax,) = forest(primary).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == list(primary["intermediate"])
    panels = [a for a in gain_by_pretraining(found, primary).axes if a.get_visible()]
    assert len(panels) == 4
    # 11 zero-shot languages: qu and yo, which XLM-R did not see, have marks of their own
    marks = sorted(len(line.get_xdata()) for line in panels[0].lines if line.get_linestyle() == "None")
    assert marks == [2, 9]
    matrix = pd.DataFrame([[1.0, 0.5], [0.5, 1.0]], index=["en", "sw"], columns=["en", "sw"])
    svg = to_svg(agreement({"without": matrix}, "xnli"), "m", "agreement")
    assert re.search(r'href="data:image/png;base64,[A-Za-z0-9+/=]+"', svg)


MATRIX = """<script>
const say = (key, value) => document.body.setAttribute("data-say-" + key, JSON.stringify(value));
const matrix = document.querySelector("table.matrix");
const names = () => Array.from(matrix.querySelectorAll("tbody:not(.base) tr")).filter((r) => !r.hidden)
  .map((r) => r.cells[0].textContent);
const heads = Array.from(matrix.tHead.rows[0].cells);
heads.at(-1).querySelector("button").click(); say("sorted", names());
const box = document.getElementById("language");
box.value = "swahili"; box.dispatchEvent(new Event("input"));
say("swahili", document.getElementById("language-found").textContent);
say("wide", document.documentElement.scrollWidth <= innerWidth);
say("unnamed", Array.from(document.querySelectorAll("input, button")).filter((e) =>
  !e.textContent.trim() && !(e.labels && e.labels.length)).length);
say("folded", Array.from(document.querySelectorAll("svg[role=img]")).every((s) => s.getAttribute("aria-label")));
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_whole_page_in_a_browser(whole, tmp_path):
    page, rows = whole
    probe = tmp_path / "probe.html"
    probe.write_text(page.read_text(encoding="utf-8").replace("</body>", MATRIX), encoding="utf-8")
    dom, errors = browse(probe, tmp_path / "profile")
    assert errors == []
    said = {
        k: json.loads(html.unescape(v))
        for k, v in re.findall(r' data-say-(\w+)="([^"]*)"', dom[dom.index("<body") :][:30000])
    }
    order = primary_table(effect_table(rows, items=Stored(page.parent, checked(rows)).items))
    assert said["sorted"] == list(order["intermediate"])
    # once over all targets and once in each of four
    assert said["swahili"].startswith("5 of ")
    assert said["wide"]
    assert said["unnamed"] == 0
    assert said["folded"]
