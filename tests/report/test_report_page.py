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
from synthetic_study import study

from xmit.errors import MissingDependencyError, StudyError
from xmit.report import gains, language_dots, overview, summary_table, write_report
from xmit.report.plots import to_svg

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
    words = set("".join(read(page).text).split())
    for value in summary_table(rows)["zero_shot_mean"]:
        assert f"{100 * value:.1f}" in words
    text = page.read_text(encoding="utf-8")
    assert "No effect of intermediate training on low-resource languages is shown." in text
    assert "2 seeds; differences of single seeds are noise" in text
    assert "digits_image on geo, seed 1: killed" in text
    assert "1 seed, missing 1" in text
    assert "over 95 % in my" in text
    assert INFO["arabic"] in text


def test_tables_lie_beside_the_page(page, rows):
    names = {p.name for p in page.parent.iterdir()}
    stems = {"summary", "effect", "consistency", "groups", "languages-geo", "languages-lookup", "intermediates"}
    assert names - {"report-overview.png", "report-overview.pdf"} == {"report.html"} | {
        f"report-{s}.{x}" for s in stems for x in ("csv", "tex")
    }
    read_back = pd.read_csv(page.parent / "report-summary.csv")
    pd.testing.assert_series_equal(read_back["mean"], summary_table(rows)["mean"])


def test_the_same_rows_give_the_same_bytes(rows, tmp_path):
    few = rows[rows["language"].isin(["en", "de", "sw", "te", "all"])]
    pages = [write_report(tmp_path / name, few, INFO) for name in ("a", "b")]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_no_info_and_few_rows_are_enough(tmp_path):
    rows = study(intermediates=("none",), targets=("lookup",), languages=("en", "de"), seeds=(0,), missing=None)
    text = write_report(tmp_path, rows).read_text(encoding="utf-8")
    assert "The study has no intermediate task" in text
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
const table = document.querySelectorAll("table.filtered")[0];
const column = (i) => Array.from(table.tBodies[0].rows).filter((r) => !r.hidden).map((r) => r.cells[i].textContent);
const say = (key, value) => document.body.setAttribute("data-" + key, JSON.stringify(value));
const heads = Array.from(table.tHead.rows[0].cells);
const at = heads.findIndex((h) => h.textContent.trim() === "none");
heads[at].querySelector("button").click(); say("down", column(at));
heads[at].querySelector("button").click(); say("up", column(at)); say("sort", heads[at].getAttribute("aria-sort"));
heads[0].querySelector("button").click(); say("names", column(0));
const box = document.getElementById("filter");
box.value = "DRAVID"; box.dispatchEvent(new Event("input")); say("filtered", column(0));
say("found", document.getElementById("found").textContent);
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
        for k, v in re.findall(r' data-(\w+)="([^"]*)"', dom[dom.index("<body") :][:30000])
    }
    numbers = [float(v) for v in said["down"] if v != "–"]
    assert len(numbers) == 48
    assert numbers == sorted(numbers, reverse=True)
    # what has no value is last in both directions
    assert said["down"][-1] == said["up"][-1] == "–"
    assert [float(v) for v in said["up"][:-1]] == sorted(numbers)
    assert said["sort"] == "ascending"
    assert said["names"][0] == "Afrikaans"
    assert said["filtered"] == ["Malayalam", "Tamil", "Telugu"]
    assert said["found"] == "6 of 98 rows"
    broken = tmp_path / "broken.html"
    broken.write_text("<script>nowhere()</script>", encoding="utf-8")
    assert browse(broken, tmp_path / "profile")[1], "a broken page must be noticed"
