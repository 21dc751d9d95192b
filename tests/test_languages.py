"""The language table, against Babel's copy of CLDR where that says the same thing."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from xmit.errors import LanguageNotFoundError
from xmit.languages import LANGUAGES, get_language

core = pytest.importorskip("babel.core")

# the classes as the reference lists them (shared/reference/mission-facts.md §3)
JOSHI = {
    5: "ar de en es fr ja zh",
    4: "eu fa fi hu hi it pt nl ko ru pl tr vi",
    3: "af bg uk bn ur el et he id ms tl ka kk lt ro ta th",
    2: "mr pa sw yo wo ht",
    1: "az gu jv ml te my qu",
}
XTREME_R = {code for codes in JOSHI.values() for code in codes.split()}


def test_the_table_holds_xtreme_r():
    assert len(XTREME_R) == 50
    assert set(LANGUAGES) >= XTREME_R
    assert all(code == language.code for code, language in LANGUAGES.items())
    assert len({language.iso639_3 for language in LANGUAGES.values()}) == len(LANGUAGES)


def test_three_letter_codes_are_those_of_cldr():
    aliases = core.get_global("language_aliases")
    for code in XTREME_R:
        assert aliases[LANGUAGES[code].iso639_3] == {"tl": "fil"}.get(code, code)


def test_scripts_are_the_likely_ones():
    likely = core.get_global("likely_subtags")
    for code in XTREME_R - {"ko"}:  # Hang in the source, Kore in CLDR: its note says so
        assert likely[code].split("_")[1] == LANGUAGES[code].script
    assert "Kore" in LANGUAGES["ko"].notes


def test_names_are_cldrs():
    names = core.Locale("en").languages
    for code in XTREME_R - {"bn"}:
        assert names[code] == LANGUAGES[code].name


def test_resource_classes():
    for resource_class, codes in JOSHI.items():
        assert {LANGUAGES[code].resource_class for code in codes.split()} == {resource_class}
    assert all(language.resource_class in (None, *range(6)) for language in LANGUAGES.values())
    assert "class 0" in LANGUAGES["ht"].notes


def test_pretraining():
    assert {code for code in XTREME_R if not LANGUAGES[code].in_xlmr} == {"ht", "qu", "wo", "yo"}
    for language in LANGUAGES.values():
        assert language.cc100_gib is None or (language.in_xlmr and language.cc100_gib > 0)


def test_lookup():
    assert get_language("fil") is get_language("tl") is get_language("tgl")
    assert get_language("deu") is get_language("de")
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_language("de").name = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        LANGUAGES["xx"] = get_language("de")  # type: ignore[index]


def test_unknown_language_is_answered_with_the_nearest():
    with pytest.raises(LanguageNotFoundError, match=r"unknown language 'enn'.*Did you mean .*en"):
        get_language("enn")
    with pytest.raises(LanguageNotFoundError, match=r"'Welsh'"):
        get_language("Welsh")
    with pytest.raises(LanguageNotFoundError, match=r"Known: de\. German is a name, not a code"):
        get_language("German")


def test_import_is_light():
    heavy = "import sys, xmit.languages; print(*{'torch', 'babel', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
