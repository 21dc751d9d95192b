"""The sources: files of the original releases are found, and the hub's traps are refused."""

from __future__ import annotations

import gzip
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import datasets
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import given
from hypothesis import strategies as st

from xmit.data import sources
from xmit.data.revisions import REVISIONS, UNPINNED
from xmit.data.sources import find_file, labels_to_ids, load_hub
from xmit.errors import DataError
from xmit.registry import registered_tasks

NLI = ("entailment", "neutral", "contradiction")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


def parquet(path, texts, labels=None, names=NLI):
    path.parent.mkdir(parents=True, exist_ok=True)
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
    labels = [0] * len(texts) if labels is None else labels
    Dataset.from_dict({"text": texts, "label": labels}, features=features).to_parquet(path)


@pytest.fixture
def converted(tmp_path):
    """The layout of refs/convert/parquet: two languages and MNLI's two validation splits, no card."""
    root = tmp_path / "xnli"
    for language in ("de", "en"):
        parquet(root / language / "test" / "0000.parquet", [f"{language} 0"])
        parquet(root / language / "test" / "0001.parquet", [f"{language} 1"], [2])
        parquet(root / language / "validation_matched" / "0000.parquet", ["matched"])
        parquet(root / language / "validation" / "0000.parquet", ["validation"])
    return root


def card(root, **configs):
    """The card of a repository with configurations, as the hub's have it."""
    lines = ["---", "configs:"]
    for name, files in configs.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        lines += [line for split, path in files.items() for line in (f"  - split: {split}", f"    path: {path}")]
    (root / "README.md").write_text("\n".join([*lines, "---", ""]))


# -- files ---------------------------------------------------------------------------------------------------


