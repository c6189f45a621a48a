"""What is said beforehand, and how it learns."""

import pytest

from gifthorse.bench.grid import grid_of
from gifthorse.bench.price import images_of, price

GOOD = {"attacks": [{"nine": "pn"}], "defences": [{"filter": "strip"}]}


def test_the_price_is_known_beforehand():
    grid = grid_of(GOOD | {"seeds": [0, 1], "attacks": [{"nine": ["pn", "fsa"]}]})
    cost = price(grid)
    assert (cost.models, cost.twins, cost.cells, cost.finished, cost.measured) == (4, 2, 12, 0, 0.0)
    # Two networks of 12 epochs, forward and twice backward at 49.7 million operations an image; judging; STRIP.
    assert cost.seconds == pytest.approx(4 * 2 * 12 * 39_209 * 3 * 49.708032e6 / 1e11 + 12 * 10 + 6 * 30)
    fewer = price(grid, images={"gtsrb": 10_000})
    assert fewer.seconds == pytest.approx(4 * 2 * 12 * 10_000 * 3 * 49.708032e6 / 1e11 + 12 * 10 + 6 * 30)
    assert 4 * 500_000 < cost.bytes < 100_000_000


def test_images_are_counted_where_there_are_any(tmp_path):
    assert images_of(grid_of(GOOD), tmp_path) == {}
    drawn = {"name": "mine", "data": "signs", "arch": "gtsrb", "attack": {"name": "badnets"}, "samples": 50}
    assert images_of(grid_of(GOOD | {"attacks": [{"recipe": drawn}]}), None) == {"signs": 6_400}


def test_what_is_finished_costs_nothing_and_tells_what_the_rest_costs():
    grid = grid_of(GOOD | {"seeds": [0, 1]})
    keys = [entry.cell.key for entry in grid.entries if entry.defence.name == "strip"]
    rows = {keys[0]: {"cost": {"seconds": 5.0, "judging": 2.0}}}
    less, all_of_it = price(grid, rows), price(grid)
    assert (less.cells, less.finished) == (7, 1)
    # One of four cells with STRIP is there, and the three that are left take as long as that one: 7 s, where 40 s were
    # assumed. All else is corrected by as much.
    assert less.seconds == pytest.approx((all_of_it.seconds - 4 * 40) * 7 / 40 + 3 * 7)
    assert less.measured == pytest.approx(3 * 7 / less.seconds)
