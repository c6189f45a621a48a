"""Games whose solution is known, and what counts as a gain."""

import numpy as np
import pytest

from gifthorse.bench.game import equilibrium, gain, gains, game_of, plausible
from gifthorse.errors import DataError

from .rows import result, row


def test_rock_paper_scissors():
    found = equilibrium(np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]))
    assert found.value == pytest.approx(0, abs=1e-9)
    assert found.attacker == pytest.approx([1 / 3] * 3)
    assert found.defender == pytest.approx([1 / 3] * 3)
    assert found.worst == 1


def test_two_by_two_with_a_known_mix():
    # The attacker plays the first row with p: 3p + 0 (1 - p) = 1p + 2 (1 - p), so p = 1/2; the value is 3/2.
    # The defender plays the first column with q: 3q + 1 (1 - q) = 0 q + 2 (1 - q), so q = 1/4.
    found = equilibrium(np.array([[3.0, 1], [0, 2]]))
    assert found.value == pytest.approx(1.5)
    assert found.attacker == pytest.approx([0.5, 0.5])
    assert found.defender == pytest.approx([0.25, 0.75])
    assert (found.worst, found.best, found.answer) == (2, 1, 1)


def test_what_is_better_in_every_case_is_played_alone():
    found = equilibrium(np.array([[0.9, 0.1], [0.8, 0.2], [1.0, 0.3]]))
    assert (found.attacker, found.defender) == (pytest.approx([0, 0, 1]), pytest.approx([0, 1]))
    assert (found.value, found.worst) == (pytest.approx(0.3), 0.3)


@pytest.mark.parametrize("matrix", [np.zeros((0, 2)), np.zeros(3), np.array([[np.nan]])])
def test_no_game(matrix):
    with pytest.raises(DataError, match="needs a finite matrix"):
        equilibrium(matrix)


@pytest.mark.parametrize(
    ("backdoored", "honest", "expected"),
    [
        ({"success": 0.9}, {}, 0.9),
        ({"success": 0.1, "after": 0.90}, {"after": 0.95}, 0.1 + 0.05),  # the backdoored model lost more
        ({"success": 0.1, "after": 0.95}, {"after": 0.85}, 0.1 + 0.10),  # the honest one did
        ({"success": 0.1, "after": 0.99}, {"after": 0.99}, 0.1),  # accuracy that is won is no loss for the attacker
        ({"success": 0.9, "found": True}, {"found": False}, 0.0),  # nobody deploys it
        ({"success": 0.9, "found": False}, {"found": False}, 0.9),
        ({"success": 0.9, "found": True}, {"found": True}, 0.95),  # a detector that accuses all costs the honest model
        ({"success": 0.2, "found": True, "repaired": True}, {"found": True, "repaired": True}, 0.2),
        ({"success": 1.0, "before": 0.80, "after": 0.80}, {}, 0.0),  # nobody takes so bad a model
    ],
)
def test_a_gain(backdoored, honest, expected):
    assert gain(row(**backdoored), row(triggers=0, **honest)) == pytest.approx(expected)


def test_a_game_is_the_mean_over_seeds():
    results = [
        result("a", "none", row(success=1.0), seed=0),
        result("a", "none", row(success=0.8), seed=1),
        result("a", "strip", row(success=0.5), seed=0),
        result("a", "strip", row(success=0.1), seed=1),
    ]
    game = game_of(results)
    assert game.matrix.tolist() == [[pytest.approx(0.9), pytest.approx(0.3)]]
    assert (game.attacks, game.defences) == (("a",), ("none", "strip"))
    assert game.of("strip").matrix.shape == (1, 1)


def test_a_defence_that_cannot_be_applied_leaves_the_model_as_it_is():
    lacking = row() | {"outcome": "not applicable", "measured": {}}
    results = [result("a", "none", row(success=0.7)), result("a", "strip", lacking, twin=lacking)]
    assert gains(results) == {("a", "none"): 0.7, ("a", "strip"): 0.7}


def test_an_attack_that_diverges_gains_nothing():
    lost = row() | {"outcome": "diverged", "measured": {}}
    results = [result("a", "none", lost), result("a", "strip", lost)]
    assert gains(results) == {("a", "none"): 0.0, ("a", "strip"): 0.0}


def test_a_game_needs_every_cell():
    with pytest.raises(DataError, match="a against strip is not finished"):
        game_of([result("a", "none", row()), result("a", "strip", None)])


def test_the_interval_of_a_value_is_of_seeds_and_images():
    rows = []
    for seed, success in enumerate((0.6, 0.8)):
        rows += [result("a", "none", row(), seed=seed), result("a", "strip", row(success=success), seed=seed)]
    bounds = plausible(rows)
    low, high = bounds["strip"]
    # Either seed may come twice, and a rate of 100 images is known to about ten points.
    assert 0.45 < low < 0.62
    assert 0.78 < high < 0.93
    assert bounds["none"][0] > 0.95
    assert bounds[""][1] <= bounds["strip"][1] + 1e-9  # who may choose loses no more
    assert plausible(rows) == bounds
