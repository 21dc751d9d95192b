"""Intervals over clusters of items against statsmodels' cluster-robust errors, and against the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols

from xmit.metrics import ItemScores, contribution, effect, pair_items
from xmit.metrics.paired import Paired


def frame(values, clusters, language="en"):
    """Prediction rows of scores by seed and item."""
    rows = [(s, f"i{i}", language, v, clusters[i]) for s, row in enumerate(values) for i, v in enumerate(row)]
    return pd.DataFrame(rows, columns=["seed", "id", "language", "item_score", "cluster"])


def compared(values, clusters):
    ours, zeros = (ItemScores.from_frame(frame(v, clusters)) for v in (values, np.zeros_like(values)))
    return effect([contribution(pair_items("t", ours, zeros))])


def test_one_seed_has_statsmodels_clustered_error():
    rng = np.random.default_rng(0)
    for _ in range(20):
        clusters = np.sort(rng.integers(0, 12, 60))
        values = rng.normal(size=12)[clusters] + rng.normal(size=60)
        table = pd.DataFrame({"d": values, "g": clusters})
        fitted = ols("d ~ 1", table).fit(cov_type="cluster", cov_kwds={"groups": table["g"]})
        found = compared(values[None], [f"g{c}" for c in clusters])
        assert found.n_items == len(set(clusters))
        assert found.estimate == pytest.approx(fitted.params["Intercept"])
        assert found.se == pytest.approx(fitted.bse["Intercept"])


def test_clusters_of_one_item_change_nothing_and_whole_copies_are_one_item():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 30)) + rng.normal(size=(4, 1)) + 2 * rng.normal(size=30)
    alone = compared(values, [None] * 30)
    assert compared(values, [f"g{i}" for i in range(30)]) == alone
    twice = compared(np.repeat(values, 3, axis=1), np.repeat([f"g{i}" for i in range(30)], 3))
    for name in ("estimate", "low", "high", "p", "se_seeds", "se_items", "n_items"):
        assert getattr(twice, name) == pytest.approx(getattr(alone, name)), name
    naive = compared(np.repeat(values, 3, axis=1), [None] * 90)
    assert naive.se_items < 0.7 * alone.se_items


def test_intervals_over_clusters_hold_the_truth_where_those_over_items_do_not():
    rng = np.random.default_rng(2)
    of, held = np.repeat(np.arange(50), 8), {"clusters": 0, "items": 0}
    for _ in range(200):
        items = 0.3 + rng.normal(size=50)[of] + 0.5 * rng.normal(size=400)
        values = (items + 0.5 * rng.normal(size=(3, 400)))[:, :, None]
        for kind, clusters in (("clusters", of), ("items", None)):
            found = effect(
                [contribution(Paired("t", (0, 1, 2), ("en",), values.mean(axis=1), values, clusters=clusters))]
            )
            held[kind] += found.low <= 0.3 <= found.high
    assert held["clusters"] >= 0.92 * 200
    assert held["items"] < 0.9 * 200


def test_what_is_one_cluster_in_any_language_is_one():
    parts = [
        frame(np.zeros((1, 5)), ["a", "a", "b", None, "c"], "en"),  # i0 and i1
        frame(np.zeros((1, 5)), ["x", "y", "y", "z", None], "sw"),  # i1 and i2
        frame(np.zeros((1, 5)), ["a", "b", "c", "d", "e"], "de"),  # the same names in another language
    ]
    clusters = ItemScores.from_frame(pd.concat(parts)).clusters
    assert clusters[0] == clusters[1] == clusters[2]
    assert len(set(clusters)) == 3
    assert ItemScores.from_frame(parts[0].drop(columns="cluster")).clusters is None
    assert ItemScores.from_frame(parts[0].assign(cluster=None)).clusters is None


def test_clusters_follow_their_items():
    """Where the other system lacks some, and where no language has an item's difference."""
    values = np.arange(6.0)[None] % 4
    ours = ItemScores.from_frame(frame(values, list("aabbcc")))
    other = ItemScores.from_frame(frame(np.zeros((1, 6)), [None] * 6).iloc[1:5])
    found = pair_items("t", ours, other)
    assert [found.clusters[0], found.clusters[3]] == [ours.clusters[0], ours.clusters[4]]
    part = contribution(found)
    centred = values[0, 1:5] - values[0, 1:5].mean()
    assert sorted(part.residuals[0]) == pytest.approx(sorted([centred[0] / 4, centred[1:3].sum() / 4, centred[3] / 4]))


def test_no_seed_in_common_gives_no_interval():
    ours = ItemScores.from_frame(frame(np.eye(3), list("aab")))
    other = ItemScores.from_frame(frame(np.eye(3), list("aab")).assign(seed=7).drop_duplicates("id"))
    assert effect([contribution(pair_items("t", ours, other))]).kind == "none"
