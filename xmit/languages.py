"""The languages: code, name, script, family, resource class, and what XLM-R saw of each.

The table itself is the file ``languages.tsv`` beside this module: every language of a task, by its code. Sources, by
column (conflicts stand in a language's ``notes``):

- ``code``, ``iso639_3``, ``script``: ISO 639-1, 639-3 (macrolanguages where 639-1 names one: FLORES's ``als`` is
  ``sq``, ``quy`` is ``qu``, ``gaz`` is ``om``, see ``_MEMBERS``) and 15924; scripts as in the data, which are those
  of the resource class's source where no note says otherwise.
- ``name``: as in CLDR, but Bengali for its Bangla; languages that CLDR's English locale does not name as in FLORES-200
  or their data set; a second script in brackets.
- ``family``: the top-level families of Glottolog (glottolog/glottolog-cldf, ``cldf/languages.csv`` at 155ab58), under
  the names that the field uses: Austro-Asiatic for its Austroasiatic, Kra-Dai for Tai-Kadai, Mongolic for
  Mongolic-Khitan, Niger-Congo for Atlantic-Congo, Oto-Manguean for Otomanguean, Panoan for Pano-Tacanan. Where the
  family itself is another there (Nilo-Saharan, creoles, Korean, N'Ko) the notes say so. The branch after a colon is
  from memory.
- ``resource_class``: Joshi et al. (2020), "The State and Fate of Linguistic Diversity and Inclusion in the NLP
  World", 0 (left behind) to 5 (the winners), by way of MaLA-LM/LangResourceAtlas, ``Joshi-et-al-6-classes.json``,
  whose names of languages were mapped to codes by language models: an entry counts where its *name* is the
  language's, too. Empty where the file has no such entry, and for second scripts, which it does not list.
- ``in_xlmr``: the list in fairseq's ``examples/xlmr/README.md``. A dialect or variety that the list does not name
  (Egyptian Arabic, Dari) is not in it.
- ``cc100_gib``: GiB of text in the corpus that XLM-R was trained on, Table 6 of Conneau et al. (2020), as copied
  in mayhewsw/multilingual-data-stats, ``cc-100/cc-100.csv``. The files called CC-100 today are a later rebuild of
  that corpus and differ. What the table gives for romanised text stands at ``bn-Latn``, ``hi-Latn`` and ``ur-Latn``
  (Tamil's and Telugu's is not counted: no task has them).

The embedded encoder's vocabulary and first training come from XLM-R too, so the last two columns concern it as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
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


def _read_table() -> Iterator[Language]:
    lines = Path(__file__).with_name("languages.tsv").read_text(encoding="utf-8").splitlines()
    for line in lines[1:]:
        code, iso639_3, name, script, family, resource_class, in_xlmr, cc100_gib, notes = line.split("\t")
        yield Language(
            code,
            iso639_3,
            name,
            script,
            family,
            int(resource_class) if resource_class else None,
            in_xlmr == "yes",
            float(cc100_gib) if cc100_gib else None,
            notes,
        )


_TABLE = tuple(_read_table())

LANGUAGES: Mapping[str, Language] = MappingProxyType({language.code: language for language in _TABLE})
"""All known languages by code."""

# what data sets call by a member's code, and we by the macrolanguage's: by far the greatest member, or the standard
_MEMBERS = {
    **{"als": "sq", "arb": "ar", "ayr": "ay", "azj": "az", "cmn": "zh", "ekk": "et", "fil": "tl", "fuv": "ff"},
    **{"gaz": "om", "khk": "mn", "kmr": "ku", "knc": "kr", "lvs": "lv", "no": "nb", "npi": "ne", "ory": "or"},
    **{"pbt": "ps", "pes": "fa", "plt": "mg", "quy": "qu", "quz": "qu", "swh": "sw", "uzn": "uz", "ydd": "yi"},
    **{"zsm": "ms"},
}

# Three-letter codes come from the table; of a language in two scripts they mean the one without suffix.
_ALIASES = {language.iso639_3: language.code for language in reversed(_TABLE)} | _MEMBERS


def get_language(code: str) -> Language:
    """Look up a language.

    Args:
        code: As in :data:`LANGUAGES`, or a three-letter code (``deu``; also a member's of a
            macrolanguage: ``fil`` for ``tl``, ``quy`` for ``qu``).

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


def from_flores(code: str) -> str:
    """Map a FLORES-200 code, as SIB-200 and Belebele use them, to ours.

    Args:
        code: ISO 639-3 and script, such as ``eng_Latn``.

    Returns:
        A key of :data:`LANGUAGES`; with a script only where it is not the language's first.

    Raises:
        LanguageNotFoundError: The language, or the language in that script, is not in the table.

    Example:
        >>> [from_flores(code) for code in ("eng_Latn", "ace_Latn", "ace_Arab", "als_Latn", "zho_Hant")]
        ['en', 'ace', 'ace-Arab', 'sq', 'zh-Hant']
    """
    language, _, script = code.partition("_")
    ours = _ALIASES.get(language, language)
    if ours not in LANGUAGES or LANGUAGES[ours].script != script:
        ours = f"{ours}-{script}"
    if ours not in LANGUAGES:
        raise LanguageNotFoundError("FLORES language", code, LANGUAGES)
    return ours
