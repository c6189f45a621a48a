import re
from html.parser import HTMLParser

import pytest
import report_fakes as fakes

from gifthorse.report import from_vetting
from gifthorse.report.plot import FLAG, VARIABLES, norms_svg


def drawn(classes, targets):
    document = from_vetting(fakes.vetting(fakes.verdict(classes, targets)))
    return norms_svg(document.labels, document.targets)


@pytest.mark.parametrize("classes", [2, 12, 100, 101, 2622])
def test_marks_the_flagged_label_and_stays_small(classes):
    svg = drawn(classes, (1,))
    assert svg.startswith("<svg")
    assert VARIABLES[FLAG] in svg
    assert VARIABLES[FLAG] not in drawn(classes, ())
    assert len(svg) < 60_000
    assert not re.search(r"https?:|<metadata|<style|#0[1-4]0[1-4]0[1-4]", svg)
    HTMLParser().feed(svg)


def test_same_numbers_same_bytes():
    assert drawn(43, (33,)) == drawn(43, (33,))


def test_of_many_flagged_labels_some_are_marked():
    assert drawn(2000, tuple(range(1000))).count(VARIABLES[FLAG]) < 150


def test_nothing_to_draw():
    assert norms_svg([], ()) == ""