def test_the_first_file_that_exists_is_found(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.tsv.gz").touch()
    (tmp_path / "three.tsv").touch()
    assert find_file(tmp_path, "one.tsv", "b/two.tsv", "three.tsv", task="t", hub="h").name == "two.tsv.gz"
    assert find_file(str(tmp_path), "three.tsv", "b/two.tsv", task="t", hub="h") == tmp_path / "three.tsv"
    with pytest.raises(DataError) as caught:
        find_file(tmp_path, "one.tsv", "b", task="xnli", hub="facebook/xnli")
    for part in ("task 'xnli'", "one.tsv or b", str(tmp_path), "data_dir", "facebook/xnli"):
        assert part in str(caught.value)
    with pytest.raises(DataError, match="not a folder"):
        find_file(tmp_path / "none", "one.tsv", task="t", hub="h")


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").touch()
    assert find_file("~/data", "x", task="t", hub="h") == tmp_path / "data" / "x"


@given(
    values=st.lists(st.sampled_from(NLI), min_size=1, max_size=9), at=st.integers(0, 8), bad=st.text() | st.integers()
)
def test_labels_become_indices_and_any_other_is_refused_with_its_row(values, at, bad):
    assert [NLI[i] for i in labels_to_ids(values, NLI, "x.tsv")] == values
    if bad not in NLI and at < len(values):
        with pytest.raises(DataError) as caught:
            labels_to_ids([*values[:at], bad, *values[at + 1 :]], NLI, "x.tsv")
        assert str(caught.value).startswith(f"x.tsv: the label of row {at + 1} is {bad!r}, not one of entailment, ")


# -- the hub's layouts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["de", "en"])
def test_the_converted_branch_gives_one_language_with_its_label_names(converted, language):
    table = load_hub(
        str(converted), config=language, split="test", parquet_branch=True, rows=2, label_names=NLI, revision="abc"
    )
    assert list(table["text"]) == [f"{language} 0", f"{language} 1"]
    assert list(table["label"]) == [0, 2]


def test_validation_matched_is_not_taken_for_validation(converted):
    for split in ("validation", "validation_matched"):
        table = load_hub(str(converted), config="en", split=split, parquet_branch=True, rows=1)
        assert list(table["text"]) == [split.split("_")[-1]]


@pytest.mark.parametrize("arguments", [{"parquet_branch": True}, {}, {"data_files": "*/test/*.parquet"}])
def test_languages_are_never_merged(converted, arguments):
    with pytest.raises(DataError, match=r"2 tables, perhaps languages, would be merged \(de/test/\*\.parquet, en"):
        load_hub(str(converted), split="test", **arguments)


def test_files_of_languages_side_by_side_are_not_merged(tmp_path):
    for language in ("de", "en"):
        parquet(tmp_path / f"{language}.parquet", [language])
    with pytest.raises(DataError, match="2 tables"):
        load_hub(str(tmp_path), split="train")
    assert list(load_hub(str(tmp_path), split="train", data_files="de.parquet")["text"]) == ["de"]
    both = load_hub(str(tmp_path), split="train", data_files=["de.parquet", "en.parquet"])
    assert list(both["text"]) == ["de", "en"]


def test_the_parts_of_one_table_are_joined(tmp_path):
    parquet(tmp_path / "data" / "train-00000-of-00002-0f3a9c1d2b4e5f60.parquet", ["a"])
    parquet(tmp_path / "data" / "train-00001-of-00002-1f3a9c1d2b4e5f61.parquet", ["b"])
    parquet(tmp_path / "data" / "test-00000-of-00001.parquet", ["c"])
    assert list(load_hub(str(tmp_path), split="train", rows=2)["text"]) == ["a", "b"]


def test_a_single_configuration_may_have_any_name_in_the_converted_branch(tmp_path):
    parquet(tmp_path / "default" / "train" / "0000.parquet", ["a"])  # such as piqa's plain_text
    assert len(load_hub(str(tmp_path), split="train", parquet_branch=True)) == 1


def test_configurations_of_a_card(tmp_path):
    parquet(tmp_path / "a" / "test.parquet", ["de"])
    parquet(tmp_path / "b" / "test.parquet", ["en"])
    card(tmp_path, de={"test": "a/test.parquet"}, en={"test": "b/test.parquet"})
    assert list(load_hub(str(tmp_path), config="en", split="test")["text"]) == ["en"]
    assert list(load_hub(str(tmp_path), split="test", data_files={"test": "a/*.parquet"})["text"]) == ["de"]
    for arguments, message in (
        ({"split": "test"}, "Config name is missing"),
        ({"split": "test", "config": "fr"}, "'fr' not found. Available: .*'de', 'en'"),
        ({"split": "train", "config": "en"}, "no such split; there are test"),
        ({"split": "test", "data_files": {"train": "x"}}, "no data_files for split 'test', only for train"),
        ({"split": "test", "data_files": "x", "parquet_branch": True}, "exclude each other"),
        ({"split": "test", "data_files": "c/*.parquet"}, "cannot be loaded"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            load_hub(str(tmp_path), **arguments)
        assert "\n" not in str(caught.value)


def test_tab_separated_text_is_read_as_it_stands(tmp_path):
    (tmp_path / "en").mkdir()
    text = 'index_id\tcategory\ttext\n1\tNA\tan "open quote\n2\tnull\tNone\n3\tx\t"a" and "b"\n'
    (tmp_path / "en" / "test.tsv").write_text(text)
    card(tmp_path, en={"test": "en/test.tsv"})
    for arguments in ({"config": "en"}, {"data_files": "en/test.tsv"}):
        table = load_hub(str(tmp_path), split="test", rows=3, **arguments)
        assert list(table["category"]) == ["NA", "null", "x"]
        assert list(table["text"]) == ['an "open quote', "None", '"a" and "b"']
    (tmp_path / "en" / "test.tsv").unlink()
    (tmp_path / "en" / "test.tsv.gz").write_bytes(gzip.compress(text.encode()))
    assert len(load_hub(str(tmp_path), split="test", data_files="en/test.tsv.gz", rows=3)) == 3


def test_comma_separated_text_keeps_words_that_look_like_missing_values(tmp_path):
    (tmp_path / "train.csv").write_text('id,text\n1,NA\n2,"a, b"\n')
    assert list(load_hub(str(tmp_path), split="train")["text"]) == ["NA", "a, b"]


def test_json_lines_and_squad(tmp_path):
    rows = [{"id": str(i), "answers": {"text": ["a"], "answer_start": [i]}} for i in range(3)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load_hub(str(tmp_path), split="test", rows=3)[2]["answers"] == {"text": ["a"], "answer_start": [2]}


# -- what is checked -----------------------------------------------------------------------------------------


def test_the_count_of_rows_and_the_names_of_labels_are_checked(tmp_path):
    parquet(tmp_path / "test.parquet", ["a", "b"], [0, -1])
    path = str(tmp_path)
    with pytest.raises(DataError, match=r"2 rows instead of 3; .*pin the revision"):
        load_hub(path, split="test", rows=3)
    with pytest.raises(DataError, match=r"labels neutral, .* in this order \('label' has entailment, neutral, contra"):
        load_hub(path, split="test", label_names=("neutral", "entailment", "contradiction"))
    assert list(load_hub(path, split="test", label_names=NLI)["label"]) == [0, -1]
    assert list(load_hub(path, split="test", rows=2, label_names=NLI, drop_unlabelled=True)["text"]) == ["a"]


def test_label_names_within_lists_are_checked_and_their_absence_too(tmp_path):
    tags = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-PER"]))})
    table = Dataset.from_dict({"tokens": [["a"]], "ner_tags": [[1]]}, features=tags)
    table.to_parquet(tmp_path / "test.parquet")
    assert len(load_hub(str(tmp_path), split="test", label_names=["O", "B-PER"])) == 1
    with pytest.raises(DataError, match=r"'ner_tags' has O, B-PER"):
        load_hub(str(tmp_path), split="test", label_names=["O", "B-LOC"])
    with pytest.raises(DataError, match="no column of labels to find unlabelled rows by"):
        load_hub(str(tmp_path), split="test", drop_unlabelled=True)
    (tmp_path / "test.parquet").unlink()
    (tmp_path / "test.jsonl").write_text('{"text": "a", "label": 0}\n')
    with pytest.raises(DataError, match="no column carries label names"):
        load_hub(str(tmp_path), split="test", label_names=NLI)


def test_a_damaged_file_gives_one_error(tmp_path):
    parquet(tmp_path / "test.parquet", ["a"] * 100)
    raw = (tmp_path / "test.parquet").read_bytes()
    (tmp_path / "test.parquet").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match="cannot be loaded") as caught:
        load_hub(str(tmp_path), split="test")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


# -- what is never done --------------------------------------------------------------------------------------


def test_a_script_is_never_run(tmp_path):
    root = tmp_path / "xnli"
    parquet(root / "en" / "test" / "0000.parquet", ["a"])
    (root / "xnli.py").write_text("raise SystemExit('run')")
    with pytest.raises(DataError, match=r"is a script, which is never run; .*parquet_branch=True.* data_dir"):
        load_hub(str(root), config="en", split="test")


@pytest.mark.parametrize("name", ["xnli", "./nowhere", "/no/where", "a/b/c", "hf://datasets/a/b", "~/nowhere", ""])
def test_what_is_neither_an_id_nor_a_folder_is_refused(name):
    with pytest.raises(DataError, match=r"neither a folder nor an id of the hub; .*namespace/name"):
        load_hub(name, split="test")


def test_a_hub_that_cannot_be_reached_is_said_at_once_with_both_remedies(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(DataError, match=r"facebook/xnli \(en\), split 'test': the hub cannot be reached") as caught:
        load_hub("facebook/xnli", config="en", split="test")
    assert time.monotonic() - began < 5
    assert re.search("connect to the hub .* or pass data_dir", str(caught.value))
    assert "\n" not in str(caught.value)
    assert datasets.config.HF_HUB_OFFLINE is False


def test_offline_mode_is_honoured(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(sources, "_unreachable", lambda endpoint: pytest.fail("asked the hub"))
    with pytest.raises(DataError, match="HF_HUB_OFFLINE is set and it is not in the cache"):
        load_hub("facebook/xnli", config="en", split="test", parquet_branch=True)
    assert datasets.config.HF_HUB_OFFLINE is True


@pytest.mark.parametrize("suffix", ["tsv", "csv", "parquet"])
def test_offline_the_cache_answers_if_it_holds_the_pinned_revision(tmp_path, monkeypatch, suffix):
    root = tmp_path / "b"
    parquet(root / "en" / "test.parquet", ["x"])
    (root / "en" / "test.tsv").write_text('id\ttext\n1\t"x\n')
    (root / "en" / "test.csv").write_text("id,text\n1,NA\n")
    card(root, en={"test": f"en/test.{suffix}"})
    text = list(load_hub(str(root), config="en", split="test")["text"])
    # what a first call with a connection leaves behind lies under the id and the commit
    (entry,) = (datasets.config.HF_DATASETS_CACHE / "b").glob("*/*/*/dataset_info.json")
    commit, other = "a" * 40, "b" * 40
    config = {"tsv": sources._TSV, "csv": sources._CSV, "parquet": {}}[suffix]
    name = datasets.BuilderConfig("en").create_config_id(config)
    cached = datasets.config.HF_DATASETS_CACHE / "a___b" / name / "0.0.0" / commit
    cached.parent.mkdir(parents=True)
    entry.parent.rename(cached)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    for revision in (commit, None):
        assert list(load_hub("a/b", config="en", split="test", revision=revision)["text"]) == text
    with pytest.raises(DataError, match=f"the cache holds revision {commit} instead of {other}; connect"):
        load_hub("a/b", config="en", split="test", revision=other)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE is set and it is not in the cache"):
        load_hub("a/b", config="de", split="test", revision=commit)


def test_the_hub_is_asked_for_the_pinned_revision_and_one_language_only(monkeypatch):
    asked = []

    def builder(**options):
        asked.append(options)
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' is a gated dataset on the Hub.")

    monkeypatch.setattr(sources, "_unreachable", lambda endpoint: "")
    monkeypatch.setattr(datasets, "load_dataset_builder", builder)
    for arguments in ({"revision": "abc"}, {"parquet_branch": True}, {"parquet_branch": True, "revision": "def"}):
        with pytest.raises(DataError, match=r"gated.*check id, config, revision and access"):
            load_hub("a/b", config="de", split="test", **arguments)
    files = {"test": "de/test/*.parquet"}
    assert asked == [
        {"path": "a/b", "revision": "abc", "name": "de"},
        {"path": "a/b", "revision": "refs/convert/parquet", "data_files": files},
        {"path": "a/b", "revision": "def", "data_files": files},
    ]


def test_a_pinned_data_set_is_loaded_by_its_commit_unless_another_is_asked_for(monkeypatch, tmp_path):
    asked = []

    def builder(**options):
        asked.append(options.get("revision"))
        raise datasets.exceptions.DatasetNotFoundError(f"Revision '{asked[-1]}' doesn't exist for dataset on the Hub.")

    monkeypatch.setattr(sources, "_unreachable", lambda endpoint: "")
    monkeypatch.setattr(datasets, "load_dataset_builder", builder)
    pin = REVISIONS["facebook/xnli"]
    with pytest.raises(DataError, match=rf"doesn't exist.*; xmit/data/revisions\.py pins {pin}: .*change it there"):
        load_hub("facebook/xnli", config="en", split="test")
    for arguments in ({"revision": "main"}, {"parquet_branch": True}):
        with pytest.raises(DataError) as caught:
            load_hub("facebook/xnli", config="en", split="test", **arguments)
        assert "pins" not in str(caught.value)
    with pytest.raises(DataError) as caught:
        load_hub("a/b", split="test")
    assert "pins" not in str(caught.value)
    assert asked == [pin, "main", "refs/convert/parquet", None]
    (tmp_path / "facebook" / "xnli").mkdir(parents=True)  # a folder of that name has no revisions
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="check the folder's files"):
        load_hub("facebook/xnli", config="en", split="test")
    assert asked[-1] is None


def test_offline_another_revision_than_the_pinned_is_refused_with_its_place(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    found = SimpleNamespace(hash="b" * 40)
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda **options: found)
    with pytest.raises(DataError, match=r"the cache holds revision b+ instead of .*xmit/data/revisions\.py pins"):
        load_hub("facebook/xnli", config="en", split="test")


def test_every_data_set_that_a_task_loads_is_pinned_or_says_why_not():
    root = Path(sources.__file__).parents[1]
    code = "".join(path.read_text(encoding="utf-8") for path in root.glob("tasks/**/*.py"))
    ids = set(re.findall(r'(?:dataset=|load_hub\(|^[A-Z]+ = |"hub": )"([\w-]+/[\w.-]+)"', code, flags=re.MULTILINE))
    ids |= {task.metadata.dataset for task in registered_tasks().values() if task.metadata.dataset.count("/") == 1}
    ids |= {"google/xtreme", "aps/super_glue", "facebook/xnli", "nyu-mll/glue", "rajpurkar/squad"}
    assert len(ids) > 20
    assert ids <= REVISIONS.keys() | UNPINNED.keys()
    assert not REVISIONS.keys() & UNPINNED.keys()
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit in REVISIONS.values())
    assert len(set(REVISIONS.values())) == len(REVISIONS)


def test_a_task_shows_the_pinned_revision_of_its_data():
    tasks = registered_tasks()
    for name, task in tasks.items():
        pin = REVISIONS.get(task.metadata.dataset)
        if pin:
            assert task.metadata.revision == task.data_version() == task.metadata.to_dict()["revision"] == pin, name
    assert tasks["udpos"].metadata.revision == "2.17"
    assert tasks["panx"].data_version() == ""
    assert replace(tasks["xnli"].metadata, revision="main").revision == "main"
