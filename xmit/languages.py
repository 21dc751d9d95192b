"""The languages: code, name, script, family, resource class, and what XLM-R saw of each.

Sources, by column (conflicts stand in a language's ``notes``):

- ``code``, ``iso639_3``, ``script``: ISO 639-1, 639-3 (macrolanguages where 639-1 names one) and 15924; scripts as
  in the resource class's source.
- ``name``: as in CLDR, but Bengali for its Bangla.
- ``family``: from memory, for XTREME names families only collectively; the branch follows a colon.
- ``resource_class``: Joshi et al. (2020), "The State and Fate of Linguistic Diversity and Inclusion in the NLP
  World", 0 (left behind) to 5 (the winners), by way of MaLA-LM/LangResourceAtlas, ``Joshi-et-al-6-classes.json``,
  whose names of languages were mapped to codes by language models.
- ``in_xlmr``: the list in fairseq's ``examples/xlmr/README.md``.
- ``cc100_gib``: GiB of text in the corpus that XLM-R was trained on, Table 6 of Conneau et al. (2020), as copied
  in mayhewsw/multilingual-data-stats, ``cc-100/cc-100.csv``. The files called CC-100 today are a later rebuild of
  that corpus and differ. What the table gives for romanised text (bn, hi, ta, te, ur) is not counted.

The embedded encoder's vocabulary and first training come from XLM-R too, so the last two columns concern it as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from xmit.errors import LanguageNotFoundError


@dataclass(frozen=True)
class Language:
    """A language, or a language in one script where a task has two.

    Args:
        code: ISO 639-1, else 639-3, with a script only where a task has two (``ace-Arab``).
        iso639_3: The three-letter code.
        name: The English name.
        script: ISO 15924.
        family: The family, with its branch after a colon where it is large.
        resource_class: 0 to 5 after Joshi et al. (2020), or None where they do not list the language.
        in_xlmr: Whether XLM-R was trained on it.
        cc100_gib: GiB of its text that XLM-R was trained on, or None where there was none or it is not known.
        notes: Where sources disagree.
    """

    code: str
    iso639_3: str
    name: str
    script: str
    family: str
    resource_class: int | None
    in_xlmr: bool
    cc100_gib: float | None = None
    notes: str = ""


_KOREAN = "Hang in the resource class's source, Kore (Hangul with Han) in CLDR"
_CHINESE = "cc100_gib is simplified Chinese; traditional has another 16.6"
_BURMESE = "cc100_gib adds the table's two lines, 1.6 and 0.4, one of which is Zawgyi-encoded"
_HAITIAN = "class 2 as 'haitian', class 0 as 'haitian creole' in the same file"
_FILIPINO = "Filipino (fil) is its standard form; XLM-R's corpus and CLDR call it so"

_TABLE = (
    Language("af", "afr", "Afrikaans", "Latn", "Indo-European: Germanic", 3, True, 1.3),
    Language("ar", "ara", "Arabic", "Arab", "Afro-Asiatic", 5, True, 28.0),
    Language("az", "aze", "Azerbaijani", "Latn", "Turkic", 1, True, 6.5),
    Language("bg", "bul", "Bulgarian", "Cyrl", "Indo-European: Slavic", 3, True, 57.5),
    Language("bn", "ben", "Bengali", "Beng", "Indo-European: Indo-Aryan", 3, True, 8.4),
    Language("de", "deu", "German", "Latn", "Indo-European: Germanic", 5, True, 66.6),
    Language("el", "ell", "Greek", "Grek", "Indo-European: Greek", 3, True, 46.9),
    Language("en", "eng", "English", "Latn", "Indo-European: Germanic", 5, True, 300.8),
    Language("es", "spa", "Spanish", "Latn", "Indo-European: Romance", 5, True, 53.3),
    Language("et", "est", "Estonian", "Latn", "Uralic", 3, True, 6.1),
    Language("eu", "eus", "Basque", "Latn", "isolate", 4, True, 2.0),
    Language("fa", "fas", "Persian", "Arab", "Indo-European: Iranian", 4, True, 111.6),
    Language("fi", "fin", "Finnish", "Latn", "Uralic", 4, True, 54.3),
    Language("fr", "fra", "French", "Latn", "Indo-European: Romance", 5, True, 56.8),
    Language("gu", "guj", "Gujarati", "Gujr", "Indo-European: Indo-Aryan", 1, True, 1.9),
    Language("he", "heb", "Hebrew", "Hebr", "Afro-Asiatic", 3, True, 31.6),
    Language("hi", "hin", "Hindi", "Deva", "Indo-European: Indo-Aryan", 4, True, 20.2),
    Language("ht", "hat", "Haitian Creole", "Latn", "creole", 2, False, None, _HAITIAN),
    Language("hu", "hun", "Hungarian", "Latn", "Uralic", 4, True, 58.4),
    Language("id", "ind", "Indonesian", "Latn", "Austronesian", 3, True, 148.3),
    Language("it", "ita", "Italian", "Latn", "Indo-European: Romance", 4, True, 30.2),
    Language("ja", "jpn", "Japanese", "Jpan", "Japonic", 5, True, 69.3),
    Language("jv", "jav", "Javanese", "Latn", "Austronesian", 1, True, 0.2),
    Language("ka", "kat", "Georgian", "Geor", "Kartvelian", 3, True, 9.1),
    Language("kk", "kaz", "Kazakh", "Cyrl", "Turkic", 3, True, 6.4),
    Language("ko", "kor", "Korean", "Hang", "isolate", 4, True, 54.2, _KOREAN),
    Language("lt", "lit", "Lithuanian", "Latn", "Indo-European: Baltic", 3, True, 13.7),
    Language("ml", "mal", "Malayalam", "Mlym", "Dravidian", 1, True, 7.6),
    Language("mr", "mar", "Marathi", "Deva", "Indo-European: Indo-Aryan", 2, True, 2.8),
    Language("ms", "msa", "Malay", "Latn", "Austronesian", 3, True, 8.5),
    Language("my", "mya", "Burmese", "Mymr", "Sino-Tibetan", 1, True, 2.0, _BURMESE),
    Language("nl", "nld", "Dutch", "Latn", "Indo-European: Germanic", 4, True, 29.3),
    Language("pa", "pan", "Punjabi", "Guru", "Indo-European: Indo-Aryan", 2, True, 0.8),
    Language("pl", "pol", "Polish", "Latn", "Indo-European: Slavic", 4, True, 44.6),
    Language("pt", "por", "Portuguese", "Latn", "Indo-European: Romance", 4, True, 49.1),
    Language("qu", "que", "Quechua", "Latn", "Quechuan", 1, False),
    Language("ro", "ron", "Romanian", "Latn", "Indo-European: Romance", 3, True, 61.4),
    Language("ru", "rus", "Russian", "Cyrl", "Indo-European: Slavic", 4, True, 278.0),
    Language("sw", "swa", "Swahili", "Latn", "Niger-Congo", 2, True, 1.6),
    Language("ta", "tam", "Tamil", "Taml", "Dravidian", 3, True, 12.2),
    Language("te", "tel", "Telugu", "Telu", "Dravidian", 1, True, 4.7),
    Language("th", "tha", "Thai", "Thai", "Kra-Dai", 3, True, 71.7),
    Language("tl", "tgl", "Tagalog", "Latn", "Austronesian", 3, True, 3.1, _FILIPINO),
    Language("tr", "tur", "Turkish", "Latn", "Turkic", 4, True, 20.9),
    Language("uk", "ukr", "Ukrainian", "Cyrl", "Indo-European: Slavic", 3, True, 84.6),
    Language("ur", "urd", "Urdu", "Arab", "Indo-European: Indo-Aryan", 3, True, 5.7),
    Language("vi", "vie", "Vietnamese", "Latn", "Austro-Asiatic", 4, True, 137.3),
    Language("wo", "wol", "Wolof", "Latn", "Niger-Congo", 2, False),
    Language("yo", "yor", "Yoruba", "Latn", "Niger-Congo", 2, False),
    Language("zh", "zho", "Chinese", "Hans", "Sino-Tibetan", 5, True, 46.9, _CHINESE),
)

LANGUAGES: Mapping[str, Language] = MappingProxyType({language.code: language for language in _TABLE})
"""All known languages by code."""

# Three-letter codes come from the table; of a language in two scripts they mean the one without suffix.
_ALIASES = {language.iso639_3: language.code for language in reversed(_TABLE)} | {"fil": "tl"}


def get_language(code: str) -> Language:
    """Look up a language.

    Args:
        code: As in :data:`LANGUAGES`, or a three-letter code (``deu``; also ``fil`` for ``tl``).

    Raises:
        LanguageNotFoundError: The language is not in the table; the message suggests the nearest codes.

    Example:
        >>> get_language("swa").name
        'Swahili'
    """
    found = LANGUAGES.get(_ALIASES.get(code, code))
    if found is None:
        named = [language.code for language in _TABLE if language.name.casefold() == code.casefold()]
        if named:
            raise LanguageNotFoundError("language", code, named, hint=f"{code} is a name, not a code.")
        raise LanguageNotFoundError("language", code, LANGUAGES)
    return found
