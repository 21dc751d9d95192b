"""Nearest neighbours, and BUCC and Tatoeba: what they load, and what they make of vectors."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from retrieval_tools import corpora, decoded, from_folder, hub, write

from xmit.errors import ConfigError, DataError
from xmit.modules.encoders import load_tokenizer
from xmit.tasks.margins import best_threshold, margins, mine
from xmit.tasks.target import BUCC2018, Tatoeba
from xmit.tasks.target import tatoeba as tatoeba_module


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("embedded:e5-small")


def unit(rows):
    return torch.nn.functional.normalize(torch.as_tensor(np.asarray(rows), dtype=torch.float32), dim=-1)


# -- neighbours ------------------------------------------------------------------------------------------------


def test_margins_by_hand():
    # cosines 1, 0 / 0.6, 0.8: means with k=2 are 0.5 and 0.7 forward, 0.8 and 0.4 backward
    queries, candidates = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.eye(2)
    scores, places = margins(queries, candidates, k=2)
    assert places.tolist() == [[0, 1], [1, 0]]
    assert scores.flatten().tolist() == pytest.approx([1 / 0.65, 0, 0.8 / 0.55, 0.6 / 0.75])


def test_mining_pairs_each_sentence_once_best_first(rng):
    for _ in range(20):
        source, target = unit(rng.normal(size=(6, 4))), unit(rng.normal(size=(5, 4)))
        pairs, scores = mine(source, target, k=3)
        assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
        assert (np.diff(scores) <= 0).all()
        assert (scores > 0).all()
        # the best margin of all is always taken
        table = np.full((6, 5), -np.inf)
        for queries, candidates, turn in ((source, target, 0), (target, source, 1)):
            margin, places = margins(queries, candidates, k=3)
            for i, row in enumerate(places.tolist()):
                for value, j in zip(margin[i].tolist(), row, strict=True):
                    table[(j, i) if turn else (i, j)] = value
        assert scores[0] == pytest.approx(table.max())


def test_threshold_by_hand():
    # of 3 gold pairs the best prefix is the first three: F1 = 2/3; it ends between 0.7 and 0.5
    assert best_threshold([0.5, 0.9, 0.7, 0.8], [False, True, True, False], 3) == pytest.approx(0.6)
    assert best_threshold([0.9, 0.8], [True, True], 2) == pytest.approx(0.8)  # XTREME's script: IndexError
    assert best_threshold([0.9, 0.8], [False, False], 2) == 0.0
    assert best_threshold([], [], 2) == 0.0


def test_threshold_is_the_best_of_all(rng):
    for _ in range(200):
        n = int(rng.integers(1, 12))
        scores, right = rng.permutation(n) / n, rng.random(n) < 0.5
        n_gold = int(right.sum() + rng.integers(0, 4)) or 1

        def f1(threshold, scores=scores, right=right, n_gold=n_gold):
            kept = right[scores >= threshold]
            return 2 * kept.sum() / (len(kept) + n_gold)

        assert f1(best_threshold(scores, right, n_gold)) == pytest.approx(max(f1(s) for s in [*scores, 0.0]))


# -- Tatoeba ---------------------------------------------------------------------------------------------------

GERMAN = ["Zwei.", "Eins.", "Drei."]
ENGLISH = ["Two.", "One.", "Three."]


@pytest.fixture
def laser(tmp_path):
    write(tmp_path / "v1" / "tatoeba.deu-eng.deu", "".join(f"{s}\n" for s in GERMAN))
    write(tmp_path / "v1" / "tatoeba.deu-eng.eng.gz", "".join(f"{s}\r\n" for s in ENGLISH))
    return tmp_path


def test_tatoeba_asks_in_english_and_answers_by_foreign_line(laser):
    task = Tatoeba(languages=["deu"], data_dir=str(laser))
    table = task.table("test")
    assert list(table["query"]) == sorted(ENGLISH)
    assert list(table["candidate"]) == GERMAN
    assert list(table["answer"]) == ["1", "2", "0"]
    angle = {"One.": 0.0, "Eins.": 0.1, "Two.": 1.5, "Zwei.": 1.4, "Three.": 1.6, "Drei.": 3.0}
    rows = task.predictions(decoded(task, lambda t: [np.cos(angle[t]), np.sin(angle[t])]), "test")
    assert rows["prediction"].tolist() == ["1", "0", "0"]  # One → Eins, Three → Zwei, Two → Zwei
    assert rows["target"].tolist() == ["1", "2", "0"]
    assert [(s.language, s.value, s.n) for s in task.score(rows)] == [("de", pytest.approx(2 / 3), 3)]


def test_tatoeba_backwards(laser):
    task = Tatoeba(languages=["de"], data_dir=str(laser), direction="backward")
    angle = {"One.": 0.0, "Eins.": 0.1, "Two.": 1.5, "Zwei.": 1.4, "Three.": 1.6, "Drei.": 3.0}
    rows = task.predictions(decoded(task, lambda t: [np.cos(angle[t]), np.sin(angle[t])]), "test")
    english = sorted(ENGLISH)
    assert [english[int(i)] for i in rows["prediction"]] == ["Two.", "One.", "Three."]
    assert rows["prediction"].tolist() == rows["target"].tolist()


def test_tatoeba_margin_finds_what_a_hub_hides(laser):
    # Zwei is near to all: by cosine everything finds it, by margin it answers Two alone
    vector = {
        "Zwei.": [1, 1, 1], "Eins.": [1, 0, 0], "Drei.": [0, 0, 1],
        "Two.": [0.5, 1, 0.5], "One.": [1, 0.5, 0.5], "Three.": [0.5, 0.5, 1],
    }  # fmt: skip
    accuracy = {}
    for scoring in ("cosine", "margin"):
        task = Tatoeba(languages=["de"], data_dir=str(laser), scoring=scoring, neighbours=3)
        rows = task.predictions(decoded(task, vector.__getitem__), "test")
        accuracy[scoring] = task.score(rows)[0].value
    assert accuracy == {"cosine": pytest.approx(1 / 3), "margin": 1.0}


def test_equal_candidates_are_apart_as_in_xtreme(tmp_path):
    write(tmp_path / "tatoeba.deu-eng.deu", "Ja.\nJa.\n")
    write(tmp_path / "tatoeba.deu-eng.eng", "Yes.\nYeah.\n")
    task = Tatoeba(languages=["de"], data_dir=str(tmp_path))
    rows = task.predictions(decoded(task, lambda t: [1.0, 0.0]), "test")
    assert rows["prediction"].tolist() == ["0", "0"]
    assert rows["target"].tolist() == ["1", "0"]  # Yeah. sorts before Yes.


def test_tatoeba_from_xtremes_download_is_predicted_only(tmp_path):
    write(tmp_path / "tatoeba" / "de-en.de", "".join(f"{s}\n" for s in GERMAN))
    write(tmp_path / "tatoeba" / "de-en.en", "".join(f"{s}\n" for s in sorted(ENGLISH)))
    task = Tatoeba(languages=["de"], data_dir=str(tmp_path))
    rows = task.predictions(decoded(task, lambda t: [1.0, float("Eins" in t)]), "test")
    assert rows["prediction"].tolist() == ["0", "0", "0"]
    assert rows["target"].isna().all()
    (score,) = task.score(rows)
    assert np.isnan(score.value)
    assert score.reason


def test_tatoeba_from_the_hub(tmp_path, monkeypatch, laser):
    monkeypatch.setattr(tatoeba_module, "ROWS", {"de": 3, "ro": 2})
    hub(tmp_path / "x", "tatoeba.deu", "validation", {"source_sentence": GERMAN, "target_sentence": ENGLISH})
    hub(tmp_path / "m", "ron-eng", "test", {"sentence1": ["unu", "doi"], "sentence2": ["one", "two"]})
    from_folder(monkeypatch, Tatoeba, tmp_path / "x")
    monkeypatch.setattr(tatoeba_module, "MTEB", str(tmp_path / "m"))
    task = Tatoeba(languages=["de", "ro"])
    here = task.table("test").to_pandas()
    local = Tatoeba(languages=["de"], data_dir=str(laser)).table("test").to_pandas()
    pd.testing.assert_frame_equal(here[here.language == "de"], local)
    assert here[here.language == "ro"]["candidate"].tolist() == ["unu", "doi"]
    monkeypatch.setattr(tatoeba_module, "ROWS", {})
    with pytest.raises(DataError, match="3 rows instead of 1000"):
        Tatoeba(languages=["de"]).table("test")


def test_tatoeba_languages():
    assert len(Tatoeba(version="xtreme").languages) == 36
    assert len(Tatoeba().languages) == 41
    assert Tatoeba(languages=["cmn", "pes"]).languages == ["zh", "fa"]
    with pytest.raises(ConfigError, match="no split 'train'"):
        Tatoeba().load_split("train", "de")


def test_tatoeba_names_files_and_lines(tmp_path, laser):
    with pytest.raises(DataError, match=r"tatoeba\.fra-eng\.fra .*google/xtreme"):
        Tatoeba(languages=["fr"], data_dir=str(laser)).table("test")
    write(tmp_path / "v1" / "tatoeba.deu-eng.deu", "Zwei.\nEins.\n")
    with pytest.raises(DataError, match=r"tatoeba\.deu-eng\.deu:2: .*has 3"):
        Tatoeba(languages=["de"], data_dir=str(laser)).table("test")


@pytest.mark.realdata
def test_tatoeba_of_laser(real_data):
    folder = real_data / "tatoeba"
    kept_out = {"jv", "kk", "sw", "te", "tl"}
    codes = [code for code in Tatoeba().languages if code not in kept_out]
    table = Tatoeba(languages=codes, data_dir=str(folder)).table("test")
    counts = {code: tatoeba_module.ROWS.get(code, 1000) for code in codes}
    assert table.to_pandas()["language"].value_counts().to_dict() == counts
    assert None not in table["answer"]
    assert list(table["answer"][:2]) == ["308", "441"]  # by sort and grep -n in tatoeba.afr-eng.eng
    with pytest.raises(DataError, match="looked for"):
        Tatoeba(languages=["sw"], data_dir=str(folder)).table("test")


# -- BUCC ------------------------------------------------------------------------------------------------------

ANGLES = {"a": 0.0, "A": 0.02, "b": 0.8, "B": 0.84, "c": 1.6, "C": 1.7, "d": 2.4, "D": 2.6, "x": 3.4, "Y": 4.4}


def bucc(folder, **kwargs):
    task = BUCC2018(languages=["de"], data_dir=str(folder), neighbours=1, **kwargs)
    rows = task.predictions(decoded(task, lambda t: [np.cos(ANGLES[t]), np.sin(ANGLES[t])]), "test")
    return task, rows, {s.metric: s for s in task.score(rows)}


def test_bucc_by_hand(tmp_path):
    # with one neighbour, partners that choose each other have margin 1, all of them; x and Y have no partner
    corpora(tmp_path, "dev", "abx", "ABY", [(0, 0), (1, 1)])
    corpora(tmp_path, "test", "abcx", "ABCD", [(0, 0), (1, 1), (2, 3)])
    task, rows, scores = bucc(tmp_path)
    assert task.thresholds["de"] == pytest.approx(1.0, abs=1e-6)
    found = {(i, p) for i, p in zip(rows["id"], rows["prediction"], strict=True) if p is not None}
    assert {("de-0", "en-0"), ("de-1", "en-1"), ("de-2", "en-2")} <= found
    right = len(found & {("de-0", "en-0"), ("de-1", "en-1"), ("de-2", "en-3")})
    assert scores["f1"].value == pytest.approx(2 * right / (len(found) + 3))
    assert scores["f1"].n == 3
    # both the pair that was found and the one that was not are there
    assert rows[rows["id"] == "de-2"][["prediction", "target"]].to_numpy().tolist() == [["en-2", "en-3"]]


def published(source, target, gold, threshold=None):
    """The rules in plain words, one pair at a time: pairs above the threshold, and the threshold."""

    def cosine(a, b):
        return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))

    def mean(a, others):
        return float(np.mean(sorted((cosine(a, b) for b in others), reverse=True)[:4]))

    sides = [list(dict.fromkeys(text for _, text in side)) for side in (source, target)]
    vectors = [[VECTORS[text] for text in side] for side in sides]
    proposals = []
    for first, second, turn in ((0, 1, False), (1, 0, True)):
        for i, a in enumerate(vectors[first]):
            near = sorted(range(len(vectors[second])), key=lambda j: -cosine(a, vectors[second][j]))[:4]
            margin = {
                j: cosine(a, vectors[second][j])
                / ((mean(a, vectors[second]) + mean(vectors[second][j], vectors[first])) / 2)
                for j in near
            }
            best = max(near, key=margin.__getitem__)
            proposals.append((margin[best], (best, i) if turn else (i, best)))
    used, scored = (set(), set()), {}
    for margin, (i, j) in sorted(proposals, key=lambda p: -p[0]):
        if i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
            ids = [
                [key for key, text in side if text == mine[k]]
                for side, mine, k in zip((source, target), sides, (i, j), strict=True)
            ]
            if margin > 0 and len(ids[0]) == len(ids[1]) == 1:
                scored[ids[0][0], ids[1][0]] = margin
    if threshold is None:
        order, best, threshold = sorted(scored.values(), reverse=True), 0.0, 0.0
        for n in range(1, len(order) + 1):
            right = len({pair for pair in scored if scored[pair] >= order[n - 1]} & gold)
            if 2 * right / (n + len(gold)) > best + 1e-12:
                best, threshold = 2 * right / (n + len(gold)), (order[n - 1] + order[min(n, len(order) - 1)]) / 2
    return {pair for pair, margin in scored.items() if margin >= threshold}, threshold


VECTORS: dict[str, np.ndarray] = {}


def test_bucc_against_the_published_rules(tmp_path, tokenizer, rng):
    for trial in range(40):
        folder, data = tmp_path / str(trial), {}
        for part in ("dev", "test"):
            n, m = rng.integers(5, 15, 2).tolist()
            base = rng.normal(size=(n, 5)) + 0.5
            source = [(f"de-{i}", f"{trial}{part}s{rng.integers(2 * n)}") for i in range(n)]
            target = [(f"en-{j}", f"{trial}{part}t{rng.integers(2 * m)}") for j in range(m)]
            VECTORS.update({text: base[i] for i, (_, text) in enumerate(source)})
            VECTORS.update({text: base[j % n] + rng.normal(size=5) * 0.2 for j, (_, text) in enumerate(target)})
            gold = {(f"de-{j % n}", f"en-{j}") for j in range(m) if rng.random() < 0.7} or {("de-0", "en-0")}
            data[part] = source, target, gold
            corpora(folder, part, [s for _, s in source], [s for _, s in target], None)
            write(folder / f"de-en.{part}.gold", "".join(f"{a}\t{b}\n" for a, b in sorted(gold)))
        task = BUCC2018(languages=["de"], data_dir=str(folder))
        task.bind(tokenizer)
        vectors = {}
        for (_, dev), sides in task.examples("test").extra["corpora"].items():
            for side, rows in zip(sides, data["dev" if dev else "test"], strict=False):
                texts = dict.fromkeys(text for _, text in rows)
                vectors |= {item: VECTORS[text] for item, text in zip(side.items, texts, strict=True)}
        stacked = torch.as_tensor(np.stack([vectors[i] for i in range(len(vectors))]), dtype=torch.float32)
        rows = task.predictions({"item": torch.arange(len(stacked)), "vector": stacked}, "test")
        threshold = published(*data["dev"])[1]
        expected, _ = published(*data["test"], threshold)
        assert task.thresholds["de"] == pytest.approx(threshold, abs=1e-5)
        found = {(i, p) for i, p in zip(rows["id"], rows["prediction"], strict=True) if p is not None}
        assert found == expected
        assert {(i, t) for i, t in zip(rows["id"], rows["target"], strict=True) if t is not None} == data["test"][2]
        right = len(expected & data["test"][2])
        f1 = next(s.value for s in task.score(rows) if s.metric == "f1")
        assert f1 == pytest.approx(2 * right / (len(expected) + len(data["test"][2])))


def test_bucc_repeated_sentences_are_mined_and_dropped(tmp_path):
    # "b" occurs twice, so that its id is not known; it still takes B, which nothing else may have then
    corpora(tmp_path, "dev", "abb", "AB", [(0, 0)])
    corpora(tmp_path, "test", "abbc", "AB", [(0, 0), (1, 1)])
    task, rows, scores = bucc(tmp_path)
    pairs = [(i, p) for i, p in zip(rows["id"], rows["prediction"], strict=True) if p is not None]
    assert pairs == [("de-0", "en-0")]
    assert scores["precision"].value == 1.0
    assert scores["recall"].value == 0.5
    assert task.examples("test").extra["corpora"]["de", False][0].ids == ["de-0", None, "de-3"]


def test_bucc_threshold_comes_from_dev_alone(tmp_path):
    corpora(tmp_path, "dev", "ab", "AB", [(0, 0)])  # only the first pair is gold
    corpora(tmp_path, "test", "abcd", "ABCD", [(0, 0), (1, 1), (2, 2), (3, 3)])
    dev = bucc(tmp_path)
    test = bucc(tmp_path, threshold_on="test")
    own = bucc(tmp_path, test_split="validation")
    assert test[2]["f1"].value == 1.0
    assert test[0].thresholds["de"] <= 1.0
    assert dev[0].thresholds["de"] == own[0].thresholds["de"]
    assert set(own[1]["id"]) <= {"de-0", "de-1"}


def test_bucc_without_the_tests_gold_is_predicted_only(tmp_path):
    corpora(tmp_path, "dev", "ab", "AB", [(0, 0), (1, 1)])
    corpora(tmp_path, "test", "abc", "ABC", None)
    _, rows, scores = bucc(tmp_path)
    assert rows["target"].isna().all()
    assert len(rows) == 3
    assert np.isnan(scores["f1"].value)
    with pytest.raises(DataError, match="gold pairs that the threshold is found on are missing"):
        bucc(tmp_path, threshold_on="test")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("de-en.test.gold", "de-9\ten-0\n", "the gold pair of 'de-9' has no sentence"),
        ("de-en.test.gold", "de-0\ten-9\n", "the gold pair of 'de-0' is with 'en-9', which is not there"),
        ("de-en.test.de", "de-0\ta\nde-0\tb\n", r"de-en\.test\.de:2: the id 'de-0' occurs twice"),
        ("de-en.test.de", "de-0\ta\nde-1\n", r"de-en\.test\.de:2: "),
    ],
)
def test_bucc_damaged(tmp_path, name, text, message):
    corpora(tmp_path, "dev", "ab", "AB", [(0, 0)])
    corpora(tmp_path, "test", "ab", "AB", [(0, 0)])
    write(tmp_path / name, text)
    with pytest.raises(DataError, match=message):
        BUCC2018(languages=["de"], data_dir=str(tmp_path)).setup("test")


def test_bucc_from_the_hub(tmp_path, monkeypatch, tokenizer):
    row = {"sentence1": [["a", "b"]], "sentence2": [["B", "A"]], "gold": [[[1, 2], [2, 1]]]}
    hub(tmp_path, "de-en", "test", row)
    from_folder(monkeypatch, BUCC2018, tmp_path)
    task = BUCC2018(languages=["de"], threshold_on="test", neighbours=1)
    rows = task.predictions(decoded(task, lambda t: [np.cos(ANGLES[t]), np.sin(ANGLES[t])]), "test")
    assert rows[["id", "prediction", "target"]].to_numpy().tolist() == [
        ["de-000000001", "en-000000002", "en-000000002"],
        ["de-000000002", "en-000000001", "en-000000001"],
    ]
    task = BUCC2018(languages=["de"])
    task.bind(tokenizer)
    with pytest.raises(ConfigError, match="threshold_on: test"):
        task.examples("test")


def test_directions_mirror_each_other(tmp_path, rng):
    """The accuracy backwards is the accuracy forwards of the swapped files."""
    texts = {code: [f"{code}{a}{b}" for a, b in permutations("abcd", 2)] for code in ("x", "y")}
    base = rng.normal(size=(12, 3))
    vectors = {t: v + 0.5 * rng.normal(size=3) for side in texts.values() for t, v in zip(side, base, strict=True)}
    values = []
    for folder, first, second, direction in (("a", "x", "y", "forward"), ("b", "y", "x", "backward")):
        write(tmp_path / folder / "tatoeba.deu-eng.deu", "".join(f"{s}\n" for s in texts[first]))
        write(tmp_path / folder / "tatoeba.deu-eng.eng", "".join(f"{s}\n" for s in texts[second]))
        task = Tatoeba(languages=["de"], data_dir=str(tmp_path / folder), direction=direction)
        rows = task.predictions(decoded(task, vectors.__getitem__), "test")
        values.append(task.score(rows)[0].value)
    assert 0 < values[0] == values[1] < 1
