"""UD-POS, PAN-X and MasakhaNER 2: their files, their hub layouts, real data."""

from __future__ import annotations

import gzip

import datasets
import pytest
import yaml
from mini_hub_texts import NER

import xmit.data.treebanks
import xmit.tasks.target.masakhaner2
import xmit.tasks.target.panx
from xmit.__main__ import main
from xmit.data.readers import read_conll
from xmit.data.sources import load_hub
from xmit.data.treebanks import ADDED, TREEBANKS
from xmit.errors import DataError
from xmit.modules.encoders import load_tokenizer
from xmit.study.results import load_results
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.target.masakhaner2 import MasakhaNER2
from xmit.tasks.target.panx import PanX
from xmit.tasks.target.udpos import UDPOS
from xmit.tasks.token_classification import TokenClassificationTask, sentences


def conllu(path, words, sent_id="s1"):
    """One sentence of (form, tag) pairs, the first the root."""
    lines = [f"# sent_id = {sent_id}"]
    for i, (form, tag) in enumerate(words, 1):
        lines.append("\t".join([str(i), form, "_", tag, "_", "_", "0" if i == 1 else "1", "dep", "_", "_"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def parquet(path, rows, tags=None, names=None):
    """Rows as the hub keeps them, label names in the arrow metadata."""
    table = datasets.Dataset.from_dict(rows)
    if names:
        table = table.cast_column(tags, datasets.List(datasets.ClassLabel(names=names)))
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path)


# -- UD-POS ----------------------------------------------------------------------------------------------


def test_languages_of_the_two_versions():
    assert len(UDPOS().languages) == 38
    assert len(UDPOS(version="xtreme").languages) == 33
    assert len(PanX().languages) == 48
    assert len(PanX(version="xtreme").languages) == 40
    assert PanX(version="xtreme").benchmark_version == UDPOS(version="xtreme").benchmark_version == "xtreme"
    assert set(UDPOS().languages) - set(UDPOS(version="xtreme").languages) == set(ADDED)
    assert UDPOS(version="xtreme", languages=["lt"]).languages == ["lt"]
    assert len(MasakhaNER2().languages) == 20
    assert MasakhaNER2(languages=["hau", "sw"], source_language="swa").languages == ["ha", "sw"]


def test_treebanks_of_a_language_are_joined(tmp_path):
    conllu(tmp_path / "UD_German-GSD" / "de_gsd-ud-test.conllu", [("Ja", "PART"), (".", "PUNCT")])
    conllu(tmp_path / "UD_German-PUD" / "de_pud-ud-test.conllu.gz", [("Nein", "PART")])
    conllu(tmp_path / "UD_Swiss_German-UZH" / "gsw_uzh-ud-test.conllu", [("Nei", "X")])
    table = UDPOS(data_dir=str(tmp_path)).load_split("test", "de")
    assert table["id"] == ["gsd/s1", "pud/s1"]
    assert table["tags"] == [["PART", "PUNCT"], ["PART"]]
    assert UDPOS(data_dir=str(tmp_path), treebanks=["pud"]).load_split("test", "de")["id"] == ["pud/s1"]
    conllu(tmp_path / "copy" / "de_pud-ud-test.conllu", [("Nein", "PART")])
    with pytest.raises(DataError, match=r"de_pud-ud-test\.conllu.*: the same treebank is also in"):
        UDPOS(data_dir=str(tmp_path)).load_split("test", "de")


def test_of_two_releases_xtremes_is_taken(tmp_path):
    for release in ("2.5", "2.7"):
        for code in ("ta", "lt"):
            folder = tmp_path / f"ud-treebanks-v{release}"
            conllu(folder / "UD_X-Y" / f"{code}_ttb-ud-test.conllu", [("w", "X")], f"v{release}")
    task = UDPOS(data_dir=str(tmp_path))
    assert task.load_split("test", "ta")["id"] == ["ttb/v2.5"]
    assert task.load_split("test", "lt")["id"] == ["ttb/v2.7"]


def test_xtremes_own_files(tmp_path):
    (tmp_path / "udpos").mkdir()
    (tmp_path / "udpos" / "dev-en.tsv").write_text("Go\tVERB\n!\tPUNCT\n\nNo\tINTJ\n\n")
    (tmp_path / "udpos" / "test-en.tsv").write_text("Go\n!\n\nNo\n\n")
    task = UDPOS(data_dir=str(tmp_path))
    assert task.load_split("validation", "en")["tags"] == [["VERB", "PUNCT"], ["INTJ"]]
    assert task.load_split("test", "en")["tags"] == [None, None]
    with pytest.raises(DataError, match=r"task 'udpos': looked for udpos/train-en\.tsv or .*en_\*-ud-train\.conllu"):
        task.load_split("train", "en")


def test_udpos_from_the_hub(tmp_path, monkeypatch):
    names = ["NOUN", "PUNCT", "_", "VERB"]  # another order than ours, and one tag more
    rows = {"sent_id": ["a", "b"], "tokens": [["du", "x", "y"], ["z"]], "upos": [[2, 0, 3], [1]]}
    for config in ("fr_gsd", "fr_rhapsodie", "fr_pud", "fr_fqb", "fr_partut", "fr_sequoia"):
        for split in ("train", "test"):
            parquet(tmp_path / config / f"{split}.parquet", rows, "upos", names)

    def local(dataset, *, split, config, revision):
        assert (dataset, revision) == ("commul/universal_dependencies", "2.17")
        return load_hub(str(tmp_path), split=split, data_files=f"{config}/{split}.parquet")

    monkeypatch.setattr(xmit.data.treebanks, "load_hub", local)
    test = UDPOS().load_split("test", "fr")
    assert test["id"][:4] == ["fqb/a", "fqb/b", "gsd/a", "gsd/b"]
    assert len(test) == 12
    assert test["tags"][:2] == [["NOUN", "VERB"], ["PUNCT"]]
    assert test["tokens"][0] == ["x", "y"]
    assert "pud/a" not in UDPOS().load_split("train", "fr")["id"]
    with pytest.raises(DataError, match="no treebank of 'th' has split 'train'"):
        UDPOS().load_split("train", "th")


def test_every_language_has_a_treebank():
    assert len(TREEBANKS) == 38
    assert TREEBANKS["en"] == ("ewt", "gum", "lines", "partut", "PRONOUNS", "PUD")
    assert TREEBANKS["ro"] == ("nonstandard", "rrt", "simonero")


# -- PAN-X -----------------------------------------------------------------------------------------------


def test_panx_files(tmp_path):
    (tmp_path / "panx").mkdir()
    (tmp_path / "panx" / "dev-de.tsv").write_text("de:facto\tO\nBonn\tB-LOC\n\n")
    (tmp_path / "panx" / "test-de.tsv").write_text("in\nBonn\n\n")
    (tmp_path / "sw").mkdir()
    (tmp_path / "sw" / "test").write_text("sw::\tO\nsw:Dar\tB-LOC\nsw:es\tI-LOC\n\n")
    task = PanX(data_dir=str(tmp_path))
    assert task.load_split("validation", "de")["tokens"] == [["de:facto", "Bonn"]]
    assert task.load_split("test", "de")["tags"] == [None]
    assert task.load_split("test", "sw").to_dict() == {
        "id": ["0"],
        "tokens": [[":", "Dar", "es"]],
        "tags": [["O", "B-LOC", "I-LOC"]],
    }


def test_panx_from_the_hub(tmp_path, monkeypatch):
    rows = {"tokens": [["Dar", "es"]], "ner_tags": [[5, 6]], "langs": [["sw", "sw"]]}
    parquet(tmp_path / "google" / "PAN-X.sw" / "test.parquet", rows, "ner_tags", NER)
    parquet(tmp_path / "wikiann" / "lt" / "test.parquet", {**rows, "spans": [["LOC: Dar es"]]}, "ner_tags", NER)
    folders = {"google/xtreme": "google", "unimelb-nlp/wikiann": "wikiann"}

    asked = []

    def local(dataset, *, split, config, rows=None):
        asked.append(rows)
        return load_hub(str(tmp_path / folders[dataset]), split=split, data_files=f"{config}/{split}.parquet")

    monkeypatch.setattr(xmit.tasks.target.panx, "load_hub", local)
    for language in ("sw", "lt"):
        table = PanX().load_split("test", language)
        assert table.to_dict() == {"id": ["0"], "tokens": [["Dar", "es"]], "tags": [["B-LOC", "I-LOC"]]}
    assert asked == [1000, None]


# -- MasakhaNER 2 ----------------------------------------------------------------------------------------


def test_masakhaner_files(tmp_path):
    (tmp_path / "hau").mkdir()
    (tmp_path / "hau" / "dev.txt").write_text("Hukumar B-ORG\nwasan I-ORG\n\n2020 B-DATE\n\n")
    (tmp_path / "UNER_English-EWT").mkdir()
    (tmp_path / "UNER_English-EWT" / "en_ewt-ud-train.iob2").write_text("# sent_id = x\n1\tBonn\tB-LOC\t-\tme\n\n")
    task = MasakhaNER2(data_dir=str(tmp_path))
    assert task.load_split("validation", "ha")["tags"] == [["B-ORG", "I-ORG"], ["B-DATE"]]
    assert task.load_split("train", "en")["tokens"] == [["Bonn"]]


def test_masakhaner_from_the_hub(tmp_path, monkeypatch):
    names = [*NER, "B-DATE", "I-DATE"]
    rows = {"id": ["0"], "tokens": [["2020", "Bonn"]], "ner_tags": [[7, 5]]}
    parquet(tmp_path / "m" / "hau" / "test" / "0000.parquet", rows, "ner_tags", names)
    rows = {"idx": ["e-1"], "text": ["Bonn"], "tokens": [["Bonn"]], "ner_tags": [[5]], "annotator": [["me"]]}
    parquet(tmp_path / "u" / "en_ewt" / "train" / "0000.parquet", rows, "ner_tags", NER)
    folders = {"masakhane/masakhaner2": "m", "universalner/universal_ner": "u"}

    def local(dataset, **arguments):
        assert arguments["parquet_branch"]
        return load_hub(str(tmp_path / folders[dataset]), **arguments)

    monkeypatch.setattr(xmit.tasks.target.masakhaner2, "load_hub", local)
    assert MasakhaNER2().load_split("test", "ha")["tags"] == [["B-DATE", "B-LOC"]]
    assert MasakhaNER2().load_split("train", "en").to_dict() == {
        "id": ["e-1"],
        "tokens": [["Bonn"]],
        "tags": [["B-LOC"]],
    }


# -- through the command line, and on real data ----------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_fit_through_the_command_line(tiny_encoder, tmp_path):
    (tmp_path / "panx").mkdir()
    for code in ("en", "sw"):
        for part in ("train", "dev", "test"):
            rows = "".join(f"{'Dar ' * 30}".replace(" ", "\tB-LOC\n") + f"es\tI-LOC\n{i}\tO\n\n" for i in range(4))
            (tmp_path / "panx" / f"{part}-{code}.tsv").write_text(rows)
    config = {
        "model": {"encoder": tiny_encoder},
        "trainer": {"enable_progress_bar": False, "enable_model_summary": False, "max_steps": 2},
        "data": {
            "class_path": "xmit.tasks.target.panx.PanX",
            "init_args": {"languages": ["en", "sw"], "data_dir": str(tmp_path), "max_length": 16, "batch_size": 4},
        },
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(tmp_path / "c.yaml"), "--output", str(tmp_path / "r")]) == 0
    rows = load_results(tmp_path / "r")
    scored = rows[(rows.split == "test") & rows.is_main]
    assert dict(zip(scored.language, scored.n, strict=True)) == {"en": 4, "sw": 4}
    predictions = datasets.Dataset.from_parquet(str(tmp_path / "r" / "predictions.parquet")).to_pandas()
    assert {len(tags) for tags in predictions["prediction"]} == {32}


UD_TEST = {
    **{"af": 425, "ar": 1000, "zh": 1500, "en": 3077, "fi": 500, "de": 1500, "hi": 1000, "id": 1500, "kk": 500},
    **{"mr": 47, "ru": 1000, "es": 1000, "tl": 128, "te": 146, "tr": 1300, "wo": 470, "eu": 300, "ta": 120, "ur": 300},
}


@pytest.mark.realdata
def test_real_treebanks(real_data):
    task = UDPOS(data_dir=str(real_data), languages=list(UD_TEST))
    table = task.table("test")
    languages = table["language"][:]
    assert {code: languages.count(code) for code in UD_TEST} == UD_TEST
    pud = {}
    for code in ("ar", "zh", "en", "de", "hi", "id", "ru", "es", "tr"):
        ids = UDPOS(data_dir=str(real_data), treebanks=["pud"]).load_split("test", code)["id"][:]
        pud[code] = set(ids)
        assert len(ids) == 1000
    assert all(ids == pud["en"] for ids in pud.values())
    assert [len(task.table(split)) for split in ("train", "validation")] == [12544, 2001]


@pytest.mark.realdata
@pytest.mark.parametrize("max_length", [24, 128])
def test_no_real_word_is_lost(real_data, max_length):
    task = UDPOS(data_dir=str(real_data), languages=["ar", "zh", "ta"], max_length=max_length)
    task.bind(load_tokenizer("embedded:e5-small"))
    examples = task.examples("test")
    windows = examples.extra["windows"]
    words = sum(map(len, task.table("test")["tokens"]))
    assert windows.places.lengths.sum() == windows.sentences[-1] == words
    assert (examples.extra["labels"].flat != -100).sum() == words
    assert examples.lengths.max() < max_length


@pytest.mark.realdata
def test_real_masakhaner(real_data):
    expected = {"ha": 1633, "ig": 2181, "sw": 1883, "wo": 1312, "yo": 1964, "zu": 1670}
    table = MasakhaNER2(data_dir=str(real_data), languages=list(expected)).table("test")
    languages = table["language"][:]
    assert {code: languages.count(code) for code in expected} == expected


class Entities(TokenClassificationTask):
    """How a user's own CoNLL files become a task."""

    metadata = TaskMetadata(
        **{
            "name": "my_entities",
            "roles": ("target",),
            "languages": ("en", "zh", "pt", "ru", "tl"),
            "main_score": "f1",
        },
        **{"dataset": "-", "license": "-", "citation": "-", "description": "-"},
    )
    label_names = tuple(NER)
    folders = {"en": "English", "zh": "Chinese", "pt": "Portuguese", "ru": "Russian"}  # noqa: RUF012

    def load_split(self, split, language):
        path = f"{self.data_dir}/UNER_{self.folders[language]}-PUD/{language}_pud-ud-test.iob2"
        return sentences(read_conll(path, token=1, tag=2))


@pytest.mark.realdata
def test_local_conll_is_easy(real_data):
    task = Entities(data_dir=str(real_data / "uner"), languages=["en", "zh", "pt", "ru"])
    assert len(task.table("test")) == 4000
    for name, n in {"wnut17train": 3394, "emerging.dev": 1009, "emerging.test": 1287}.items():
        table = sentences(read_conll(real_data / "wnut17" / f"{name}.conll"))
        assert len(table) == n
        # the test file has both tags where annotators saw two, such as B-person,B-location: a task picks the first
        tags = {tag.split(",")[0].split("-", 1)[-1] for row in table["tags"] for tag in row}
        assert tags == {"O", "corporation", "creative-work", "group", "location", "person", "product"}
