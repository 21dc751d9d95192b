"""Every difference to the baseline that the report shows, with its interval and, where it is tested, its test.

A difference is taken in the same seed and language (and item, where item scores are known) before anything is
averaged; :mod:`xmit.metrics.inference` says how sure it is. Two kinds of families are tested, Holm's correction within
each: the *primary* one has a test for every intermediate, of the mean over all pairs of a target and a low-resource
language; a *secondary* one for every target has a test for every intermediate, of the mean over the target's zero-shot
languages. Groups of languages and single languages get intervals and no tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from xmit.metrics.inference import Effect, effect, family
from xmit.metrics.paired import Contribution, ItemScores, Paired, contribution, pair_items, pair_scores
from xmit.report.rows import (
    ALL,
    BASELINE,
    NAN,
    UNIT,
    Missing,
    SourceLanguage,
    checked,
    describe,
    grid,
    main_scores,
    pretraining_size,
    source_of,
    trained_on,
    untrained,
)

LOW_RESOURCE = (0, 1, 2)
LEVEL = 0.05
"""Where a test's corrected p value is at most this, the effect is marked."""
WITHIN = ("low-resource", "zero-shot", ALL, "language")
"""The groups of languages that are averaged within each target, too."""
TESTED = ("low-resource", "target zero-shot")
"""The scopes that are tested; everything else has intervals alone."""
ALPHA = "consistency/krippendorff_alpha"
"""How alike answers are: also where translations are missing, and where answers are texts that score alike."""

Items = Callable[[Mapping[str, Any]], ItemScores | None]
"""Gives the item scores of a cell (a mapping with the unit's keys and ``intermediate``), None if there are none."""

COLUMNS = (
    "study", "encoder", "scope", "intermediate", "target", "benchmark_version", "group", "estimate", "low", "high", "p",
    "p_holm", "family",
    "seeds", "seed_numbers", "n_pairs", "n_seeds", "n_items", "se_seeds", "se_items", "kind", "reason",
)  # fmt: skip


def no_items(_: Mapping[str, Any]) -> None:
    """No item scores are known: intervals cover the seeds alone, and nothing is tested."""


@dataclass(frozen=True)
class _Group:
    """Languages that are averaged: a scope of the table, the group's name and who belongs to it."""

    scope: str
    name: str
    has: Callable[[str], bool]


def effect_table(
    rows: pd.DataFrame, *, source_language: SourceLanguage = "en", missing: Missing = (), items: Items = no_items
) -> pd.DataFrame:
    """Every effect of an intermediate, as a tidy table.

    Args:
        rows: Tidy result rows.
        source_language: The language that was trained on; it is in no group of languages.
        missing: Cells that the study lists as missing.
        items: Gives each cell's item scores.

    Returns:
        One row an effect, in the columns :data:`COLUMNS`. ``scope`` is

        - ``low-resource``, ``zero-shot``, ``class``, ``pre-training``, ``language``: a mean over all pairs of a target
          and a zero-shot language of the ``group``, with an empty ``target``; ``all`` has the source language, too;
        - ``target low-resource``, ``target zero-shot``, ``target all``, ``target language``: within one target;
        - ``alpha`` and ``target alpha``: Krippendorff's α of the answers over languages;
        - ``slope``: change of the difference with ten times as much pre-training text, over the languages that XLM-R
          saw, the mean over targets taken in each.

        ``estimate``, ``low``, ``high`` are fractions; ``seeds`` holds the estimate of each seed, ``seed_numbers`` which
        they are; ``p_holm`` is there for members of a ``family``.
    """
    rows = checked(rows)
    scores = main_scores(rows)
    cells = grid(scores, missing)
    alpha = _by_cell(
        rows[(rows["role"] == "target") & (rows["split"] == "test") & (rows["metric"] == ALPHA)], UNIT[:-1]
    )
    values = _by_cell(scores, UNIT)
    table: list[dict[str, Any]] = []
    for (study, encoder), part in cells.groupby(["study", "encoder"], sort=False):
        codes = sorted(set(scores[(scores["study"] == study) & (scores["encoder"] == encoder)]["language"]))
        units = list(dict.fromkeys(part[UNIT].itertuples(index=False, name=None)))
        names = [n for n in dict.fromkeys(part["intermediate"]) if n != BASELINE]
        found = {name: _Found(name) for name in names}
        alone = untrained(part)
        for unit in units:
            base_items = items({**dict(zip(UNIT, unit, strict=True)), "intermediate": BASELINE})
            for name in names:
                paired = _pair(unit, name, values, items, base_items, unit in alone)
                sides = (alpha.get((*unit[:-1], who), {}) for who in (name, BASELINE))
                agreeing = pair_scores(unit[3], *sides, untrained=unit in alone)
                found[name].add(unit, paired, agreeing, source_of(source_language, unit[3]), codes)
        lines = [line for name in names for line in found[name].lines()]
        table += _corrected([{"study": study, "encoder": encoder, **line} for line in lines])
    return pd.DataFrame(table, columns=list(COLUMNS))


