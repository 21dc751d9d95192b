"""Cases of whole trainings, each in a process of its own."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from xmit.bench.recipes import Settings, in_own_process
from xmit.bench.timing import NO_BF16, Result, compare
from xmit.hardware import CPU, computes_bf16


def curves_differ(updates: int = 6) -> str:
    """Train a small model by ours and by Hugging Face's Trainer without dropout; what is wrong, if anything."""
    small = Settings("hf", 2, 32 * updates, dropout=0.0, vocabulary=2000, rows=900, log=True, width=64)
    theirs, ours = (in_own_process(replace(small, recipe=recipe))["losses"] for recipe in ("hf", "ours"))
    wrong = max(abs(a - b) for a, b in zip(theirs, ours, strict=True))
    return f"the losses of {updates} updates differ by up to {wrong:.1e} from Hugging Face's" if wrong > 2e-4 else ""


def _rounds(settings: Settings, recipes: tuple[str, ...], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {recipe: [] for recipe in recipes}
    for _ in range(rounds):
        for recipe in recipes:
            times[recipe].append(float(in_own_process(replace(settings, recipe=recipe))["seconds"]))
    return times


def e2e(quick: bool) -> Iterator[Result]:
    """Fine-tuning of XLM-R base's shape: forward, backward, clipping and update."""
    gates = {"e2e_fp32_vs_hf": ("hf", 2.0), "e2e_fp32_vs_xtreme": ("xtreme", 3.5)}
    failed = curves_differ()
    settings = Settings("ours", examples=96 if quick else 256)
    times = {} if failed else _rounds(settings, ("hf", "xtreme", "ours"), 1 if quick else 3)
    for case, (peer, gate) in gates.items():
        note = f"12 layers, {settings.examples} examples of MNLI lengths, updates of 32, the first not timed"
        yield Result(case, gate, failed=failed) if failed else compare(case, gate, times, peer, "ours", note)
    case = "e2e_bf16_vs_hf_grouped"
    if quick:
        yield Result(case, 1.05, note="not measured: full bench only")
    elif failed:
        yield Result(case, 1.05, failed=failed)
    elif not computes_bf16(CPU):
        yield Result(case, 1.05, note=NO_BF16)
    else:
        times = _rounds(Settings("ours", examples=2000, bf16=True), ("hf_grouped", "ours"), 1)
        yield compare(case, 1.05, times, "hf_grouped", "ours", "12 layers, 2,000 examples, both grouped, bf16")


def demo(quick: bool) -> Iterator[Result]:
    """The demo study's plan of a text intermediate and a target tested in many languages, by ours and by HF Trainer."""
    from xmit.bench.demo import hf_plan, our_plan

    rounds = 1 if quick else 3
    times: dict[str, list[float]] = {"hf": [], "ours": []}
    scores: dict[str, Any] = {}
    for _ in range(rounds):
        for name, plan in (("hf", hf_plan), ("ours", our_plan)):
            seconds, scores[name] = plan(quick)
            times[name].append(seconds)
    means = {name: statistics.mean(found.values()) for name, found in scores.items()}
    note = (
        f"digits_text, then cldr_geo in {len(scores['ours'])} languages; mean accuracy {means['ours']:.3f}, "
        f"by Hugging Face's {means['hf']:.3f}"
    )
    yield compare("demo_vs_hf", 2.0, times, "hf", "ours", note)
