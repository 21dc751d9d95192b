"""The study's question, answered in sentences that promise no more than the numbers show."""

from __future__ import annotations

import math

import pandas as pd

from xmit.report.columns import points, signed
from xmit.report.evidence import effect_table
from xmit.report.rows import BASELINE, Missing, SourceLanguage, describe, source_of
from xmit.report.tables import summary_table

ENOUGH_SEEDS = 3
NAMED = 4


def answer(rows: pd.DataFrame, *, source_language: SourceLanguage = "en", missing: Missing = ()) -> list[str]:
    """Answer whether intermediate training helps low-resource languages: a verdict and at most three sentences.

    Without intervals, an effect is only claimed where it has the same sign in every seed and is larger than the
    range of the seeds; with fewer than three seeds even that is called what it is.

    Args:
        rows: Tidy result rows.
        source_language: The language that was trained on.
        missing: Cells that the study lists as missing.
    """
    missing = list(missing)
    summary = summary_table(rows, source_language=source_language, missing=missing)
    effect = effect_table(rows, source_language=source_language, missing=missing)
    return sentences_of(summary, effect, source_language)


def sentences_of(summary: pd.DataFrame, effect: pd.DataFrame, source_language: SourceLanguage) -> list[str]:
    """The sentences of :func:`answer` from tables that are there already.

    Args:
        summary: From :func:`~xmit.report.tables.summary_table`.
        effect: From :func:`~xmit.report.evidence.effect_table`.
        source_language: The language that was trained on.
    """
    sentences = [*_effect(effect), _level(summary, source_language), _consistency(summary)]
    return [s for s in sentences if s]


def seeds_note(rows: pd.DataFrame) -> str:
    """What the number of seeds allows to say.

    Args:
        rows: Tidy result rows.
    """
    seeds = rows.loc[rows["role"] == "target", "seed"].nunique()
    if seeds < ENOUGH_SEEDS:
        return f"{count(seeds, 'seed')}; differences of single seeds are noise, and no significance is claimed."
    return f"{count(seeds, 'seed')}; the range over seeds is shown, and no significance is claimed."


def count(n: int, noun: str) -> str:
    """A number with its noun."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def shows_effect(seeds: tuple[float, ...]) -> bool:
    """Whether the differences, one a seed, have one sign and are larger than the range that the seeds span."""
    if len(seeds) < 2 or any(math.isnan(v) for v in seeds):
        return False
    low, high = min(seeds), max(seeds)
    return (low > 0 or high < 0) and abs(sum(seeds) / len(seeds)) > high - low


def _effect(effect: pd.DataFrame) -> list[str]:
    """The verdict, and the differences to the baseline that it rests on."""
    which, among = "low_resource", "low-resource language"
    if not len(effect):
        return ["The study has no intermediate task, so there is nothing to compare with."]
    if effect["delta_low_resource"].isna().all():
        which, among = "zero_shot", "zero-shot language (none is low-resource)"
    known = effect[effect[f"delta_{which}"].notna()]
    if not len(known):
        return [f"No result of the baseline {BASELINE!r} can be compared, so the effect is not known."]
    known = known.sort_values(f"delta_{which}", ascending=False)
    # with many intermediates the ends say enough; the table has all
    named = known if len(known) <= NAMED else pd.concat([known.head(2), known.tail(1)])
    repeated = named["intermediate"].duplicated(keep=False)
    parts = []
    for row, twice in zip(named.to_dict("records"), repeated, strict=True):
        seeds = row[f"seeds_{which}"]
        each = f"seeds {', '.join(map(signed, seeds))}" if len(seeds) > 1 else "not two whole seeds"
        each = "one seed" if row["n_seeds"] == 1 else each
        name = f"{row['intermediate']} ({row['encoder']} {row['study']})" if twice else row["intermediate"]
        parts.append(f"{name} {signed(row[f'delta_{which}'])} points ({each})")
    pairs, targets = int(known[f"n_pairs_{which}"].max()), int(known["n_targets"].max())
    some = "" if len(named) == len(known) else f" (the first two and the last of {len(known)})"
    numbers = (
        f"Averaged over {pairs} pairs of a target and a {among} ({count(targets, 'target')}), the difference to "
        f"no intermediate training is: {'; '.join(parts)}{some}."
    )
    return [f"{_verdict(known, which)}.", numbers]


def _verdict(known: pd.DataFrame, which: str) -> str:
    seeds = int(known["n_seeds"].max())
    languages = "low-resource languages" if which == "low_resource" else "zero-shot languages"
    if seeds < 2:
        return f"One seed cannot tell an effect on {languages} from noise"
    clear = [r for r in known.to_dict("records") if shows_effect(r[f"seeds_{which}"])]
    if not clear:
        return f"No effect of intermediate training on {languages} is shown"
    better = [r["intermediate"] for r in clear if r[f"delta_{which}"] > 0]
    worse = [r["intermediate"] for r in clear if r[f"delta_{which}"] < 0]
    ends = ((better, "better"), (worse, "worse"))
    said = ", ".join(f"{way} after {' and '.join(names)}" for names, way in ends if names)
    text = f"scores in {languages} are {said}, in every seed and by more than the seeds differ"
    if seeds < ENOUGH_SEEDS:
        # of two seeds without any effect, three in ten studies look like one
        return f"No effect on {languages} can be claimed from {count(seeds, 'seed')}"
    rest = len(known) - len(clear)
    return text[0].upper() + text[1:] + (f" ({count(rest, 'other')} showed no effect)" if rest else "")


def _level(summary: pd.DataFrame, source_language: SourceLanguage) -> str:
    """How well transfer works without intermediate training, and where least."""
    base = summary[(summary["intermediate"] == BASELINE) & summary["zero_shot_mean"].notna()]
    if not len(base):
        return ""
    parts = []
    for row in base.head(NAMED).to_dict("records"):
        source = describe(source_of(source_language, row["target"])).name
        part = f"{row['target']} scores {points(row['zero_shot_mean'])} over {row['n_zero_shot']} zero-shot languages"
        inside = []
        if not pd.isna(row["source_score"]):
            inside.append(f"{source} {points(row['source_score'])}")
        if row["n_low_resource"]:
            inside.append(f"{row['n_low_resource']} low-resource ones {points(row['low_resource_mean'])}")
        inside.append(f"weakest {describe(row['worst_language']).name} {points(row['worst'])}")
        parts.append(f"{part} ({', '.join(inside)})")
    more = f"; {count(len(base) - NAMED, 'more target')} below" if len(base) > NAMED else ""
    return f"Without intermediate training {'; '.join(parts)}{more}."


def _consistency(summary: pd.DataFrame) -> str:
    """Whether the same question gets the same answer, against accuracy's background."""
    known = summary[summary["fleiss_kappa"].notna()]
    parts = []
    for target, part in known.groupby("target", sort=False):
        base = part[part["intermediate"] == BASELINE]["fleiss_kappa"]
        rest = part[part["intermediate"] != BASELINE]["fleiss_kappa"]
        if len(base) and len(rest):
            low, high = f"{rest.min():.2f}", f"{rest.max():.2f}"
            parts.append(f"{target} {base.mean():.2f} without and {low if low == high else f'{low} to {high}'} with it")
    if not parts:
        return ""
    more = f"; {len(parts) - NAMED} more below" if len(parts) > NAMED else ""
    return f"Consistency of answers over languages (Fleiss' κ): {'; '.join(parts[:NAMED])}{more}."
