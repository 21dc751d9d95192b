"""The robustness summary against the standard library's statistics, and its reasons."""

import math
import statistics
from dataclasses import dataclass

import numpy as np
import pytest

from xmit.errors import MetricError
from xmit.metrics import robustness_summary


@dataclass(frozen=True)
class Info:
    code: str
    name: str
    script: str
    family: str
    resource_class: int | None
    in_xlmr: bool


KNOWN = {
    info.code: info
    for info in (
        Info("en", "English", "Latn", "Germanic", 5, True),
        Info("de", "German", "Latn", "Germanic", 5, True),
        Info("ru", "Russian", "Cyrl", "Slavic", 4, True),
        Info("bg", "Bulgarian", "Cyrl", "Slavic", 3, True),
        Info("sw", "Swahili", "Latn", "Niger-Congo", 2, True),
        Info("yo", "Yoruba", "Latn", "Niger-Congo", 2, False),
        Info("te", "Telugu", "Telu", "Dravidian", 1, True),
        Info("xx", "Unclassified", "Latn", "isolate", None, False),
        Info("gn", "Guarani", "Latn", "Tupian", 0, False),
    )
}


def summary(values, **kwargs):
    return robustness_summary(values, lookup=KNOWN.__getitem__, **kwargs)


def same(ours, theirs):
    return (math.isnan(ours) and math.isnan(theirs)) or abs(ours - theirs) < 1e-9


def nan_keys(value, path=""):
    if isinstance(value, dict):
        keys = {k for key, v in value.items() for k in nan_keys(v, f"{path}/{key}" if path else key)}
        return {key.removesuffix("/mean") for key in keys}
    return {path} if isinstance(value, float) and math.isnan(value) else set()


def mean(values):
    """By the standard library, whose sums are exact."""
    listed = list(values)
    return statistics.fmean(listed) if listed else math.nan


def grouped(codes, key):
    groups = {}
    for code in codes:
        groups.setdefault(key(KNOWN[code]), []).append(code)
    return groups


def check(result, values, source, low):
    value = {c: v for c, v in values.items() if math.isfinite(v)}
    zero = [c for c in value if c != source]
    in_low = [c for c in zero if KNOWN[c].resource_class in low]
    zero_shot = mean(value[c] for c in zero)
    assert same(result["mean"], mean(value.values()))
    assert same(result["zero_shot_mean"], zero_shot)
    assert same(result["low_resource_mean"], mean(value[c] for c in in_low))
    assert result["n"] == {"mean": len(value), "zero_shot_mean": len(zero), "low_resource_mean": len(in_low)}
    assert same(result["worst"], min(value.values(), default=math.nan))
    if value:
        assert values[result["worst_language"]] == min(value.values())
    assert same(result["sd"], statistics.stdev(value.values()) if len(value) > 1 else math.nan)
    assert same(result["range"], max(value.values(), default=math.nan) - min(value.values(), default=math.nan))
    assert same(result["transfer_gap"], value.get(source, math.nan) - zero_shot)
    keys = {
        "resource_class": lambda k: "unknown" if k.resource_class is None else str(k.resource_class),
        "script": lambda k: k.script,
        "family": lambda k: k.family,
        "pretraining": lambda k: "seen" if k.in_xlmr else "unseen",
        "writing": lambda k: "Latin" if k.script == "Latn" else "non-Latin",
    }
    for kind, key in keys.items():
        theirs = grouped(zero, key)
        ours = {group: entry for group, entry in result["groups"][kind].items() if entry["n"]}
        assert set(ours) == set(theirs)
        for group, entry in ours.items():
            assert same(entry["mean"], mean(value[c] for c in theirs[group]))
            assert entry["n"] == len(theirs[group])
    undefined = nan_keys({k: v for k, v in result.items() if k not in ("delta", "left_out", "reasons", "n")})
    assert undefined == set(result["reasons"])


def test_equals_the_standard_library_on_random_tables():
    rng = np.random.default_rng(0)
    codes = list(KNOWN)
    for _ in range(1000):
        chosen = rng.permutation(codes)[: rng.integers(0, len(codes) + 1)].tolist()
        values = {c: math.nan if rng.random() < 0.1 else float(rng.integers(0, 8)) / 7 for c in chosen}
        baseline = {c: float(rng.random()) for c in codes if rng.random() < 0.8}
        source, low = str(rng.choice(["en", "sw"])), [(0, 1, 2), (0,)][rng.integers(2)]
        result = summary(values, source_language=source, low_resource=low, baseline=baseline)
        check(result, values, source, low)
        assert set(result["left_out"]) == {c for c, v in values.items() if math.isnan(v)}
        delta = result["delta"]
        difference = {c: values[c] - baseline[c] for c in values if c in baseline}
        floor = delta.pop("floor")
        check(
            {**delta, "reasons": {k: v for k, v in delta["reasons"].items() if k != "floor"}}, difference, source, low
        )
        kept = [c for c, v in difference.items() if math.isfinite(v)]
        assert delta["per_language"] == {c: difference[c] for c in kept}
        if kept:
            assert floor == min(values[c] for c in kept) - min(baseline[c] for c in kept)
        else:
            assert math.isnan(floor)
            assert delta["reasons"]["floor"]


def test_order_of_languages_does_not_matter():
    values = {c: 0.1 * i for i, c in enumerate(KNOWN)} | {"de": 0.0}
    backwards = dict(reversed(values.items()))
    a, b = summary(values), summary(backwards)
    assert a == b
    assert a["worst_language"] == "de"  # ties go to the first code


def test_empty_groups_say_why():
    result = summary({"en": 0.9, "de": 0.8})
    assert math.isnan(result["low_resource_mean"])
    assert result["n"]["low_resource_mean"] == 0
    assert result["reasons"]["low_resource_mean"] == ("no zero-shot language of resource class 0, 1, 2 among the 1")
    assert result["reasons"]["groups/resource_class/0"] == "no zero-shot language of this group among the 1"
    assert math.isnan(result["groups"]["pretraining"]["unseen"]["mean"])


def test_the_source_language_is_no_evidence_of_transfer():
    result = summary({"sw": 0.9, "yo": 0.1}, source_language="sw")
    assert result["low_resource_mean"] == 0.1
    assert result["transfer_gap"] == 0.8
    assert summary({"de": 0.8}, source_language="en")["reasons"]["transfer_gap"] == (
        "the source language 'en' has no score"
    )


def test_delta_names_what_cannot_be_compared():
    delta = summary({"en": 0.9, "de": math.nan, "sw": 0.5}, baseline={"de": 0.5, "sw": 0.4, "ru": 0.1})["delta"]
    assert delta["left_out"] == {
        "en": "the baseline has no score",
        "ru": "only the baseline has a score",
        "de": "the score is not a number",
    }
    assert delta["per_language"] == {"sw": pytest.approx(0.1)}


def test_resource_classes_are_checked():
    with pytest.raises(MetricError, match="0 to 5"):
        summary({"en": 1.0}, low_resource=(6,))


def test_languages_come_from_the_package():
    result = robustness_summary({"en": 0.9, "sw": 0.6, "yo": 0.4, "zh": 0.8})
    assert result["n"]["low_resource_mean"] == 2
    assert result["groups"]["pretraining"]["unseen"] == {"mean": 0.4, "n": 1}
    assert result["groups"]["writing"]["non-Latin"] == {"mean": 0.8, "n": 1}
