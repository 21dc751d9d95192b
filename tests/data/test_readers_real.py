"""The readers on real published data: everything parses, with the counts of SOURCES.md."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from xmit.data.readers import (
    read_conll,
    read_conllu,
    read_csv,
    read_json,
    read_jsonl,
    read_parallel,
    read_squad,
    read_tsv,
)

NLI = ("premise", "hypothesis", "label")
MLQA = {"de-de": 512, "en-de": 512, "en-en": 1148, "en-zh": 504, "es-es": 500, "zh-zh": 504}
TYDIQA = {
    "english_train": 3696,
    "english_dev": 440,
    "bengali_dev": 113,
    "finnish_dev": 782,
    "indonesian_dev": 565,
    "korean_dev": 276,
}
UD = {
    **{"af_afribooms": 425, "mr_ufal": 47, "tl_trg": 128, "te_mtg": 146, "wo_wtb": 470},
    **dict.fromkeys(("kk_ktb", "zh_gsd", "fi_tdt", "de_gsd", "id_gsd"), 500),
    **{"eu_bdt": 300, "ta_ttb": 120, "tr_imst": 300, "ur_udtb": 300},
}


def count(table):
    lengths = {len(column) for column in table.values()}
    assert len(lengths) == 1
    return lengths.pop()


def each(real_data, pattern, read, n):
    """Read every file of a pattern and check its rows; return how many files there were."""
    paths = sorted(real_data.glob(pattern))
    for path in paths:
        expected = n(path) if callable(n) else n
        assert count(read(path)) == expected, path
    return len(paths)


@pytest.mark.realdata
def test_the_tables_of_real_data(real_data):
    def nli(path):
        table = read_tsv(path, NLI)
        assert set(table["label"]) <= {"entailment", "neutral", "contradiction"}
        return table

    def paws(path):
        table = read_tsv(path, ("first", "second", "label"))
        assert set(table["label"]) == {"0", "1"}
        missing = {"de": 68, "es": 38, "zh": 16, "fr": 8, "en": 0}[path.stem[-2:]]
        assert sum("NS" in pair for pair in zip(table["first"], table["second"], strict=True)) == missing
        return table

    def header(*names, reader=read_tsv):
        return lambda path: reader(path, names, **({"header": True} if reader is read_tsv else {}))

    assert each(real_data, "nc/xnli/dev-*.tsv", nli, 2490) == 9
    assert each(real_data, "pawsx/dev-*.tsv", paws, 2000) == 5
    short = {"cni": 658, "nah": 585, "oto": 222}
    read = header("id", "language", *NLI)
    assert each(real_data, "americasnli/dev/*.tsv", read, lambda p: short.get(p.stem, 743)) == 10
    read = header("index_id", "category", "text")
    assert each(real_data, "sib200/*/*.tsv", read, lambda p: {"train": 701, "dev": 99, "test": 204}[p.stem]) > 190
    read = header("id", "text", "label", reader=read_csv)
    sizes = {"train": 500, "valid": 100, "test": 400}
    assert each(real_data, "nusax/sentiment/*/*.csv", read, lambda p: sizes[p.stem]) == 27
    assert each(real_data, "nli/mnli/dev.csv", header(*NLI, reader=read_csv), 19647) == 1
    assert each(real_data, "nli/snli/dev.csv", header(*NLI, reader=read_csv), 9831) == 1
    read = header("sentence1", "sentence2", "gold_label")
    assert each(real_data, "nli/cad/*.tsv", read, lambda p: {"train": 8330, "dev": 1000, "test": 2000}[p.stem]) == 3
    assert each(real_data, "nli/med/MED.tsv", read, 5382) == 1
    assert each(real_data, "nc/bmlama53/*.tsv", header("Prompt", "Ans", "Candidate Ans", "Subject"), 3070) == 9


@pytest.mark.realdata
def test_the_json_of_real_data(real_data):
    def keys(*names):
        return lambda path: read_jsonl(path, names)

    assert each(real_data, "xquad/*.json", read_squad, 1190) == 10
    name = re.compile(r"dev-context-(..)-question-(..)")
    assert each(real_data, "mlqa/**/*.json", read_squad, lambda p: MLQA["-".join(name.match(p.stem).groups())]) == 6
    assert each(real_data, "tydiqa_goldp/*/*.json", read_squad, lambda p: TYDIQA[p.stem.replace("_tydiqa", "")]) == 6
    for task, files in (("mlqa", 7), ("xquad", 11), ("tydiqa", 9)):
        paths = [*(real_data / "xtreme_mock_test_data" / "labels" / task).iterdir()]
        assert len([read_squad(path) for path in paths]) == files
    read = keys("premise", "choice1", "choice2", "question", "idx", "label")
    sizes = {"train": 400, "val": 100, "test": 500}
    assert each(real_data, "xcopa/data*/*/*.jsonl", read, lambda p: sizes[p.name.split(".")[0]]) == 35
    read = keys("gold_label", "sentence2", "pairID")
    assert each(real_data, "iglue/XVNLI/annotations/*/test.jsonl", read, 1164) == 3
    read = keys("caption", "left_img", "right_img", "label")
    assert each(real_data, "iglue/marvl/**/*.jsonl", read, lambda p: {"id": 1128, "zh": 1012}[p.stem[-2:]]) == 2
    assert (
        each(real_data, "nlvr/*/*.json", keys("sentence", "label", "identifier"), lambda p: 989 + (p.stem == "test"))
        == 2
    )
    assert each(real_data, "hellaswag/*.jsonl.gz", keys("ind", "ctx", "endings", "label"), 8000) == 1
    assert each(real_data, "emoji/annotations.jsonl.gz", keys("emoji", "group", "names", "keywords"), 1779) == 1
    tables = [read_jsonl(path, ["id", "context", "answer_pivot"]) for path in real_data.glob("afriqa/**/*.json")]
    assert len(tables) == 16
    assert sum(context is None for table in tables for context in table["context"]) == 124  # as SOURCES.md says
    assert all(isinstance(read_json(path), dict) for path in real_data.glob("xgqa/few_shot/*/*.json"))


@pytest.mark.realdata
def test_the_sentences_of_real_data(real_data):
    def size(path):
        if path.stem.startswith("en_ewt"):
            return {"train": 12544, "dev": 2001, "test": 2077}[path.name.split("-")[-1].split(".")[0]]
        return UD.get(path.name.split("-")[0], 1000)

    def tagged_conll(path):
        table = read_conll(path, token=1, tag=2) if path.suffix == ".iob2" else read_conll(path)
        assert all(len(t) == len(g) > 0 for t, g in zip(table["tokens"], table["tags"], strict=True))
        assert Counter(tag[0] for tags in table["tags"] for tag in tags).keys() <= set("OBI") or "pos" in str(path)
        return table

    def treebank(path):
        table = read_conllu(path)
        assert all(len(t) == len(g) > 0 for t, g in zip(table["tokens"], table["upos"], strict=True))
        return table

    assert each(real_data, "ud/*/*.conllu*", treebank, size) == 22
    assert each(real_data, "nc/ud/*/*.conllu", treebank, size) == 4
    sizes = {"wnut17train": 3394, "emerging.dev": 1009, "emerging.test": 1287}
    assert each(real_data, "wnut17/*.conll", tagged_conll, lambda p: sizes[p.stem]) == 3
    uner = {"en_ewt-ud-dev": 2001, "en_ewt-ud-test": 2077, "tl_trg-ud-test": 128}
    assert each(real_data, "uner/*/*.iob2", tagged_conll, lambda p: uner.get(p.stem, 1000)) == 7
    masakha = {"hau": 1633, "ibo": 2181, "swa": 1883, "wol": 1312, "yor": 1964, "zul": 1670}
    assert each(real_data, "nc/masakhaner2/*/test.txt", tagged_conll, lambda p: masakha[p.parent.name]) == 6
    masakha = {"hau": 601, "swa": 553, "wol": 625, "yor": 713}
    assert each(real_data, "nc/masakhapos/*/test.txt", tagged_conll, lambda p: masakha[p.parent.name]) == 4


@pytest.mark.realdata
def test_the_fused_forms_of_real_treebanks_are_those_of_the_official_converter(real_data):
    # counted once on the output of conllu_to_conll.py and utils_preprocess.py, which agreed with ours in every sentence
    table = read_conllu(real_data / "ud" / "UD_Arabic-PUD" / "ar_pud-ud-test.conllu.gz")
    counts = Counter(tag for tags in table["upos"] for tag in tags)
    assert counts.total() == 20747
    assert counts.most_common(4) == [("NOUN", 5578), ("ADP", 3576), ("PUNCT", 2226), ("ADJ", 2026)]


@pytest.mark.realdata
def test_the_pairs_of_real_data(real_data):
    folder = real_data / "tatoeba" / "v1"
    languages = sorted({path.name.split(".")[1].split("-")[0] for path in folder.glob("tatoeba.*")})
    assert len(languages) == 90
    for language in languages:
        pair = f"tatoeba.{language}-eng"
        assert 100 <= count(read_parallel(folder / f"{pair}.{language}", folder / f"{pair}.eng")) <= 1000
    assert count(read_parallel(folder / "tatoeba.deu-eng.deu", folder / "tatoeba.deu-eng.eng")) == 1000
