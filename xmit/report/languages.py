"""What intermediate training does for each language: over all targets, and target by target."""

from __future__ import annotations

from typing import Any

import pandas as pd

from xmit.report.rows import (
    BASELINE,
    NAN,
    Missing,
    SourceLanguage,
    by_resources,
    checked,
    grid,
    is_transfer,
    main_scores,
    source_of,
    trained_on,
)
from xmit.report.tables import DELTA, about_language, column_name


def language_effects(
    rows: pd.DataFrame, found: pd.DataFrame, *, source_language: SourceLanguage = "en", missing: Missing = ()
) -> pd.DataFrame:
    """Every language, averaged over the targets that have it.

    Args:
        rows: Tidy result rows.
        found: The differences from :func:`~xmit.report.effects.effect_table`.
        source_language: The language that was trained on; a target's own has no difference in it.
        missing: Cells that the study lists as missing.

    Returns:
        One row a language, the poorest in resources first: the columns that describe it, ``none`` (the baseline's
        score, mean over targets; of several encoders or studies one each), and for every intermediate ``Δ name`` with
        ``_low``, ``_high`` and ``_kind``.
    """
    scores = main_scores(checked(rows))
    base = scores[scores["intermediate"] == BASELINE]
    # a target's source language is no transfer, so its score is left out where other targets have the language
    transfer = base[is_transfer(base, source_language)]
    names = _names(scores, missing)
    level = _level(base, ["language"], names) | _level(transfer, ["language"], names)
    sources = {code for target in base["target"].unique() for code in trained_on(source_of(source_language, target))}
    known = _deltas(found[found["scope"] == "language"], ["group"], names)
    table = []
    for language in by_resources(scores["language"]):
        code = language.code
        about = about_language(language) | {"is_source": code in sources}
        lines = {column: level.get((code, column), NAN) for column in names.baselines}
        table.append(about | lines | known.get((code,), {}) | {"note": ""})
    return _whole(table, names)


def target_language_effects(
    rows: pd.DataFrame, found: pd.DataFrame, *, source_language: SourceLanguage = "en", missing: Missing = ()
) -> pd.DataFrame:
    """Every language of every target, with the columns of :func:`language_effects` and ``target``.

    Args:
        rows: Tidy result rows.
        found: The differences from :func:`~xmit.report.effects.effect_table`.
        source_language: The language that was trained on.
        missing: Cells that the study lists as missing.
    """
    scores = main_scores(checked(rows))
    base = scores[scores["intermediate"] == BASELINE]
    names = _names(scores, missing)
    level = _level(base, ["target", "language"], names)
    known = _deltas(found[found["scope"] == "target language"], ["target", "group"], names)
    languages = {str(target): set(part) for target, part in scores.groupby("target", sort=False)["language"]}
    lost = (
        scores[scores["value"].isna()]
        .groupby(["target", "language"])["reason"]
        .agg(lambda r: "; ".join(sorted(set(r))))
    )
    why = lost.to_dict()
    table = []
    for language in by_resources(scores["language"]):
        for target in (t for t, codes in languages.items() if language.code in codes):
            key = target, language.code
            own = trained_on(source_of(source_language, target))
            about = about_language(language) | {"is_source": language.code in own}
            line = about | {"target": target} | {c: level.get((*key, c), NAN) for c in names.baselines}
            table.append(line | known.get(key, {}) | {"note": (why[key] or "no score") if key in why else ""})
    return _whole(table, names)


class _Names(dict[tuple[str, ...], str]):
    """By study, encoder and intermediate the name of its column."""

    @property
    def baselines(self) -> list[str]:
        """The columns of the baselines."""
        return [name for key, name in self.items() if key[-1] == BASELINE]

    @property
    def others(self) -> list[str]:
        """The columns of everything else."""
        return [name for key, name in self.items() if key[-1] != BASELINE]


def _names(scores: pd.DataFrame, missing: Missing) -> _Names:
    cells = grid(scores, missing)
    return _Names(
        ((cell["study"], cell["encoder"], cell["intermediate"]), column_name(cell, cells))
        for cell in cells.drop_duplicates(["study", "encoder", "intermediate"]).to_dict("records")
    )


def _level(base: pd.DataFrame, keys: list[str], names: _Names) -> dict[tuple[str, ...], float]:
    """The mean baseline by keys and the name of its column."""
    means = base.groupby([*keys, "study", "encoder"])["value"].mean()
    keyed = zip(map(tuple, means.index), means, strict=True)
    return {(*key[:-2], names[(*key[-2:], BASELINE)]): float(value) for key, value in keyed}


def _deltas(found: pd.DataFrame, keys: list[str], names: _Names) -> dict[tuple[str, ...], dict[str, Any]]:
    deltas: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in found[found["n_pairs"] > 0].to_dict("records"):
        name = DELTA + names[line["study"], line["encoder"], line["intermediate"]]
        known = deltas.setdefault(tuple(line[k] for k in keys), {})
        known |= {name: line["estimate"], **{f"{name}_{k}": line[k] for k in ("low", "high", "kind")}}
    return deltas


def _whole(table: list[dict[str, Any]], names: _Names) -> pd.DataFrame:
    """All columns are there, also those of an intermediate without results."""
    frame = pd.DataFrame(table)
    ends = [DELTA + name + end for name in names.others for end in ("", "_low", "_high", "_kind")]
    first = [c for c in frame.columns if c not in ends]
    return frame.reindex(columns=[*first, *ends])
