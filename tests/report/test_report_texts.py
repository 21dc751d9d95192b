"""What the report says in words, on a terminal, in LaTeX, Markdown and CSV."""

import io
import shutil
import subprocess

import pandas as pd
import pytest
from rich.console import Console
from synthetic_study import LANGUAGES, study

from xmit.errors import ConfigError
from xmit.report import answer, print_summary, render, summary_table
from xmit.report.sentences import seeds_note, shows_effect

FEW = (*LANGUAGES[:6], "sw", "te", "yo")
HOSTILE = "<script>alert(1)</script>|&%$#_{}~^\\[bold]"


def named(rows, name):
    """The same rows with a hostile intermediate."""
    return rows.assign(intermediate=rows["intermediate"].replace("digits_text", name))


def test_a_null_effect_is_called_one():
    said = answer(study(languages=FEW, seeds=range(5), missing=None))
    assert said[0] == "No effect of intermediate training on low-resource languages is shown."
    assert said[1].startswith("Averaged over 6 pairs of a target and a low-resource language (2 targets)")
    assert len(said) <= 4


def test_an_effect_in_all_of_five_seeds_is_named():
    said = answer(study(languages=FEW, seeds=range(5), effect=0.1, seed_sd=0.002, missing=None))
    assert said[0].startswith("Scores in low-resource languages are better after digits_image and digits_text")
    worse = answer(study(languages=FEW, seeds=range(5), effect=-0.1, seed_sd=0.002, missing=None))
    assert "worse after" in worse[0]


def test_two_seeds_claim_nothing():
    rows = study(languages=FEW, effect=0.1, seed_sd=0.002, missing=None)
    assert answer(rows)[0] == "No effect on low-resource languages can be claimed from 2 seeds."
    assert seeds_note(rows).startswith("2 seeds; differences of single seeds are noise")


def test_one_seed_and_no_baseline():
    assert answer(study(languages=FEW, seeds=[0], missing=None))[0].startswith("One seed cannot tell")
    rows = study(languages=FEW, missing=None)
    lone = rows[rows["intermediate"] != "none"]
    assert "the effect is not known" in answer(lone)[0]
    only = rows[rows["intermediate"] == "none"]
    assert "nothing to compare with" in answer(only)[0]


def test_without_low_resource_languages_the_zero_shot_ones_are_named():
    said = answer(study(languages=("en", "de", "fr"), missing=None))
    assert "zero-shot languages" in said[0]
    assert "none is low-resource" in said[1]


@pytest.mark.parametrize(
    ("seeds", "shown"),
    [((0.01,), False), ((0.01, -0.01), False), ((0.01, 0.05), False), ((0.03, 0.031, 0.029), True), ((), False)],
)
def test_rule_of_an_effect(seeds, shown):
    assert shows_effect(seeds) is shown


@pytest.mark.parametrize("width", [60, 100, 200])
def test_console_fits(width):
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    print_summary(study(), console)
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= min(width, 100)
    assert "digits_image" in text
    assert "57.2 (11)" in text
    assert console.width == width


def test_console_in_a_pipe_has_100_columns_and_plain_names():
    stream = io.StringIO()
    print_summary(named(study(languages=FEW), HOSTILE[:12] + "[bold]"), Console(file=stream, soft_wrap=True))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    assert "<script>aler[bold]" in text.replace("\n", "")


def test_csv_is_the_summary_in_full_precision():
    rows = study()
    read = pd.read_csv(io.StringIO(render(rows, "csv")), keep_default_na=False, na_values=[""])
    expected = summary_table(rows)
    assert list(read.columns) == list(expected.columns)
    pd.testing.assert_series_equal(read["mean"], expected["mean"], rtol=1e-15)
    languages = pd.read_csv(io.StringIO(render(rows, "csv", tables=["languages-geo"])))
    assert set(languages["language"]) == set(LANGUAGES)


def test_markdown_keeps_its_columns_whatever_the_names():
    text = render(named(study(languages=FEW), HOSTILE), "markdown", tables=["summary", "languages-geo"])
    assert "<script>" not in text
    for block in text.split("### ")[1:]:
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_latex_is_escaped_and_whole():
    text = render(named(study(), HOSTILE), "latex")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule")
    assert r"\textless{}script\textgreater{}alert(1)" in text
    assert r"\textbar{}\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}" in text
    assert not [c for c in text if ord(c) > 0x17F]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path):
    body = render(named(study(), HOSTILE), "latex")
    page = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{body}\\end{{document}}\n"
    (tmp_path / "t.tex").write_text(page, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-1500:]


def test_unknown_format_and_table():
    with pytest.raises(ConfigError, match="latex, markdown, csv"):
        render(study(languages=FEW), "docx")
    with pytest.raises(ConfigError, match="unknown table 'x'"):
        render(study(languages=FEW), "csv", tables=["x"])
