"""Simulated studies of known effects: what the intervals and tests of ``xmit.metrics.inference`` are measured on.

``python tests/metrics/simulated_studies.py [studies families]`` prints the tables of ``docs/statistics.md``.

Whether system k answers item i of language l correctly in seed s is drawn from a probit model with normal effects::

    right = level[l] + effect[k] + pair[s] + seed[k, s] + item[i] + word[i, l] + skill[k, i] + noise[k, s, i, l] > 0

``pair`` is what a seed does to all systems alike (order of the examples, head), ``seed`` what it does to one, ``skill``
that systems find different items hard. All being normal, the true difference of two systems is known in closed form.
"""

import math
import sys

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from xmit.metrics.inference import Effect, effect, family, holm
from xmit.metrics.paired import Paired, contribution

SEEDS = (3, 5, 10)
SEED_SD = {"none": 0.0, "small": 0.02, "like the items": 0.06, "large": 0.15, "dominant": 0.4, "beyond": 1.5}
FAILING = {"one training in five fails": 0.2, "every second training fails": 0.5}
"""Scatter that no normal distribution is like: a training fails, which costs most of what it would have learned."""
COST = 1.5
TARGETS = {"parallel": (200, 6), "other": (120, 4)}
ITEM, WORD, SKILL, PAIR = 0.7, 0.4, 0.5, 0.1
LEVELS = (-0.4, 0.9)


def study(rng, n_seeds, seed_sd, shifts, failing=0.0):
    """For every target the answers of all systems, shape ``(systems, seeds, items, languages)``, the baseline first."""
    n = len(shifts)
    pair, seed = rng.normal(0, PAIR, (1, n_seeds, 1, 1)), rng.normal(0, seed_sd, (n, n_seeds, 1, 1))
    if failing:
        seed = seed - COST * (rng.random(seed.shape) < failing)
    drawn = {}
    for target, (items, languages) in TARGETS.items():
        level = np.linspace(*LEVELS, languages)
        fixed = level + np.reshape(shifts, (n, 1, 1, 1)) + pair + seed
        item = rng.normal(0, ITEM, (1, 1, items, 1)) + rng.normal(0, WORD, (1, 1, items, languages))
        skill = rng.normal(0, SKILL, (n, 1, items, 1))
        noise = rng.standard_normal((n, n_seeds, items, languages))
        drawn[target] = (fixed + item + skill + noise > 0).astype(np.float64)
    return drawn


def truth(shift, seed_sd):
    """The expected difference over all pairs of a target and a language."""
    sd = math.sqrt(1 + PAIR**2 + seed_sd**2 + ITEM**2 + WORD**2 + SKILL**2)
    levels = np.concatenate([np.linspace(*LEVELS, languages) for _, languages in TARGETS.values()])
    return float((norm.cdf((levels + shift) / sd) - norm.cdf(levels / sd)).mean())


def contributions(answers, system):
    """The paired differences of one system to the baseline, target by target."""
    parts = {}
    for target, right in answers.items():
        items = right[system] - right[0]
        seeds, languages = tuple(range(len(items))), tuple(map(str, range(items.shape[2])))
        parts[target] = contribution(Paired(target, seeds, languages, items.mean(axis=1), items))
    return parts


def satterthwaite(found):
    """Half-width with one t quantile at Satterthwaite's degrees of freedom, for comparison."""
    return found.se * float(student.isf(0.025, found.df))


def coverage(n_seeds, seed_sd, studies, shift=0.15, seed=1):
    """Share of intervals that hold the truth: ours, Satterthwaite's; and the share of the variance due to seeds."""
    rng = np.random.default_rng([seed, n_seeds, round(1000 * seed_sd)])
    true, hits, plain, share = truth(shift, seed_sd), 0, 0, []
    for _ in range(studies):
        found = effect(contributions(study(rng, n_seeds, seed_sd, (0.0, shift)), 1).values())
        hits += found.low <= true <= found.high
        plain += abs(found.estimate - true) <= satterthwaite(found)
        share.append(found.se_seeds**2 / found.se**2)
    return hits / studies, plain / studies, float(np.mean(share))


def false_alarms(n_seeds, seed_sd, studies, systems=8, seed=2, failing=0.0):
    """Share of families without any effect that reject anything: the primary one, and each target's."""
    rng = np.random.default_rng([seed, n_seeds, round(1000 * seed_sd), *([round(100 * failing)] if failing else [])])
    alarms = dict.fromkeys(["primary", *TARGETS], 0)
    for _ in range(studies):
        answers = study(rng, n_seeds, seed_sd, (0.0,) * (systems + 1), failing)
        parts = {k: contributions(answers, k) for k in range(1, systems + 1)}
        families = {"primary": {k: effect(p.values()) for k, p in parts.items()}}
        families |= {target: {k: effect([p[target]]) for k, p in parts.items()} for target in TARGETS}
        for name, members in families.items():
            alarms[name] += any(tested.significant for tested in family(members).values())
    return {name: n / studies for name, n in alarms.items()}


def power(n_seeds, size, studies, members=8, seed=3):
    """Share of families of which the one true effect is found: by ``family``, and by Holm's correction without floor.

    Scores of seeds are normal, items add nothing; ``size`` counts standard errors of a mean over the seeds.
    """
    rng = np.random.default_rng([seed, n_seeds, round(10 * size)])
    found = plain = 0
    for _ in range(studies):
        scores = rng.standard_normal((members, n_seeds))
        scores[0] += size / math.sqrt(n_seeds)
        effects = {}
        for k, own in enumerate(scores):
            mean, se = float(own.mean()), float(own.std(ddof=1)) / math.sqrt(n_seeds)
            p = 2 * float(student.sf(abs(mean) / se, n_seeds - 1))
            effects[k] = Effect(
                mean, 0, 0, p, se, se, 0.0, n_seeds - 1, 1, n_seeds, 100, "seeds and items", df_items=99
            )
        found += family(effects)[0].significant
        plain += holm([e.p for e in effects.values()])[0] <= 0.05
    return found / studies, plain / studies


def main(studies=1000, families=4000):
    """Write the tables."""
    write = sys.stdout.write
    write("| seeds | scatter of seeds | seeds' share of the variance | coverage | one Satterthwaite t |\n")
    write("|---|---|---|---|---|\n")
    for n_seeds in SEEDS:
        for name, sd in SEED_SD.items():
            ours, plain, share = coverage(n_seeds, sd, studies)
            write(f"| {n_seeds} | {name} | {share:.2f} | {ours:.1%} | {plain:.1%} |\n")
    write("\n| seeds | scatter of seeds | primary | " + " | ".join(TARGETS) + " |\n|---|---|---|---|---|\n")
    for n_seeds in SEEDS:
        for name in ("none", "like the items", "dominant", "beyond"):
            write(_line(n_seeds, name, false_alarms(n_seeds, SEED_SD[name], families)))
        for name, failing in FAILING.items():
            write(_line(n_seeds, name, false_alarms(n_seeds, SEED_SD["small"], families, failing=failing)))
    write("\n| seeds | one true effect among eight, standard errors | found | without the floor |\n|---|---|---|---|\n")
    for n_seeds in SEEDS:
        for size in (5, 8):
            ours, plain = power(n_seeds, size, 5 * families)
            write(f"| {n_seeds} | {size} | {ours:.1%} | {plain:.1%} |\n")


def _line(n_seeds, name, alarms):
    return f"| {n_seeds} | {name} | " + " | ".join(f"{v:.1%}" for v in alarms.values()) + " |\n"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
