import pytest

from gifthorse.core.spec import Spec
from gifthorse.detect import DETECTORS
from gifthorse.report.limits import cannot_see, looked_for


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_says_what_it_looks_for_and_cannot_see(name):
    spec = Spec.of(DETECTORS[name]())
    assert len(looked_for(spec)) == 3
    assert not any("{" in line for line in looked_for(spec))
    assert len(cannot_see(spec)) > 3


def test_the_line_is_the_one_that_was_used():
    spec = Spec.of(DETECTORS["neural-cleanse"](alpha=0.2))
    assert "p < 0.2" in looked_for(spec)[2]
    assert "20%" in looked_for(spec)[2]


def test_nothing_is_claimed_for_a_detector_of_others():
    assert looked_for(Spec("ouija")) == ()