def _by_cell(rows: pd.DataFrame, unit: list[str]) -> dict[tuple[Any, ...], dict[tuple[int, str], float]]:
    """By unit and intermediate, the scores by seed and language."""
    rows = rows[rows["value"].notna()]
    return {
        key: dict(zip(zip(part["seed"].tolist(), part["language"], strict=True), part["value"].tolist(), strict=True))
        for key, part in rows.groupby([*unit, "intermediate"], sort=False)
    }


def _pair(
    unit: tuple[Any, ...],
    name: str,
    values: Mapping[Any, Any],
    items: Items,
    base_items: ItemScores | None,
    alone: bool,
) -> Paired:
    """The differences of one cell to its baseline, item by item where both have item scores."""
    ours = items({**dict(zip(UNIT, unit, strict=True)), "intermediate": name}) if base_items else None
    if ours and base_items:
        return pair_items(unit[3], ours, base_items, untrained=alone)
    sides = (values.get((*unit, who), {}) for who in (name, BASELINE))
    return pair_scores(unit[3], *sides, untrained=alone)


class _Found:
    """Collects what one intermediate adds to each effect, target by target, without keeping the items."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pooled: dict[tuple[str, str], list[Contribution]] = {}
        self.single: list[dict[str, Any]] = []
        self.alphas: list[Contribution] = []
        self.paired: list[tuple[Paired, str]] = []
        self.absent: list[str] = []

    def add(self, unit: tuple[Any, ...], paired: Paired, alpha: Paired, source: str, codes: Collection[str]) -> None:
        target = unit[3]
        if not len(paired.languages) or np.isnan(paired.means).all():
            self.absent.append(target)
        own = trained_on(source)
        for group in _groups(codes):
            chosen = [c for c in paired.languages if (c not in own or group.scope == ALL) and group.has(c)]
            part = contribution(paired, chosen)
            self.pooled.setdefault((group.scope, group.name), []).append(part)
            if group.scope in WITHIN and (group.scope != "language" or part.n_pairs):
                self.single.append(self._line(f"target {group.scope}", group.name, [part], unit))
        part = contribution(alpha)
        if part.n_pairs:
            self.alphas.append(part)
            self.single.append(self._line("target alpha", "α", [part], unit))
        self.paired.append((replace(paired, items=None), source))

    def lines(self) -> Iterator[dict[str, Any]]:
        for (scope, group), parts in self.pooled.items():
            yield self._line(scope, group, parts)
        yield self._line("slope", "log10 GiB", [_slopes(self.paired)])
        if self.alphas:
            yield self._line("alpha", "α", self.alphas)
        yield from self.single

    def _line(
        self, scope: str, group: str, parts: list[Contribution], unit: tuple[Any, ...] = ("",) * 5
    ) -> dict[str, Any]:
        found: Effect = effect(parts, test=scope in TESTED)
        seeds, reason = _by_seed(parts), found.reason
        if scope in ("low-resource", "zero-shot") and self.absent:
            reason = "; ".join(filter(None, [reason, f"nothing to compare on {', '.join(self.absent)}"]))
        if "alpha" in scope or scope == "slope":  # no items stand behind one value a seed: that is no lack
            reason = "" if found.kind == "seeds" else reason
        return {
            "scope": scope,
            "intermediate": self.name,
            "target": unit[3],
            "benchmark_version": unit[2],
            "group": group,
            **{k: getattr(found, k) for k in ("estimate", "low", "high", "p", "se_seeds", "se_items", "kind")},
            **{k: getattr(found, k) for k in ("n_pairs", "n_seeds", "n_items")},
            "seeds": tuple(seeds.values()),
            "seed_numbers": tuple(seeds),
            "reason": reason,
            "effect": found,
        }


def _groups(codes: Collection[str]) -> Iterator[_Group]:
    known = {code: describe(code) for code in codes}
    yield _Group("low-resource", "low-resource", lambda c: known[c].resource_class in LOW_RESOURCE)
    yield _Group("zero-shot", "zero-shot", lambda _: True)
    yield _Group(ALL, ALL, lambda _: True)
    for number in sorted({d.resource_class for d in known.values() if d.resource_class is not None}):
        yield _Group("class", str(number), lambda c, n=number: known[c].resource_class == n)  # type: ignore[misc]
    yield _Group("pre-training", "seen", lambda c: known[c].known and known[c].in_xlmr)
    yield _Group("pre-training", "unseen", lambda c: known[c].known and not known[c].in_xlmr)
    for code in codes:
        yield _Group("language", code, lambda c, one=code: c == one)  # type: ignore[misc]


def _by_seed(parts: list[Contribution]) -> dict[int, float]:
    """The mean over all pairs in each seed that has all of them."""
    parts = [p for p in parts if p.n_pairs]
    if not parts:
        return {}
    pairs = sum(p.n_pairs for p in parts)
    totals = [{s: float(v) for s, v in zip(p.seeds, p.total, strict=True) if not math.isnan(v)} for p in parts]
    seeds = sorted(set.intersection(*map(set, totals)))
    return {seed: sum(t[seed] for t in totals) / pairs for seed in seeds}


def _slopes(paired: list[tuple[Paired, str]]) -> Contribution:
    """In each seed the least-squares slope of the languages' differences on log10 of their pre-training text."""
    seeds = sorted(set.intersection(*(set(p.seeds) for p, _ in paired if len(p.languages)))) if any(
        len(p.languages) for p, _ in paired
    ) else []  # fmt: skip
    slopes = []
    for seed in seeds:
        by_language: dict[str, list[float]] = {}
        for p, source in paired:
            if not len(p.languages):
                continue
            for code, value in zip(p.languages, p.means[p.seeds.index(seed)], strict=True):
                if code not in trained_on(source) and pretraining_size(code) is not None and not math.isnan(value):
                    by_language.setdefault(code, []).append(float(value))
        x = np.log10([float(pretraining_size(code) or NAN) for code in by_language])
        y = np.array([np.mean(v) for v in by_language.values()])
        centred = x - x.mean() if len(x) else x
        spread = float(centred @ centred)
        slopes.append(float(centred @ y) / spread if spread > 0 else NAN)
    # NaN where fewer than two languages have a size
    return Contribution(
        "", tuple(seeds), np.array(slopes), None, int(bool(slopes) and not all(map(math.isnan, slopes)))
    )


