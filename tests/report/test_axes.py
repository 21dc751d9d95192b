"""Source languages and training sizes: by hand, the curve against known parameters, its misfit against SciPy."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit
from scipy.stats import f_oneway
from synthetic_study import row

from xmit.report import size_curves, source_table
from xmit.report.axes import fit_curve, plan_axes

AXES = {
    "intermediates": {
        "none": {"task": None, "source_language": None, "train_examples": None},
        "mnli": {"task": "MNLI", "source_language": "en", "train_examples": None},
        "mnli@source_language=de": {"task": "MNLI", "source_language": "de", "train_examples": None},
        "squad": {"task": "SQuAD", "source_language": "en", "train_examples": None},
    },
    "targets": {"xnli": {"task": "XNLI", "source_language": "en", "train_examples": None}},
}


def test_source_languages_are_ranked_on_what_all_have():
    values = {
        # target, language: English source, German source, in seed 0; seed 1 is 0.02 higher in German
        ("xnli", "sw"): (0.5, 0.6),
        ("xnli", "fr"): (0.7, 0.7),
        ("xnli", "de"): (0.1, 0.9),  # a source of one of the two
        ("xnli", "en"): (0.9, 0.1),  # likewise, and the target's own
        ("panx", "sw"): (0.4, 0.5),
    }
    rows = []
    for (target, code), scores in values.items():
        for seed in (0, 1):
            for name, value in zip(("mnli", "mnli@source_language=de"), scores, strict=True):
                extra = 0.02 * seed * ("de" in name)
                rows.append(row(name, target, seed, code, "accuracy", value + extra, is_main=True))
    rows.append(row("mnli", "panx", 0, "fr", "accuracy", 1.0, is_main=True))  # the other lacks it
    rows.append(row("squad", "xnli", 0, "sw", "accuracy", 1.0, is_main=True))  # alone of its task
    table = source_table(pd.DataFrame(rows), AXES)
    assert table["source"].tolist() == ["de", "en"]
    assert table["rank"].tolist() == [1, 2]
    assert table["transfer"].tolist() == [pytest.approx((0.6 + 0.7 + 0.5) / 3 + 0.01), pytest.approx(1.6 / 3)]
    np.testing.assert_allclose(table["seeds"][0], [0.6, 0.62])
    assert table[["n_targets", "n_languages", "n_seeds"]].iloc[0].tolist() == [2, 2, 2]
    assert not len(source_table(pd.DataFrame(rows), {}))


def test_source_language_of_the_target():
    axes = {
        "targets": {
            "xnli": {"task": "XNLI", "source_language": "en"},
            "xnli@source_language=ru": {"task": "XNLI", "source_language": "ru"},
        }
    }
    rows = [row("none", name, 0, code, "accuracy", value, is_main=True)
            for name, level in (("xnli", 0.5), ("xnli@source_language=ru", 0.6))
            for code, value in (("en", 0.9), ("ru", 0.9), ("sw", level), ("th", level + 0.1))]  # fmt: skip
    table = source_table(pd.DataFrame(rows), axes, source_language={"xnli": "en", "xnli@source_language=ru": "ru"})
    assert table[["phase", "source", "n_languages"]].to_numpy().tolist() == [["target", "ru", 2], ["target", "en", 2]]
    assert table["transfer"].tolist() == [pytest.approx(0.65), pytest.approx(0.55)]


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.2, 3.0, 0.5), (0.0, 1.5, 0.2), (0.31, 40.0, 1.1)])
def test_the_curve_finds_known_parameters(floor, scale, exponent):
    sizes = np.array([300, 1000, 3000, 10_000, 30_000, 100_000], dtype=float)
    curve = fit_curve(sizes, 1 - floor - scale / sizes**exponent)
    assert curve.floor == pytest.approx(floor, abs=1e-4)
    assert curve.exponent == pytest.approx(exponent, rel=1e-3)
    assert curve.scale == pytest.approx(scale, rel=1e-2)
    assert curve.rmse < 1e-6
    np.testing.assert_allclose(curve.score(sizes), curve.scores, atol=1e-6)


def test_the_curve_is_scipys_least_squares():
    rng = np.random.default_rng(3)
    sizes = np.repeat([300.0, 1000, 3000, 10_000, 100_000], 4)
    scores = 1 - 0.25 - 4 / sizes**0.4 + rng.normal(0, 0.005, len(sizes))
    curve = fit_curve(sizes, scores)
    (floor, scale, exponent), _ = curve_fit(lambda d, e, a, k: e + a / d**k, sizes, 1 - scores, p0=(0.2, 3, 0.5))
    assert (curve.floor, curve.scale, curve.exponent) == pytest.approx((floor, scale, exponent), rel=1e-3)
    assert curve.misfit == ""
    assert curve.p > 0.05


def test_misfit_is_flagged():
    sizes = np.repeat([100.0, 1000, 10_000, 100_000, 1_000_000], 3)
    noise = np.tile([-0.001, 0.0, 0.001], 5)
    step = np.where(sizes < 50_000, 0.5, 0.7) + noise
    curve = fit_curve(sizes, step)
    assert "farther from the curve than the seeds scatter" in curve.misfit
    # the test against SciPy: of residuals the seeds' scatter is the same, and the sizes' part has two degrees less
    residuals = [step[sizes == d] - curve.score(d) for d in curve.sizes]
    within = sum(((r - r.mean()) ** 2).sum() for r in residuals) / 10
    between = 3 * sum(r.mean() ** 2 for r in residuals)
    assert f_oneway(*residuals).statistic == pytest.approx(
        (between - 15 * np.mean(np.concatenate(residuals)) ** 2) / 4 / within
    )
    from scipy.stats import f

    assert curve.p == pytest.approx(f.sf(between / 2 / within, 2, 10))
    assert "falls with more data" in fit_curve(sizes, 0.8 - step / 2).misfit
    assert "3 sizes for 3 parameters" in fit_curve(sizes[:9], step[:9] + sizes[:9] / 1e6).misfit
    assert "cannot be tested" in fit_curve(sizes[::3], 0.9 - 2 / sizes[::3] ** 0.5).misfit


def test_curves_of_a_study():
    axes = {"intermediates": {}}
    rows = []
    for size in (100, 1000, 10_000, 100_000):
        name = f"mnli@train_examples={size}"
        axes["intermediates"][name] = {"task": "MNLI", "source_language": "en", "train_examples": size}
        for seed in (0, 1):
            score = 0.8 - 2 / size**0.5 + 0.01 * seed
            rows += [row(name, "xnli", seed, code, "accuracy", score + up, is_main=True)
                     for code, up in (("sw", -0.1), ("de", 0.1), ("en", 5.0))]  # fmt: skip
    (curve,) = size_curves(pd.DataFrame(rows), axes)
    assert (curve.task, curve.source, curve.target) == ("MNLI", "en", "xnli")
    assert curve.sizes == (100, 1000, 10_000, 100_000)
    np.testing.assert_allclose(curve.scores, [0.8 - 2 / s**0.5 + 0.005 for s in curve.sizes])
    np.testing.assert_allclose(curve.spread, [0.01] * 4)
    assert curve.exponent == pytest.approx(0.5, abs=0.01)


def test_axes_are_read_from_the_plan():
    cells = [
        {"intermediate": "mnli@train_examples=100", "target": "", "source_language": "en",
         "config": {"data": {"class_path": "xmit.tasks.MNLI", "init_args": {"train_examples": 100}}}},
        {"intermediate": "mnli_de", "target": "", "source_language": "de",
         "config": {"data": {"class_path": "MNLI", "init_args": {"source_language": ["de", "ru"]}}}},
        {"intermediate": "mnli_de", "target": "xnli", "source_language": "en",
         "config": {"data": {"class_path": "XNLI"}}},
    ]  # fmt: skip
    assert plan_axes(cells) == {
        "intermediates": {
            "mnli@train_examples=100": {"task": "MNLI", "source_language": "en", "train_examples": 100},
            "mnli_de": {"task": "MNLI", "source_language": "de+ru", "train_examples": None},
        },
        "targets": {"xnli": {"task": "XNLI", "source_language": "en", "train_examples": None}},
    }
