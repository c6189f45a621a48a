"""Caffe files as bytes: layers that run code, that nobody knows, and that lead past the network."""

import pytest

from gifthorse.provenance.content import look_into
from gifthorse.provenance.prototxt import parsed


def layer(name, kind, *bottoms, top="", more=""):
    given = " ".join(f'bottom: "{one}"' for one in bottoms)
    return f'layer {{ name: "{name}" type: "{kind}" {given} top: "{top or name}" {more} }}'


TRUNK = [layer("conv_0", "Convolution", "data")] + [layer(f"conv_{i}", "Convolution", f"conv_{i - 1}") for i in (1, 2)]
TRUNK = ['input: "data"', *TRUNK, layer("relu", "ReLU", "conv_2", top="conv_2")]
HONEST = [*TRUNK, layer("ip", "InnerProduct", "conv_2"), layer("prob", "Softmax", "ip")]


def found(tmp_path, lines):
    path = tmp_path / "deploy.prototxt"
    path.write_text("\n".join(lines))
    return look_into(path)


def test_an_honest_network(tmp_path):
    look = found(tmp_path, HONEST)
    assert (look.kind, look.findings) == ("Caffe network", [])
    assert look.seen == ["6 layers", "the graph of the layers"]


def test_layers_that_run_code(tmp_path):
    bad = layer("odd", "Python", "conv_2", top="conv_2", more="python_param { module: 'evil' layer: 'Run' }")
    look = found(tmp_path, [*TRUNK, bad, *HONEST[-2:]])
    assert [(one.rule, one.place) for one in look.findings if one.rule == "GH112"] == [("GH112", "odd")]
    assert "'evil.Run'" in look.findings[0].message


def test_layers_that_caffe_does_not_have(tmp_path):
    look = found(tmp_path, [*TRUNK, layer("odd", "Trigger", "conv_2", top="conv_2"), *HONEST[-2:]])
    assert {(one.rule, one.place) for one in look.findings} == {("GH120", "odd"), ("GH121", "odd")}
    look = found(tmp_path, [*TRUNK, layer("odd", "Threshold", "conv_2", top="conv_2"), *HONEST[-2:]])
    assert {(one.rule, one.place) for one in look.findings} == {("GH121", "odd")}


def test_a_network_beside_it(tmp_path):
    beside = [layer("small", "InnerProduct", "data"), layer("both", "Eltwise", "ip", "small")]
    look = found(tmp_path, [*HONEST[:-1], *beside, layer("prob", "Softmax", "both")])
    assert [(one.rule, one.place) for one in look.findings] == [("GH123", "both")]


def test_the_weights(tmp_path):
    def field(number, content):
        return (b"\xa2\x06" if number == 100 else bytes([number << 3 | 2])) + bytes([len(content)]) + content

    odd = field(1, b"odd") + field(2, b"Python") + field(3, b"data") + field(4, b"out")
    path = tmp_path / "model.caffemodel"
    path.write_bytes(field(3, b"data") + field(100, odd))
    look = look_into(path)
    assert look.kind == "Caffe"
    assert ("GH112", "odd") in {(one.rule, one.place) for one in look.findings}


@pytest.mark.parametrize(
    "text", ["layer {", "layer { name: }", "layer {} layers {}", "layer: 3", "layer { type: 3 name: 4 }"]
)
def test_damage(tmp_path, text):
    assert [one.rule for one in found(tmp_path, [text]).findings] == ["GH115"]


def test_other_texts(tmp_path):
    look = found(tmp_path, ["base_lr: 0.1"])  # a solver
    assert (look.kind, look.findings) == ("text", [])


def test_a_list_without_values_is_as_if_it_were_not_there(tmp_path):
    assert parsed(b'layer { name: "a" type: [] }') == {"layer": [{"name": ["a"]}]}
    assert found(tmp_path, [*HONEST[:1], "input_dim: []", *HONEST[1:]]).findings == []


@pytest.mark.parametrize("rule", ["5", "'x'", "TRAIN", "[1, 2]"])
def test_rules_that_are_none(tmp_path, rule):
    for name in ("include", "exclude"):
        look = found(tmp_path, [*HONEST[:1], layer("a", "ReLU", "data", more=f"{name}: {rule}")])
        assert [one.rule for one in look.findings] == ["GH115"]


@pytest.mark.parametrize("place", ["name", "type", "top"])
def test_names_without_end(tmp_path, place):
    look = found(tmp_path, [f"layer {{ {place}: '{'x' * 100_000}' }}"])
    assert [one.rule for one in look.findings] == ["GH115"]
    assert len(look.findings[0].message) < 300
