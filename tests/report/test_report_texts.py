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
from xmit.report.sentences import seeds_note, sentences_of

FEW = (*LANGUAGES[:6], "sw", "te", "yo")
HOSTILE = "<script>alert(1)</script>|&%$#_{}~^\\[bold]"


def named(rows, name):
    """The same rows with a hostile intermediate."""
    return rows.assign(intermediate=rows["intermediate"].replace("digits_text", name))


def primary(*lines):
    """A primary table: name, difference, half its interval, corrected p, and α's difference and half its interval."""
    table = []
    for name, value, half, p_holm, alpha, spread in lines:
        row = {"study": "s", "encoder": "e", "intermediate": name, "p": p_holm, "p_holm": p_holm, "n_seeds": 5}
        row |= {"seeds": (value,), "n_targets": 2, "note": ""}
        for key, middle, width, pairs in (
            ("low-resource", value, half, 6),
            ("zero-shot", value, half, 16),
            ("unseen", value, half, 2),
            ("alpha", alpha, spread, 2),
            ("slope", 0.0, 0.0, 1),
        ):
            kind = "seeds" if key == "alpha" else "seeds and items"
            row |= {key: middle, f"{key}_low": middle - width, f"{key}_high": middle + width}
            row |= {f"{key}_kind": kind, f"{key}_pairs": pairs}
        table.append(row)
    return pd.DataFrame(table)


def test_what_helps_is_named_with_its_numbers():
    said = sentences_of(
        primary(
            ("nli", 0.021, 0.006, 0.003, 0.03, 0.02),
            ("qa", 0.004, 0.006, 0.4, 0.0, 0.02),
            ("ccg", -0.03, 0.01, 0.01, 0.0, 0.02),
        )
    )
    assert said == [
        "Intermediate training helps low-resource languages, most of all nli +2.1 points (95\u00a0% interval +1.5 to "
        "+2.7, p = 0.003) over 6 pairs of a target and a language; 1 of 3 intermediates help, 1 harm.",
        "After nli answers are more consistent over languages (Krippendorff's α +0.03, interval +0.01 to +0.05 over "
        "seeds alone, 2 targets); languages that pre-training did not see change by +2.1 points (+1.5 to +2.7) "
        "after it.",
    ]


def test_harm_and_nothing_are_called_what_they_are():
    harm = sentences_of(primary(("nli", 0.001, 0.01, 0.9, 0.0, 0.1), ("ccg", -0.03, 0.01, 0.0001, -0.2, 0.1)))
    assert harm[0].startswith(
        "No intermediate helps low-resource languages; 1 of 2 intermediates harm, most of all ccg −3.0"
    )
    assert "p < 0.001" in harm[0]
    assert harm[1].startswith("After ccg answers are less consistent")
    nothing = sentences_of(primary(("nli", 0.004, 0.01, 0.6, 0.01, 0.02), ("ccg", -0.009, 0.01, 0.3, 0.0, 0.1)))
    assert nothing[0].startswith("No effect of intermediate training on low-resource languages is shown: of 2")
    assert "ccg −0.9 points" in nothing[0]
    assert "not shown to be more or less consistent" in nothing[1]


def test_without_item_scores_or_seeds_nothing_is_claimed():
    rows = study(languages=FEW, seeds=range(5), effect=0.1, seed_sd=0.002, missing=None)
    said = answer(rows)
    assert said[0].startswith("No effect on low-resource languages can be claimed from results without item scores")
    assert "over seeds alone" in said[0]
    assert "over 6 pairs of a target and a language" in said[0]
    assert seeds_note(rows).startswith("5 seeds; without item scores")
    two = study(languages=FEW, effect=0.1, seed_sd=0.002, missing=None)
    assert answer(two)[0].startswith("No effect on low-resource languages can be claimed from 2 seeds")
    assert seeds_note(two).startswith("2 seeds: no estimate of how seeds differ")
    assert "from 1 seed:" in answer(study(languages=FEW, seeds=[0], missing=None))[0]


def test_no_baseline_and_no_intermediate():
    rows = study(languages=FEW, missing=None)
    lone = rows[rows["intermediate"] != "none"]
    assert "the effect is not known" in answer(lone)[0]
    only = rows[rows["intermediate"] == "none"]
    assert "nothing to compare with" in answer(only)[0]


def test_without_low_resource_languages_the_zero_shot_ones_are_named():
    said = answer(study(languages=("en", "de", "fr"), missing=None))
    assert "zero-shot languages (none is low-resource)" in said[0]


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
