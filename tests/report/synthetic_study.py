"""Synthetic studies, deterministic, with the holes that real ones have."""

import numpy as np
import pandas as pd

# class 0 to 5, many scripts: the 49 languages of the embedded tasks
CODES = (
    "en ar de es fr ja zh eu fa fi hu hi it pt nl ko ru pl tr vi af bg uk bn ur el et he id ms tl ka kk lt ro ta th "
    "mr pa sw yo wo az gu jv ml te my qu"
)
LANGUAGES = tuple(CODES.split())
INTERMEDIATES = ("none", "digits_text", "digits_image")
TARGETS = ("geo", "lookup")
MISSING = ("digits_image", "geo", 1)
UNDEFINED = ("qu", "no name of this kind in the locale")
COLLAPSED = ("digits_text", "geo", 0, "my")


def row(intermediate, target, seed, language, metric, value, **more):
    return {
        "study": "synthetic",
        "cell": f"{intermediate}-{target}-{seed}",
        "role": "target",
        "encoder": "embedded:e5-small",
        "intermediate": intermediate,
        "target": target,
        "benchmark_version": "",
        "seed": seed,
        "split": "test",
        "language": language,
        "metric": metric,
        "is_main": False,
        "value": value,
        "n": 149,
        "reason": "",
        **more,
    }


def study(
    intermediates=INTERMEDIATES,
    targets=TARGETS,
    languages=LANGUAGES,
    seeds=(0, 1),
    effect=0.0,
    missing=MISSING,
    seed_sd=0.01,
):
    """Result rows: the last target needs no training, so that its baseline has the first seed only."""
    rng = np.random.default_rng(20260101)
    rows = []
    level = {lang: rng.uniform(0.3, 0.8) for lang in languages} | {"en": 0.85}
    for target in targets:
        untrained = target == targets[-1]
        for intermediate in intermediates:
            shift = 0.0 if intermediate == "none" else effect
            for seed in seeds:
                if (intermediate, target, seed) == missing:
                    continue
                if untrained and intermediate == "none" and seed != seeds[0]:
                    continue
                run = rng.normal(0, seed_sd)
                for lang in languages:
                    value = float(np.clip(level[lang] + shift + run + rng.normal(0, 0.01), 0, 1))
                    reason = ""
                    if lang == UNDEFINED[0] and target == targets[0]:
                        value, reason = float("nan"), UNDEFINED[1]
                    rows.append(row(intermediate, target, seed, lang, "accuracy", value, is_main=True, reason=reason))
                    if lang != "en" and not untrained:
                        rows.append(
                            row(intermediate, target, seed, lang, "consistency/agreement", rng.uniform(0.4, 0.9))
                        )
                if not untrained:
                    for metric in ("pairwise_mean", "unanimous", "fleiss_kappa", "krippendorff_alpha", "all_correct"):
                        rows.append(
                            row(intermediate, target, seed, "all", f"consistency/{metric}", rng.uniform(0.2, 0.6))
                        )
                    rows.append(row(intermediate, target, seed, "all", "consistency/n_common", 120.0))
                    collapsed = (intermediate, target, seed) == COLLAPSED[:3]
                    rows.append(row(intermediate, target, seed, "all", "consistency/collapse", float(collapsed)))
                    if collapsed:
                        rows.append(row(intermediate, target, seed, COLLAPSED[3], "consistency/collapse", 0.97))
    for intermediate in intermediates[1:]:
        for seed in seeds:
            rows.append(
                row(intermediate, "", seed, "en", "accuracy", rng.uniform(0.8, 0.95), is_main=True)
                | {"role": "intermediate", "split": "validation"}
            )
    return pd.DataFrame(rows)