def _corrected(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Name the families and correct within each."""
    families: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        line |= {"family": "", "p_holm": NAN}
        if line["scope"] == "low-resource":
            families.setdefault("primary", []).append(line)
        elif line["scope"] == "target zero-shot":
            families.setdefault(" ".join(["secondary:", line["target"], line["benchmark_version"]]).strip(), []).append(
                line
            )
    for name, members in families.items():
        for i, tested in family(dict(enumerate(m["effect"] for m in members)), LEVEL).items():
            members[i] |= {"family": name, "p_holm": tested.p}
    return lines


PRIMARY = ("low-resource", "zero-shot", "unseen", "alpha", "slope")


def primary_table(found: pd.DataFrame) -> pd.DataFrame:
    """The primary endpoint and what stands beside it, a row for every intermediate, the largest difference first.

    Args:
        found: From :func:`effect_table`.

    Returns:
        Columns ``study``, ``encoder``, ``intermediate``, ``p``, ``p_holm``, ``seeds`` (the primary endpoint seed by
        seed), ``n_seeds``, ``n_targets`` and, for each of :data:`PRIMARY`, the estimate under its name and with
        ``_low``, ``_high``, ``_kind`` and ``_pairs``; ``note``.
    """
    over_all = found[found["target"] == ""]
    scope = over_all["scope"].where(over_all["scope"] != "pre-training", over_all["group"])
    table = []
    for key, part in over_all.assign(scope=scope).groupby(["study", "encoder", "intermediate"], sort=False):
        by_scope = {str(line["scope"]): line for line in part.to_dict("records")}
        row: dict[str, Any] = dict(zip(("study", "encoder", "intermediate"), key, strict=True))
        for name in PRIMARY:
            line = by_scope.get(name, {})
            row |= {name: line.get("estimate", NAN), f"{name}_kind": line.get("kind", "none")}
            row |= {f"{name}_low": line.get("low", NAN), f"{name}_high": line.get("high", NAN)}
            row |= {f"{name}_pairs": line.get("n_pairs", 0)}
        first = by_scope["low-resource"]
        row |= {k: first[k] for k in ("p", "p_holm", "seeds", "n_seeds")}
        targets = found[(found["intermediate"] == key[2]) & (found["scope"] == "target low-resource")]
        same = (targets["study"] == key[0]) & (targets["encoder"] == key[1]) & (targets["n_pairs"] > 0)
        row |= {"n_targets": int(same.sum()), "note": first["reason"]}
        table.append(row)
    names = [n for name in PRIMARY for n in (name, *(f"{name}_{k}" for k in ("low", "high", "kind", "pairs")))]
    columns = ["study", "encoder", "intermediate", *names, "p", "p_holm", "seeds", "n_seeds", "n_targets", "note"]
    frame = pd.DataFrame(table, columns=columns)
    return frame.sort_values("low-resource", ascending=False, kind="stable", ignore_index=True)


def family_table(found: pd.DataFrame) -> pd.DataFrame:
    """Every test of every family, the primary one first.

    Args:
        found: From :func:`effect_table`.
    """
    tested = found[found["family"] != ""]
    order = tested["family"].map(lambda name: name != "primary")
    chosen = tested.assign(order=order).sort_values(["study", "encoder", "order", "family", "p"], kind="stable")
    keep = ["study", "encoder", "family", "intermediate", "group", "estimate", "low", "high", "p", "p_holm"]
    keep += ["n_pairs", "n_seeds", "n_items", "se_seeds", "se_items", "kind", "reason"]
    return chosen[keep].rename(columns={"reason": "note"}).reset_index(drop=True)


def mark(p_holm: float) -> str:
    """An asterisk where the corrected p value is at most :data:`LEVEL`."""
    return "*" if p_holm <= LEVEL else ""
