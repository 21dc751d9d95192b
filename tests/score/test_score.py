"""`python -m xmit score`: official values, and what it says of files that are missing, damaged or odd."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_submissions import NAMES, write_perfect

from xmit.__main__ import main
from xmit.score.layouts import LAYOUTS, official
from xmit.score.scoring import score_submission

OFFICIAL = json.loads(Path(__file__).with_name("official_values.json").read_text())
"""What evaluate.py (google-research/xtreme@838c13b6, seqeval 0.0.12) gives for each file of its mock test data."""
MEANS = {  # the values of its evaluate_test.py
    "pawsx": {"accuracy": 51.42857142857143},
    "xnli": {"accuracy": 30.666666666666668},
    "panx": {"f1": 57.50793650793652, "precision": 54.729166666666664, "recall": 62.750000000000014},
    "udpos": {"f1": 70.21746048354693, "precision": 71.02232625883823, "recall": 69.54982073976082},
    "bucc2018": {"f1": 55.0, "precision": 55.0, "recall": 55.0},
    "tatoeba": {"accuracy": 53.611111111111114},
    "xquad": {"exact_match": 77.27272727272727, "f1": 79.9586776859504},
    "mlqa": {"exact_match": 57.142857142857146, "f1": 81.76870748299321},
    "tydiqa": {"exact_match": 88.88888888888889, "f1": 97.22222222222223},
    "mewslix": {"map@20": 14.39025156130419},
}
OVERALL = 62.17319850507246  # evaluate.py's all_task under "xtreme"


def run(capsys, folder, *words):
    """Exit code, JSON and the lines on stderr."""
    folders = ["--predictions", str(folder / "predictions"), "--labels", str(folder / "labels")]
    code = main(["score", *folders, "--format", "json", *words])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err.splitlines()


@pytest.fixture(scope="module")
def perfect(tmp_path_factory):
    return {name: write_perfect(tmp_path_factory.mktemp(name), name) for name in ("xtreme", "xtreme-r")}


@pytest.fixture
def copy(perfect, tmp_path):
    import shutil

    def make(benchmark="xtreme"):
        return Path(shutil.copytree(perfect[benchmark], tmp_path / "copy"))

    return make


@pytest.mark.realdata
@pytest.mark.parametrize("benchmark", ["xtreme", "xtreme-r"])
def test_official_values(real_data, capsys, benchmark):
    code, result, _ = run(capsys, real_data / "xtreme_mock_test_data", "--benchmark", benchmark)
    assert code == 0
    assert set(result["tasks"]) == set(MEANS) & set(official(benchmark))
    for name, task in result["tasks"].items():
        assert {k: pytest.approx(v, abs=1e-9) for k, v in MEANS[name].items()} == task["mean"]
        assert task["languages"] == {
            code: {k: pytest.approx(v, abs=1e-9) for k, v in values.items()} for code, values in OFFICIAL[name].items()
        }
    assert result["overall"] == (pytest.approx(OVERALL, abs=1e-9) if benchmark == "xtreme" else None)


@pytest.mark.realdata
def test_the_mock_submission_is_complete_for_xtreme(real_data, capsys):
    code, result, lines = run(capsys, real_data / "xtreme_mock_test_data", "--strict")
    assert (code, len(result["tasks"])) == (0, 9)
    assert [line.split(":")[1] for line in lines] == [" extra"]  # mewslix, which is XTREME-R's


@pytest.mark.parametrize(("benchmark", "tasks"), [("xtreme", 9), ("xtreme-r", 10)])
def test_right_predictions_score_100(perfect, capsys, benchmark, tasks):
    code, result, lines = run(capsys, perfect[benchmark], "--benchmark", benchmark, "--strict")
    assert (code, lines, len(result["tasks"])) == (0, [], tasks)
    assert result["overall"] == 100
    for name, task in result["tasks"].items():
        assert set(task) == {"languages", "mean", "consistency", "robustness"}
        assert set(task["languages"]) == set(LAYOUTS[name].languages[benchmark])
        assert set(task["mean"].values()) == {100}
        assert task["robustness"]["n"]["mean"] == len(task["languages"])
        assert ("reason" in task["consistency"]) == (not LAYOUTS[name].parallel)


def test_xtreme_r_counts_each_of_ten_tasks_once(copy, capsys):
    folder = copy("xtreme-r")
    for name in ("xcopa", "lareqa"):
        for file in (folder / "predictions" / name).iterdir():
            if name == "xcopa":
                flipped = [{"label": 1 - json.loads(line)["label"]} for line in file.read_text().splitlines()]
                file.write_text("".join(json.dumps(row) + "\n" for row in flipped))
            else:  # the right one second
                file.write_text(json.dumps({k: ["x", *v] for k, v in json.loads(file.read_text()).items()}))
    _, result, _ = run(capsys, folder, "--benchmark", "xtreme-r")
    assert result["tasks"]["xcopa"]["mean"] == {"accuracy": 0}
    assert result["tasks"]["lareqa"]["mean"] == {"map@20": 50}
    assert result["overall"] == pytest.approx((8 * 100 + 0 + 50) / 10)


def test_question_answering_counts_half_exact_match_half_f1(copy, capsys):
    folder = copy()
    for file in (folder / "predictions/xquad").iterdir():
        file.write_text(json.dumps({k: v.split()[0] for k, v in json.loads(file.read_text()).items()}))
    _, result, _ = run(capsys, folder)
    assert result["tasks"]["xquad"]["mean"] == {"exact_match": 0, "f1": pytest.approx(50)}
    assert result["tasks"]["xquad"]["robustness"]["mean"] == pytest.approx(25)
    assert result["overall"] == pytest.approx((8 * 100 + 25) / 9)


def test_consistency_compares_by_line_and_by_id(copy, capsys):
    folder = copy()
    file = folder / "predictions/xnli/test-sw.tsv"
    labels = ("entailment", "neutral", "contradiction")
    file.write_text("".join(labels[(labels.index(x) + 1) % 3] + "\n" for x in file.read_text().split()))
    for language in LAYOUTS["xnli"].languages["xtreme"]:  # translations of the same five items
        for side in ("predictions", "labels"):
            path = folder / side / f"xnli/test-{language}.tsv"
            if (side, language) != ("predictions", "sw"):
                path.write_text("entailment\nneutral\nneutral\ncontradiction\nentailment\n")
    file.write_text("entailment\nneutral\nneutral\nneutral\nneutral\n")
    answers = json.loads((folder / "predictions/xquad/test-th.json").read_text())
    answers["q0"] = "falsch"
    (folder / "predictions/xquad/test-th.json").write_text(json.dumps(dict(reversed(answers.items()))))
    _, result, _ = run(capsys, folder)
    xnli = result["tasks"]["xnli"]["consistency"]
    assert (xnli["unit"], xnli["agreement/sw"], xnli["agreement/de"], xnli["n_common"]) == ("label", 0.6, 1, 5)
    xquad = result["tasks"]["xquad"]["consistency"]
    assert (xquad["unit"], xquad["agreement/th"], xquad["all_correct"]) == ("F1", 0.8, 0.8)


def test_missing_files_are_named_and_the_rest_is_scored(copy, capsys):
    folder = copy()
    gone = [
        folder / "predictions/xnli/test-sw.tsv",
        folder / "labels/panx/test-yo.tsv",
        folder / "predictions/mlqa/test-hi.json",
    ]
    for file in gone:
        file.unlink()
    code, result, lines = run(capsys, folder)
    assert (code, result["overall"]) == (0, None)
    assert sorted(line.split()[2] for line in lines) == sorted(map(str, gone))
    assert set(LAYOUTS["xnli"].languages["xtreme"]) - set(result["tasks"]["xnli"]["languages"]) == {"sw"}
    assert result["tasks"]["xnli"]["mean"] == {"accuracy": 100}
    code, result, lines = run(capsys, folder, "--strict")
    assert (code, result) == (1, None)
    assert len(lines) == 4


def test_a_task_left_out_is_named_file_by_file(copy, capsys):
    import shutil

    folder = copy()
    shutil.rmtree(folder / "predictions/bucc2018")
    code, result, lines = run(capsys, folder)
    assert (code, result["overall"], "bucc2018" in result["tasks"]) == (0, None, False)
    assert [line.split()[2] for line in lines] == [
        str(folder / f"predictions/bucc2018/test-{code}.tsv") for code in ("de", "fr", "ru", "zh")
    ]


def test_extra_files_are_named_and_do_no_harm(copy, capsys):
    folder = copy()
    for name in ("xnli/test-xx.tsv", "notes.txt", "mewslix/test-de.json", "other/x", "panx/test-qu.tsv", "xnli/.keep"):
        file = folder / "predictions" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
    code, result, lines = run(capsys, folder, "--strict")
    assert (code, result["overall"]) == (0, 100)
    named = [Path(line.split()[2]).relative_to(folder / "predictions").as_posix() for line in lines]
    assert sorted(named) == ["mewslix", "notes.txt", "other", "xnli/test-xx.tsv"]


def edit(change):
    return lambda text: change(text.splitlines(keepends=True))


DAMAGES = {  # what becomes of the text of predictions/<task>/test-de, the expected line and words
    "one label less": ("xnli", edit(lambda rows: "".join(rows[:-1])), 4, "4 labels, but .* has 5"),
    "one label more": ("xnli", edit(lambda rows: "".join([*rows, rows[0]])), 6, "6 labels, but .* has 5"),
    "one sentence less": ("panx", lambda text: text.rsplit("\n\n", 1)[0] + "\n", None, "4 sentences, but .* has 5"),
    "one tag less": ("udpos", edit(lambda rows: "".join(rows[1:])), 1, "sentence 1 has . tags, but . in"),
    "three columns": ("bucc2018", edit(lambda rows: "a\tb\tc\n" + "".join(rows)), 1, "not two ids"),
    "one column": ("bucc2018", edit(lambda rows: rows[0] + "a\n"), 2, "not two ids"),
    "cut JSON": ("xquad", lambda text: text[:-20], None, "no valid JSON"),
    "id twice": ("tydiqa", edit(lambda rows: "".join([*rows[:-2], rows[1], *rows[-2:]])), 6, "'q0' occurs twice"),
    "a number": ("mlqa", lambda _: '{\n"q0": "a",\n"q1": 5\n}', 3, "the answer to 'q1' is int"),
    "a list": ("xquad", lambda _: "[1]", 1, "expected one object"),
    "SQuAD itself": ("xquad", lambda _: '{"data": [{"paragraphs": []}]}', 1, "expected one object"),
    "empty": ("xnli", lambda _: "", 1, "empty"),
    "blank": ("panx", lambda _: "\n\n", 1, "empty"),
    "NUL": ("xnli", lambda text: text.replace("\n", "\n\0", 1), 2, "NUL"),
    "UTF-16": ("xquad", lambda text: text.encode("utf-16"), 1, "UTF-16"),
    "Latin-1": ("xquad", lambda text: text.replace("北京", "").encode("latin-1"), 2, "not UTF-8"),
    "a number too long": ("xquad", lambda _: '{"q0": ' + "9" * 5000 + "}", 1, "no valid JSON"),
    "too deep": ("xquad", lambda _: "[" * 100000, 1, "no valid JSON"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_are_named_with_line(copy, capsys, name):
    import re

    task, change, number, words = DAMAGES[name]
    folder = copy("xtreme" if "xtreme" in LAYOUTS[task].languages else "xtreme-r")
    language = "de" if "de" in LAYOUTS[task].all_languages else "fi"
    file = LAYOUTS[task].file(folder / "predictions", language)
    text = change(file.read_text(encoding="utf-8"))
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, result, lines = run(capsys, folder)
    assert (code, result["overall"], len(lines)) == (1, None, 1)
    assert language not in result["tasks"][task]["languages"]
    assert re.search(rf"^xmit: damaged: {re.escape(str(file))}:{number or '[0-9]+'}: .*{words}", lines[0])


ODD = {
    "unknown label": ("xnli", edit(lambda rows: "".join([rows[0], "entail\n", *rows[2:]])), 2, "label 'entail'"),
    "unknown tag": ("panx", edit(lambda rows: "B-MISC\n" + "".join(rows[1:])), 1, "unknown label 'B-MISC'"),
    "a text as choice": ("xcopa", edit(lambda rows: '{"label": "0"}\n' + "".join(rows[1:])), 1, "unknown label"),
    "no number": ("tatoeba", edit(lambda rows: "".join([*rows[:4], "3.0\n"])), 5, "unknown label '3.0'"),
    "pair twice": ("bucc2018", edit(lambda rows: "".join([*rows, rows[1]])), 6, "the pair of line 2 again"),
    "unfinished": ("tatoeba", lambda text: text[:-1], 5, "the last line has no end"),
    "no answer": ("xquad", edit(lambda rows: "".join([rows[0], *rows[2:]])), None, "no prediction for 'q0'"),
    "a question more": ("tydiqa", edit(lambda rows: "".join([rows[0], ' "z": "",\n', *rows[1:]])), 2, "'z' is not in"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_scored_but_named(copy, capsys, name):
    task, change, number, words = ODD[name]
    benchmark = "xtreme" if "xtreme" in LAYOUTS[task].languages else "xtreme-r"
    folder = copy(benchmark)
    language = next(code for code in ("de", "fi", "et") if code in LAYOUTS[task].all_languages)
    file = LAYOUTS[task].file(folder / "predictions", language)
    file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")
    code, result, lines = run(capsys, folder, "--benchmark", benchmark)
    assert (code, len(lines)) == (0, 1)
    assert result["overall"] is not None
    assert lines[0].startswith(f"xmit: odd: {file}:{'' if number is None else f'{number}:'}")
    assert words in lines[0]
    assert run(capsys, folder, "--benchmark", benchmark, "--strict")[:2] == (1, None)


def test_blanked_labels_are_refused(copy, capsys):
    folder = copy()
    (folder / "labels/xnli/test-de.tsv").write_text("\n" * 4 + "neutral\n")
    label = folder / "labels/xquad/test-de.json"
    content = json.loads(label.read_text(encoding="utf-8"))
    content["data"][0]["paragraphs"][0]["qas"][2]["answers"] = []
    label.write_text(json.dumps(content, indent=1))
    code, _, lines = run(capsys, folder)
    assert code == 1
    assert len(lines) == 2
    assert all("blanks the test labels" in line for line in lines)


def test_an_unanswered_question_scores_0_even_if_the_answer_is_an_article(copy, capsys):
    folder = copy()
    label = folder / "labels/xquad/test-en.json"
    label.write_text(label.read_text(encoding="utf-8").replace("réponse q0 北京", "the"), encoding="utf-8")
    file = folder / "predictions/xquad/test-en.json"
    answers = json.loads(file.read_text(encoding="utf-8"))
    del answers["q0"]
    file.write_text(json.dumps(answers))
    _, result, _ = run(capsys, folder)
    assert result["tasks"]["xquad"]["languages"]["en"] == {"exact_match": 80, "f1": 80}


@pytest.mark.parametrize("name", NAMES)
def test_bom_crlf_and_gzip_change_nothing(copy, capsys, name):
    benchmark = "xtreme" if "xtreme" in LAYOUTS[name].languages else "xtreme-r"
    folder = copy(benchmark)
    for side in ("predictions", "labels"):
        first, second, third = [*LAYOUTS[name].languages[benchmark]][:3]
        file = LAYOUTS[name].file(folder / side, first)
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
        file = LAYOUTS[name].file(folder / side, second)
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
        file = LAYOUTS[name].file(folder / side, third)
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    code, result, lines = run(capsys, folder, "--strict", "--benchmark", benchmark)
    assert (code, lines, result["overall"]) == (0, [], 100)


def test_wrong_folders_are_one_line(perfect, tmp_path, capsys):
    (tmp_path / "p" / "mewslix").mkdir(parents=True)
    for predictions, words in [
        (tmp_path / "nowhere", "there is no folder"),
        (tmp_path, "holds none of the folders"),
        (perfect["xtreme"] / "predictions" / "xnli", "give the folder above"),
        (tmp_path / "p", "mewslix is of the other benchmark, see --benchmark"),
    ]:
        code = main(["score", "--predictions", str(predictions), "--labels", str(perfect["xtreme"] / "labels")])
        err = capsys.readouterr().err
        assert code == 1
        assert err.count("\n") == 1
        assert words in err


def test_table_and_process(perfect, copy):
    folder = copy()
    (folder / "predictions/xnli/test-sw.tsv").unlink()
    words = ["score", "--predictions", str(folder / "predictions"), "--labels", str(folder / "labels")]
    done = subprocess.run([sys.executable, "-m", "xmit", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "14 of 15" in done.stdout
    assert "overall: none" in done.stdout
    assert done.stderr.count("\n") == 1


def test_from_python(perfect):
    report = score_submission(perfect["xtreme"] / "predictions", perfect["xtreme"] / "labels")
    assert report.complete
    assert not report.damaged
    assert report.scores["overall"] == 100


@pytest.mark.parametrize("command", ["score", "submission"])
def test_help_is_light_and_has_an_example(command):
    code = (
        "import sys\nfrom xmit.__main__ import main\n"
        f"try:\n    main([{command!r}, '--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'lightning', 'pandas', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"example: python -m xmit {command}" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
