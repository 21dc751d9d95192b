"""Rows of the CLDR tasks, built from the locale data that Babel carries.

CLDR, Unicode's Common Locale Data Repository, names territories, currencies, languages, units and time zones
in many languages. Nothing here falls back: a name counts for a language only if that language's own file
holds it.

The split depends on nothing but the concept: a concept belongs to a key (a currency to its territory's), and
the SHA-256 of the key says whether it is for training, validation or test, in all tasks and languages alike.
Babel versions know a few names more or fewer; what two of them know is in the same split in both.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmit.errors import ConfigError, DataError, MissingDependencyError

if TYPE_CHECKING:
    import datasets

# XTREME-R's languages but Haitian Creole, which CLDR does not have; Babel calls Tagalog fil.
# fmt: off
LANGUAGES = (
    "af", "ar", "az", "bg", "bn", "de", "el", "en", "es", "et", "eu", "fa", "fi", "fr", "gu", "he", "hi",
    "hu", "id", "it", "ja", "jv", "ka", "kk", "ko", "lt", "ml", "mr", "ms", "my", "nl", "pa", "pl",
    "pt", "qu", "ro", "ru", "sw", "ta", "te", "th", "tl", "tr", "uk", "ur", "vi", "wo", "yo", "zh",
)
# fmt: on
CONTINENTS = ("Africa", "America", "Asia", "Europe", "Pacific")
"""The labels of the geography task; the areas of the time zone names, Australia counted as Pacific."""
KINDS = ("territory", "currency", "language", "unit", "time zone")
"""The labels of the term typing task."""
SPLITS = ("train", "validation", "test")

# The first number with which every continent's part of a split is within a quarter of its due.
_SALT = "73:"
# What get_cldr_version() would say in the releases before Babel 2.18 brought it (from Babel's changelog).
_CLDR_OF_BABEL = {"2.16": "45", "2.17": "46"}


def cldr_version() -> str:
    """Name the data behind the CLDR tasks, such as ``"CLDR 47 (Babel 2.18.0)"``.

    Raises:
        MissingDependencyError: Babel is not installed.
    """
    core = _babel("core")
    babel = version("babel")
    known = _CLDR_OF_BABEL.get(".".join(babel.split(".")[:2]), "of unknown version")
    return f"CLDR {core.get_cldr_version() if hasattr(core, 'get_cldr_version') else known} (Babel {babel})"


def split_of(key: str) -> str:
    """Assign a concept's key to a split: a third is for test, a sixth for validation, half for training.

    Args:
        key: Such as ``"territory:DE"``.
    """
    share = int.from_bytes(hashlib.sha256((_SALT + key).encode()).digest()[:8], "big") / 2**64
    return "test" if share < 1 / 3 else "validation" if share < 1 / 2 else "train"


def geography(locale: str, split: str) -> datasets.Dataset:
    """Names of territories and currencies, labelled with a continent.

    A territory has the continent of its time zones, where they agree and say one: not Russia, not Iceland
    (``Atlantic/Reykjavik``). A currency belongs to the territory with which its ISO 4217 code begins: the
    euro to none. English names of the cities after which time zones are named join the training split alone.

    Args:
        locale: Babel's code of the language.
        split: One of :data:`SPLITS`.

    Returns:
        The columns ``id``, ``text`` and ``label``, an index into :data:`CONTINENTS`.

    Raises:
        ConfigError: There is no such split.
        DataError: Babel does not know the locale.
        MissingDependencyError: Babel is not installed.
    """
    own, continents = _own(locale), _continents()
    named = [(f"territory:{code}", code, name) for code, name in _territories(own)]
    named += [(f"currency:{code}", _home(code) or "", name) for code, name in _strings(own, "currency_names")]
    rows = [(id_, place, name, continents.get(place)) for id_, place, name in named]
    if locale == "en" and split == "train":
        rows += _cities(own)
    return _labelled(
        (id_, name, CONTINENTS.index(continent))
        for id_, place, name, continent in rows
        if continent and _in_split(f"territory:{place}", split)
    )


def territory_pairs(locale: str) -> datasets.Dataset:
    """Territory names of a language beside the English ones.

    Args:
        locale: Babel's code of the language.

    Returns:
        The columns ``id``, ``query`` and ``candidate``.

    Raises:
        DataError: Babel does not know the locale.
        MissingDependencyError: Babel is not installed.
    """
    english = dict(_territories(_own("en")))
    rows = [(code, name) for code, name in _territories(_own(locale)) if code in english]
    return _dataset(
        {
            "id": [f"territory:{code}" for code, _ in rows],
            "query": [name for _, name in rows],
            "candidate": [english[code] for code, _ in rows],
        }
    )


def terms(locale: str, split: str) -> datasets.Dataset:
    """Names, labelled with the kind of thing they name.

    To keep the classes apart and of like size: territories; currencies in use; languages that have a
    two-letter code, without regional varieties; units; time zones (their standard time). Scripts are left
    out, since many share their name with a language (Arabic). So is what shares its name with another kind of
    thing, in English (Nauru) or in the language itself: Thai and Indonesian call many a language as its
    country.

    Args:
        locale: Babel's code of the language.
        split: One of :data:`SPLITS`.

    Returns:
        The columns ``id``, ``text`` and ``label``, an index into :data:`KINDS`.

    Raises:
        ConfigError: There is no such split.
        DataError: Babel does not know the locale.
        MissingDependencyError: Babel is not installed.
    """
    english = _terms("en")
    return _labelled(
        (id_, name, kind)
        for id_, (key, name, kind) in _terms(locale).items()
        if id_ in english and _in_split(key, split)
    )


@cache
def _terms(locale: str) -> dict[str, tuple[str, str, int]]:
    """Key, name and kind of all terms that name one kind of thing in a language, each once, by id."""
    own, tender = _own(locale), _tender()
    zones = [(code, forms.get("long", {}).get("standard")) for code, forms in own["meta_zones"].items()]
    named = (
        ("territory", _territories(own)),
        ("currency", [(code, name) for code, name in _strings(own, "currency_names") if code in tender]),
        ("language", [(code, name) for code, name in _strings(own, "languages") if len(code) == 2]),
        ("unit", _units(own)),
        ("time_zone", sorted((code, name) for code, name in zones if isinstance(name, str))),
    )
    kinds: dict[str, set[int]] = {}
    for kind, (_, names) in enumerate(named):
        for _, name in names:
            kinds.setdefault(name.casefold(), set()).add(kind)
    terms = {}
    for kind, (prefix, names) in enumerate(named):
        for code, name in names:
            # popped: a second concept of the same name (two sorts of calories) might be in another split
            if len(kinds.pop(name.casefold(), ())) == 1:
                id_, home = f"{prefix}:{code}", _home(code) if prefix == "currency" else None
                terms[id_] = (f"territory:{home}" if home else id_, name, kind)
    return terms


def _labelled(rows: Iterable[tuple[str, str, int]]) -> datasets.Dataset:
    table = list(rows)
    return _dataset({name: [row[i] for row in table] for i, name in enumerate(("id", "text", "label"))})


def _dataset(columns: dict[str, list[Any]]) -> datasets.Dataset:
    import datasets

    return datasets.Dataset.from_dict(columns)


def _in_split(key: str, split: str) -> bool:
    if split not in SPLITS:
        raise ConfigError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    return split_of(key) == split


def _babel(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"babel.{module}")
    except ImportError as error:
        raise MissingDependencyError("babel", "demo") from error


@cache
def _own(locale: str) -> dict[str, Any]:
    """What a locale's own file holds.

    Babel's ``load(locale, merge_inherited=False)`` will not do: it shares its cache with the merged data, so
    it may return those, and what it puts there breaks formatting for the rest of the process.
    """
    path = Path(_babel("localedata").resolve_locale_filename(locale))
    if not path.is_file():
        raise DataError(f"Babel has no locale {locale!r}: looked for {path}")
    data: dict[str, Any] = pickle.loads(path.read_bytes())
    return data


def _strings(own: dict[str, Any], kind: str) -> list[tuple[str, str]]:
    """The names of one kind, sorted by code; a code that stands for a missing name does not count."""
    return [(c, n) for c, n in sorted(own[kind].items()) if isinstance(n, str) and n.strip() and n != c]


def _territories(own: dict[str, Any]) -> list[tuple[str, str]]:
    """Territories that time zones know: no continents, no unions of states, no placeholders."""
    real = _global("territory_zones")
    return [(c, n) for c, n in _strings(own, "territories") if c in real and c.isalpha() and c != "ZZ"]


def _units(own: dict[str, Any]) -> list[tuple[str, str]]:
    """Units by their long name; where CLDR has none it is the short one, if that is more than a symbol."""
    english = _own("en")["unit_display_names"].values()
    symbols = {forms.get(length) for forms in english for length in ("short", "narrow")}
    names = []
    for code, forms in sorted(own["unit_display_names"].items()):
        name = forms.get("long") or forms.get("short")
        if isinstance(name, str) and ("long" in forms or name not in symbols):
            names.append((code, name))
    return names


@cache
def _global(name: str) -> dict[str, Any]:
    data: dict[str, Any] = _babel("core").get_global(name)
    return data


def _continent(zone: str) -> str | None:
    area = zone.split("/")[0]
    area = "Pacific" if area == "Australia" else area
    return area if area in CONTINENTS else None


@cache
def _continents() -> dict[str, str]:
    """The continent of each territory whose time zones name exactly one."""
    named = {t: {_continent(z) for z in zones} - {None} for t, zones in _global("territory_zones").items()}
    return {t: continent for t, found in named.items() if len(found) == 1 for continent in found if continent}


@cache
def _home(currency: str) -> str | None:
    """The territory with whose code a currency's begins, if it was ever used there."""
    territory = currency[:2]
    used = _global("territory_currencies").get(territory, ())
    return territory if any(entry[0] == currency for entry in used) else None


@cache
def _tender() -> frozenset[str]:
    """The currencies that are legal tender somewhere today."""
    entries = (e for used in _global("territory_currencies").values() for e in used)
    return frozenset(code for code, _, until, tender in entries if until is None and tender)


def _cities(own: dict[str, Any]) -> list[tuple[str, str, str, str | None]]:
    """The cities of time zones, in English, where CLDR's rule makes the zone's last part the city's name."""
    named = own["time_zones"]
    cities = []
    for territory, zones in sorted(_global("territory_zones").items()):
        for zone in sorted(zones):
            name = named.get(zone, {}).get("city") or zone.split("/")[-1].replace("_", " ")
            cities.append((f"city:{zone}", territory, name, _continent(zone)))
    return cities
