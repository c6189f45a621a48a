from xml.etree import ElementTree

import pytest

from gifthorse.errors import OptionError
from gifthorse.report.activations import FLAG, activations_svg


def test_the_neurons_are_marked_and_named():
    svg = activations_svg([1.0, 0.5, 0.0, 2.0], [1.0, 0.5, 4.0, 2.0], [2], layer="network.conv_2")
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert "channel of network.conv_2" in svg
    assert FLAG in svg
    assert FLAG not in activations_svg([1.0, 0.5], [1.0, 0.5], [], layer="one")


def test_numbers_do_not_lie_on_each_other():
    svg = activations_svg([1.0] * 128, [1.0] * 128, [53, 52, 93], layer="one")
    written = [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"53", "93"} < set(written)
    assert "52" not in written


def test_a_layer_may_be_called_anything():
    svg = activations_svg([1.0], [2.0], [0], layer="<$x$&>")
    assert "channel of &lt;$x$&amp;&gt;" in svg


def test_a_layer_that_is_silent_can_be_drawn():
    ElementTree.fromstring(activations_svg([0.0, 0.0], [0.0, 0.0], [1, 0], layer="one"))


def test_same_numbers_same_bytes():
    first, again = (activations_svg([0.1] * 128, [0.2] * 128, [5, 7], layer="one") for _ in range(2))
    assert first == again


@pytest.mark.parametrize(("clean", "triggered"), [([], []), ([1.0], [1.0, 2.0])])
def test_a_value_for_each_channel(clean, triggered):
    with pytest.raises(OptionError, match="a value for each channel"):
        activations_svg(clean, triggered, [], layer="one")
