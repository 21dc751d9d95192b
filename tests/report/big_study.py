"""A whole synthetic study on disk: result rows that follow from prediction rows, with known effects.

``python tests/report/big_study.py FOLDER`` writes one of 12 intermediates × 12 targets × 40 languages × 5 seeds and
times its report.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from synthetic_study import LANGUAGES, row

from xmit.languages import get_language
from xmit.metrics.functional import all_correct, fleiss_kappa, krippendorff_alpha, pairwise_agreement, unanimity

LABELS = np.array(["contradiction", "entailment", "neutral"], dtype=object)
PLACES = {
    "ar": "القاهرة", "fa": "تهران", "ur": "لاہور", "he": "ירושלים", "hi": "दिल्ली", "mr": "मुंबई", "bn": "ঢাকা",
    "ta": "சென்னை", "te": "హైదరాబాద్", "th": "กรุงเทพ", "zh": "北京", "ja": "東京", "ko": "서울", "ka": "თბილისი",
    "el": "Αθήνα", "ru": "Москва", "my": "ရန်ကုန်", "ml": "കൊച്ചി", "gu": "સુરત", "pa": "ਅੰਮ੍ਰਿਤਸਰ",
}  # fmt: skip
MIXED = (*LANGUAGES[:20], *LANGUAGES[-20:])


def effect_of(number, low_resource):
    """The true effect of an intermediate in points/100: one helps everywhere, one the poor alone, one harms."""
    return {1: 0.04, 2: 0.05 if low_resource else 0.0, 3: -0.04}.get(number, 0.0)


def write_study(
    folder, intermediates=12, targets=12, languages=MIXED, seeds=range(5), items=150, missing=(3, 4, 2), rng=0
):
    """Write cells' predictions and return the result rows.

    The last target needs no training; every fourth has no parallel items; the second asks for texts.
    """
    rng = np.random.default_rng(rng)
    low = np.array([(get_language(code).resource_class or 0) <= 2 for code in languages])
    rows = []
    for t in range(targets):
        name = f"target{t:02d}"
        gold = rng.integers(0, 3, items)
        # in logits, so that no effect leaves 0 to 1
        ease = rng.normal(0, 1, (items, 1)) + np.where(low, -0.2, 0.8) + rng.normal(0, 0.3, len(languages))
        ease[:, languages.index("en")] += 1
        for i in range(intermediates + 1):
            shift = 4 * np.array([effect_of(i, is_low) for is_low in low])
            for seed in seeds if i or t < targets - 1 else seeds[:1]:
                if (i, t, seed) == missing:
                    continue
                luck = rng.normal(0, 0.04) + rng.normal(0, 0.04, len(languages))
                chance = 1 / (1 + np.exp(-(ease + shift + luck)))
                # items are answered rightly by a draw that languages share in part, as translations do
                draw = np.where(
                    rng.random((items, len(languages))) < 0.7, rng.random((items, 1)), rng.random((items, 1))
                )
                right = draw < chance
                rows += _cell(Path(folder), f"task{i - 1:02d}" if i else "none", name, seed, languages, gold, right, t)
    for i in range(intermediates):
        for seed in seeds:
            more = {"role": "intermediate", "split": "validation"}
            own = row(f"task{i:02d}", "", seed, "en", "accuracy", rng.uniform(0.8, 0.95), is_main=True)
            rows.append(own | more)
    return pd.DataFrame(rows)


def _cell(folder, intermediate, target, seed, languages, gold, right, number):
    items = len(gold)
    if number == 1:
        place = [PLACES.get(code, f"answer-{code}") for code in languages]
        truth = [json.dumps([p], ensure_ascii=False) for p in place] * items
        answer = np.where(right, np.array(place, dtype=object), "?").ravel()
        labels = right.astype(int)
    else:
        wrong = (gold[:, None] + 1 + (np.arange(len(languages)) % 2)) % 3
        labels = np.where(right, gold[:, None], wrong)
        answer, truth = LABELS[labels].ravel(), np.repeat(LABELS[gold], len(languages))
    frame = pd.DataFrame(
        {
            "task": target,
            "language": list(languages) * items,
            "id": np.repeat([f"item-{i:04d}" for i in range(items)], len(languages)),
            "prediction": answer,
            "scores": None,
            "target": truth,
            "item_score": right.ravel().astype(float),
        }
    )
    asked = (frame["language"] == "en").to_numpy()
    frame["text"] = np.where(asked, "Is this true of " + frame["id"] + "?\nلا أعرف: " + frame["target"], None)
    frame["options"] = None
    cell = f"{intermediate}--{target}-s{seed}"
    (folder / cell).mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / cell / "predictions.parquet", index=False)
    here = (intermediate, target, seed)
    found = [
        row(*here, code, "accuracy", float(value), is_main=True, n=items)
        for code, value in zip(languages, right.mean(axis=0), strict=True)
    ]
    dev = float(right[::2, languages.index("en")].mean())
    found.append(row(*here, "en", "accuracy", dev, is_main=True, n=items, split="validation"))
    if number % 4 != 3:
        pairs = pairwise_agreement(labels)
        overall = {
            "pairwise_mean": pairs[np.triu_indices(len(languages), 1)].mean(),
            "unanimous": unanimity(labels),
            "fleiss_kappa": fleiss_kappa(labels),
            "krippendorff_alpha": krippendorff_alpha(labels),
            "all_correct": all_correct(right),
            "n_common": float(items),
            "collapse": 0.0,
        }
        found += [row(*here, "all", f"consistency/{k}", float(v), n=items) for k, v in overall.items()]
        en = languages.index("en")
        found += [
            row(*here, code, f"consistency/{name}", float(value), n=items)
            for k, code in enumerate(languages)
            if k != en
            for name, value in (("agreement", pairs[en, k]), ("rankc", (1 + pairs[en, k]) / 2))
            if name == "agreement" or number != 1
        ]
    for line in found:
        line["cell"] = cell
    return found


if __name__ == "__main__":
    from xmit.report import write_report

    where = Path(sys.argv[1])
    start = time.time()
    if not (where / "rows.parquet").is_file():
        write_study(where).to_parquet(where / "rows.parquet")
    print(f"study written in {time.time() - start:.1f} s")
    study_rows = pd.read_parquet(where / "rows.parquet")
    busy = time.process_time()
    lost = [{"intermediate": "task02", "target": "target04", "seed": 2, "reason": "CUDA out of memory"}]
    start = time.time()
    page = write_report(where, study_rows, {"name": "synthetic", "missing": lost, "hardware": "none"})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    size = page.stat().st_size / 1e6
    spent = f"{time.time() - start:.1f} s, {time.process_time() - busy:.1f} s of them on the processor"
    print(f"{page}: {size:.2f} MB, {spent}, peak {peak:.2f} GiB")
