"""The CLDR tasks: honest splits, parallel ids, no borrowed names. Counts are ranges: Babel versions differ."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import unicodedata
from collections import Counter

import pytest

from xmit.errors import ConfigError, DataError, LanguageNotFoundError, MissingDependencyError
from xmit.languages import LANGUAGES

core = pytest.importorskip("babel.core")

from xmit.tasks import CldrGeo, CldrRetrieval, CldrTerms, get_task  # noqa: E402
from xmit.tasks.embedded import cldr_data  # noqa: E402

CLASSIFIERS = (CldrGeo, CldrTerms)
# the first letters of the Unicode names of each script's letters
LETTERS = {
    "Arab": "ARABIC", "Beng": "BENGALI", "Cyrl": "CYRILLIC", "Deva": "DEVANAGARI", "Geor": "GEORGIAN",
    "Grek": "GREEK", "Gujr": "GUJARATI", "Guru": "GURMUKHI", "Hang": "HANGUL", "Hans": "CJK", "Hebr": "HEBREW",
    "Jpan": ("CJK", "KATAKANA", "HIRAGANA"), "Latn": "LATIN", "Mlym": "MALAYALAM", "Mymr": "MYANMAR",
    "Taml": "TAMIL", "Telu": "TELUGU", "Thai": "THAI",
}  # fmt: skip


@pytest.fixture(scope="module", params=CLASSIFIERS, ids=lambda task: task.metadata.name)
def task(request):
    return request.param()


def territory(id_):
    """The territory an id of cldr_geo belongs to, worked out without our code."""
    kind, code = id_.split(":")
    return core.get_global("zone_territories")[code] if kind == "city" else code[:2]


def by_language(table):
    groups = {}
    for row in table.to_list():
        groups.setdefault(row["language"], []).append(row)
    return groups


def test_registered_and_described():
    for cls in (*CLASSIFIERS, CldrRetrieval):
        metadata = cls.metadata
        assert get_task(metadata.name) is cls
        assert metadata.roles == ("target", "embedded")
        assert metadata.parallel
        assert metadata.license == "Unicode License v3"
        assert set(metadata.languages) <= set(LANGUAGES)
        assert len(metadata.languages) == (48 if cls is CldrRetrieval else 49)


def test_no_territory_is_in_two_splits():
    task = CldrGeo()
    territories = {split: {territory(i) for i in task.table(split)["id"]} for split in cldr_data.SPLITS}
    assert not territories["train"] & territories["test"]
    assert not territories["validation"] & (territories["train"] | territories["test"])
    assert any(i.startswith("currency:") for i in task.table("test")["id"])


def test_no_concept_is_in_two_splits(task):
    ids = {split: set(task.table(split)["id"]) for split in cldr_data.SPLITS}
    assert not ids["train"] & ids["test"]
    assert not ids["validation"] & (ids["train"] | ids["test"])


def test_no_english_name_is_in_two_splits(task):
    names = {split: {r["text"].casefold() for r in by_language(task.table(split))["en"]} for split in cldr_data.SPLITS}
    assert not names["train"] & names["test"]
    assert not names["validation"] & (names["train"] | names["test"])


def test_a_concept_is_in_the_same_split_in_both_tasks():
    geo, terms = CldrGeo(), CldrTerms()
    for split in cldr_data.SPLITS:
        others = {i for s in cldr_data.SPLITS if s != split for i in terms.table(s)["id"]}
        assert not set(geo.table(split)["id"]) & others


@pytest.mark.parametrize(
    ("cls", "train", "validation", "test"),
    [(CldrGeo, (330, 500), (50, 100), (120, 200)), (CldrTerms, (350, 600), (100, 200), (250, 400))],
)
def test_english_counts(cls, train, validation, test):
    task = cls()
    for split, (low, high) in {"train": train, "validation": validation, "test": test}.items():
        labels = Counter(row["label"] for row in by_language(task.table(split))["en"])
        assert low <= labels.total() <= high
        assert set(labels) == set(range(len(task.label_names)))
        assert max(labels.values()) < labels.total() * 0.4


def test_every_language_has_a_test_set(task):
    counts = Counter(task.table("test")["language"])
    assert len(counts) == 49
    assert sum(n >= 100 for n in counts.values()) >= 40
    assert min(counts.values()) >= 50  # Wolof had 80 before CLDR 46


def test_ids_and_labels_are_parallel(task):
    table = task.table("test")
    english = {row["id"]: row["label"] for row in by_language(table)["en"]}
    for row in table.to_list():
        assert english[row["id"]] == row["label"]


def test_labels_are_right():
    labels = {
        row["id"]: CldrGeo.label_names[row["label"]] for s in cldr_data.SPLITS for row in CldrGeo().table(s).to_list()
    }
    known = {"KE": "Africa", "BR": "America", "JP": "Asia", "DE": "Europe", "AU": "Pacific", "FJ": "Pacific"}
    assert {code: labels[f"territory:{code}"] for code in known} == known
    assert labels["currency:KES"] == "Africa"
    assert not {"territory:RU", "territory:IS", "currency:USD", "currency:EUR"} & set(labels)


def test_names_are_cldrs():
    names = {row["id"]: row["text"] for row in by_language(CldrGeo().table("test"))["sw"]}
    locale = core.Locale("sw")
    for id_, name in names.items():
        kind, code = id_.split(":")
        assert name == (locale.territories if kind == "territory" else locale.currencies)[code]


@pytest.mark.parametrize("cls", [*CLASSIFIERS, CldrRetrieval])
def test_no_names_fall_back_to_english(cls):
    task = cls()
    for language, part in by_language(task.table("test")).items():
        texts = [row["query" if cls is CldrRetrieval else "text"] for row in part]
        letters = LETTERS[LANGUAGES[language].script]
        written = [
            sum(unicodedata.name(c, "").startswith(letters) for c in text) > sum(c.isalpha() for c in text) / 2
            for text in texts
        ]
        assert sum(written) >= 0.95 * len(texts), language


def test_what_a_locale_lacks_is_left_out():
    # Babel's own table lets a locale inherit; Wolof's file names next to no units
    ids = {row["id"] for row in by_language(CldrTerms().table("test"))["wo"]}
    assert not any(i.startswith("unit:") for i in ids)
    assert {i.split(":")[0] for i in ids} == {"territory", "currency", "language", "time_zone"}


def test_units_are_words(task):
    for text in task.table("test")["text"]:
        assert text.strip()
        assert "duration-" not in text
        assert "↑" not in text


def test_no_name_of_two_kinds():
    for split in cldr_data.SPLITS:
        kinds = {}
        for row in CldrTerms().table(split).to_list():
            assert kinds.setdefault((row["language"], row["text"].casefold()), row["label"]) == row["label"]


def test_retrieval():
    task = CldrRetrieval()
    table = task.table("test")
    assert "en" not in table["language"]
    english = core.Locale("en").territories
    for part in by_language(table).values():
        assert 200 <= len(part) <= 300
        assert len({row["candidate"] for row in part}) == len(part)
    assert all(row["candidate"] == english[row["id"].removeprefix("territory:")] for row in table)
    with pytest.raises(ConfigError, match="no split 'train'"):
        task.load_split("train", "de")


def test_filipino_is_tagalog():
    task = CldrGeo(languages=["fil", "de"])
    assert task.languages == ["tl", "de"]
    assert set(task.table("test")["language"]) == {"tl", "de"}
    assert CldrGeo(languages=["tl"]).load_split("test", "tl").to_dict() == cldr_data.geography("fil", "test").to_dict()


def test_unknown_language_and_split():
    with pytest.raises(LanguageNotFoundError, match="cldr_geo"):
        CldrGeo(languages=["ht"])
    with pytest.raises(ConfigError, match="'en' is its source language and has no test data"):
        CldrRetrieval(languages=["en"])
    with pytest.raises(ConfigError, match="unknown split 'dev'"):
        CldrGeo().load_split("dev", "de")
    with pytest.raises(DataError, match="no locale 'xx'"):
        cldr_data.geography("xx", "test")


def test_missing_babel(monkeypatch):
    monkeypatch.setitem(sys.modules, "babel.localedata", None)
    cldr_data._own.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"pip install 'xmit\[demo\]'"):
        CldrGeo().load_split("test", "de")


def test_other_source_language():
    task = CldrGeo(source_language="de")
    assert set(task.table("train")["language"]) == {"de"}
    assert len(task.table("train")) > 150


def test_the_version_is_known():
    assert cldr_data.cldr_version().startswith("CLDR 4")


def digest():
    """A hash of all splits of all tasks."""
    rows = [cls().table(s).to_dict() for cls in CLASSIFIERS for s in cldr_data.SPLITS]
    rows.append(CldrRetrieval().table("test").to_dict())
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def test_a_second_process_builds_the_same():
    code = (
        "import runpy, babel\n"
        # a process in which Babel has merged its locales already must not see other data
        "[babel.Locale(l).territories for l in ('de', 'wo', 'zh')]\n"
        f"print(runpy.run_path({__file__!r})['digest']())"
    )
    env = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.split()[-1] == digest()


def test_babel_still_works_afterwards():
    cldr_data.geography("bn", "test")
    assert core.Locale("bn").number_symbols  # inherited data that a poisoned cache would lack
    assert core.Locale("bn").measurement_systems
