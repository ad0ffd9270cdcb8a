from __future__ import annotations

import numpy as np

from satseg.evaluation.bootstrap import Bootstrap, Intervals
from satseg.evaluation.tally import class_scores, mean_scores, pixel_tally


def tiles(count: int, seed: int = 0) -> list[np.ndarray]:
    """Return tallies of tiles whose accuracy differs from tile to tile."""
    rng = np.random.default_rng(seed)
    found = []
    for right in rng.beta(8, 3, count):
        truth = rng.integers(0, 2, 400)
        guess = np.where(rng.random(400) < right, truth, 1 - truth)
        found.append(pixel_tally(np.histogram2d(truth, guess, bins=2)[0]))
    return found


def intervals(tallies: list[np.ndarray], *, replicates: int = 1000, seed: int = 0) -> Intervals:
    bootstrap = Bootstrap(2, replicates=replicates, seed=seed)
    for i, tally in enumerate(tallies):
        bootstrap.add((i,), tally)
    return bootstrap.intervals()


def test_intervals_are_those_of_drawing_tiles_with_replacement() -> None:
    tallies = np.stack(tiles(60))
    drawn = np.random.default_rng(1).integers(0, 60, (4000, 60))
    resampled = mean_scores(tallies[drawn].sum(axis=1))
    found = intervals(list(tallies), replicates=4000)
    for name in ("mean_iou", "global_accuracy", "kappa"):
        expected = np.quantile(resampled[name], (0.025, 0.975))
        assert np.abs(found.overall[name] - expected).max() < 0.06 * np.ptp(expected), name


def test_about_95_of_100_intervals_hold_the_score_of_the_population() -> None:
    truth = class_scores(sum(tiles(3000, seed=99)))["iou"][1]
    hits = 0
    for seed in range(100):
        low, high = intervals(tiles(40, seed), replicates=200, seed=seed).classes[1]["iou"]
        hits += low <= truth <= high
    assert 85 <= hits <= 100


def test_the_order_of_pieces_does_not_matter_and_the_seed_does() -> None:
    tallies = tiles(10)
    forwards, backwards = Bootstrap(2, replicates=50, seed=3), Bootstrap(2, replicates=50, seed=3)
    for i in range(10):
        forwards.add((0, i), tallies[i])
        backwards.add((0, 9 - i), tallies[9 - i])
    assert forwards.intervals() == backwards.intervals()
    assert intervals(tallies, seed=1) != intervals(tallies, seed=2)


def test_pieces_of_one_unit_are_drawn_together() -> None:
    one, other = tiles(2)
    apart, together = Bootstrap(2, replicates=50), Bootstrap(2, replicates=50)
    for bootstrap, pieces in ((apart, (one, other)), (together, (one + other,))):
        for piece in pieces:
            bootstrap.add((7,), piece)
    assert apart.intervals().overall["mean_iou"] is None
    for bootstrap in (apart, together):
        bootstrap.add((8,), tiles(3)[2])
    assert apart.intervals() == together.intervals()
    assert apart.intervals().overall["mean_iou"] is not None


def test_one_unit_has_no_interval_and_a_class_that_is_in_one_unit_alone_neither() -> None:
    one, other = tiles(2)
    alone = intervals([one])
    assert set(alone.overall.values()) == set(alone.classes[0].values()) == {None}
    other[1] = 0
    found = intervals([one, other])
    assert found.overall["mean_iou"] is not None
    assert found.classes[0]["iou"] is not None
    assert set(found.classes[1].values()) == {None}
    assert intervals([np.diag([1, 0]) @ one, np.diag([0, 1]) @ one]).overall["mean_iou"] is not None


def test_a_score_that_is_not_defined_has_no_interval() -> None:
    found = intervals([pixel_tally(np.array([[9, 1], [0, 0]]))] * 5)
    assert "recall" not in found.classes[1]
    assert "bf" not in found.overall
    assert set(found.classes[0]) >= {"iou", "precision", "recall", "f1"}
