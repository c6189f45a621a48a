"""Bytes to images and back, without a service."""

import json
import math
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gifthorse.core.model import ModelSpec
from gifthorse.errors import RequestError
from gifthorse.guard.guarded import Judgement
from gifthorse.serve.protocol import OUTPUTS, read_request, write_response

SPEC = ModelSpec(input_shape=(1, 2, 2), num_classes=3)
VALUES = [0.0, 0.25, 0.5, 1.0]


def tensor(**changes):
    entry = {"name": "images", "shape": [1, 1, 2, 2], "datatype": "FP32", "data": VALUES} | changes
    return {name: value for name, value in entry.items() if value is not ...}


def read(request, tail=b"", *, length=None, most_images=4, most_json=100_000):
    head = request if isinstance(request, bytes) else json.dumps(request).encode()
    length = str(len(head)) if tail and length is None else length
    return read_request(head + tail, length, SPEC, most_images=most_images, most_json=most_json)


def test_flat_and_nested_data_are_the_same():
    flat = read({"inputs": [tensor()]})
    nested = read({"inputs": [tensor(data=[[[VALUES[:2], VALUES[2:]]]])]})
    assert flat.images.dtype == torch.float32
    assert flat.images.shape == (1, 1, 2, 2)
    assert torch.equal(flat.images, nested.images)
    assert flat.images.flatten().tolist() == VALUES


def test_bytes_are_white_at_255():
    assert read({"inputs": [tensor(datatype="UINT8", data=[0, 51, 102, 255])]}).images.flatten().tolist() == (
        pytest.approx([0, 0.2, 0.4, 1])
    )


@pytest.mark.parametrize("datatype", ["FP32", "UINT8"])
def test_binary_tensors(datatype):
    raw = struct.pack("<4f", *VALUES) if datatype == "FP32" else bytes([0, 51, 102, 255])
    entry = tensor(datatype=datatype, data=..., parameters={"binary_data_size": len(raw)})
    pixels = read({"inputs": [entry]}, raw).images.flatten().tolist()
    assert pixels == (VALUES if datatype == "FP32" else pytest.approx([0, 0.2, 0.4, 1]))


def test_outputs_and_whether_they_are_bytes():
    def asked(outputs=..., **parameters):
        request = {"inputs": [tensor()], "parameters": parameters}
        return [
            (one.name, one.binary) for one in read(request | ({} if outputs is ... else {"outputs": outputs})).outputs
        ]

    assert asked() == asked([]) == [("label", False), ("rejected", False), ("score", False)]
    assert asked(binary_data_output=True) == [("label", True), ("rejected", True), ("score", True)]
    own = [{"name": "logits", "parameters": {"binary_data": False}}, {"name": "label"}]
    assert asked(own, binary_data_output=True) == [("logits", False), ("label", True)]


LARGE = b'{"inputs":[{"name":"images","shape":[1,1,2,2],"datatype":"FP32","data":[%s,0,0,0]}]}'
BAD = {
    "no json": (b"{", 400, "not JSON"),
    "empty": (b"", 400, "not JSON"),
    "utf-8": (b'"\xff"', 400, "not JSON"),
    "deep": (b"[" * 50_000, 400, "nested too deeply"),
    "list": (b"[]", 400, "must be a JSON object"),
    "nan": (LARGE % b"NaN", 400, "NaN is no JSON number"),
    "infinity": (LARGE % b"-Infinity", 400, "-Infinity is no JSON number"),
    "large": (LARGE % b"1e39", 400, r"in \[0, 1\], none NaN"),
    "infinite": (LARGE % b"1e999", 400, r"in \[0, 1\], none NaN"),
    "huge": (LARGE % (b"1" + b"0" * 400), 400, "too large for any float"),
    "digits": (LARGE % (b"1" * 5000), 400, "not JSON"),
    "no input": ({}, 400, "a list of one tensor"),
    "inputs": ({"inputs": [tensor(), tensor()]}, 400, "a list of one tensor"),
    "input": ({"inputs": [3]}, 400, "an input must be a JSON object"),
    "name": ({"inputs": [tensor(name="x")]}, 400, "must be named images, got 'x'"),
    "datatype": ({"inputs": [tensor(datatype="FP64")]}, 400, "FP32 or UINT8, got 'FP64'"),
    "datatype list": ({"inputs": [tensor(datatype=[])]}, 400, "FP32 or UINT8, got a list"),
    "no shape": ({"inputs": [tensor(shape=...)]}, 400, "four whole numbers, got None"),
    "shape": ({"inputs": [tensor(shape=[1, 1, 4])]}, 400, r"\[N, 1, 2, 2\], four whole numbers, got \[1, 1, 4\]"),
    "bool shape": ({"inputs": [tensor(shape=[True, 1, 2, 2])]}, 400, "four whole numbers"),
    "other shape": ({"inputs": [tensor(shape=[1, 2, 2, 1])]}, 400, "N from 1 to 4"),
    "no image": ({"inputs": [tensor(shape=[0, 1, 2, 2], data=[])]}, 400, "N from 1 to 4"),
    "negative": ({"inputs": [tensor(shape=[-1, 1, 2, 2])]}, 400, "N from 1 to 4"),
    "many": ({"inputs": [tensor(shape=[5, 1, 2, 2], data=[0] * 20)]}, 413, "at most 4 images"),
    "very many": ({"inputs": [tensor(shape=[10**300, 1, 2, 2])]}, 413, "a number of more than 60 digits"),
    "no data": ({"inputs": [tensor(data=...)]}, 400, "must have data"),
    "string": ({"inputs": [tensor(data="abcd")]}, 400, "must have data, a list"),
    "strings": ({"inputs": [tensor(data=["a", "b", "c", "d"])]}, 400, "must be numbers for FP32"),
    "bools": ({"inputs": [tensor(data=[True, 0, 0, 0])]}, 400, "must be numbers for FP32"),
    "null": ({"inputs": [tensor(data=[None, 0, 0, 0])]}, 400, "must be numbers for FP32"),
    "few": ({"inputs": [tensor(data=[0, 0, 0])]}, 400, "must be 4 numbers, or lists nested as"),
    "ragged": ({"inputs": [tensor(data=[[[[0, 0], [0]]]])]}, 400, "must be 4 numbers, or lists nested as"),
    "mixed": ({"inputs": [tensor(data=[0, [0], 0, 0])]}, 400, "must be numbers"),
    "range": ({"inputs": [tensor(data=[0, 0, 0, 255])]}, 400, "divide by the value of white, or send UINT8"),
    "fractions": ({"inputs": [tensor(datatype="UINT8")]}, 400, "whole numbers from 0 to 255"),
    "256": ({"inputs": [tensor(datatype="UINT8", data=[0, 0, 0, 256])]}, 400, "from 0 to 255, got 0 to 256"),
    "parameters": ({"inputs": [tensor(parameters=[])]}, 400, "parameters of the input images must be"),
    "shared memory": ({"inputs": [tensor(parameters={"shared_memory_region": "x"})]}, 400, "is not served here"),
    "size alone": ({"inputs": [tensor(data=..., parameters={"binary_data_size": 16})]}, 400, "16 bytes must follow"),
    "both": ({"inputs": [tensor(parameters={"binary_data_size": 16})]}, 400, "both data and binary_data_size"),
    "size": ({"inputs": [tensor(data=..., parameters={"binary_data_size": 15})]}, 400, "must be 16, .* got 15"),
    "size text": ({"inputs": [tensor(data=..., parameters={"binary_data_size": "16"})]}, 400, "must be 16"),
    "output": ({"inputs": [tensor()], "outputs": [{"name": "secret"}]}, 400, "one of label, .* got 'secret'"),
    "outputs": ({"inputs": [tensor()], "outputs": {}}, 400, "outputs must be a list"),
    "output twice": ({"inputs": [tensor()], "outputs": [{"name": "label"}] * 2}, 400, "asked for twice"),
    "many outputs": ({"inputs": [tensor()], "outputs": [{"name": "label"}] * 99}, 400, "outputs must be a list"),
    "classes": (
        {"inputs": [tensor()], "outputs": [{"name": "label", "parameters": {"classification": 3}}]},
        400,
        "classification of the output label is not served here",
    ),
    "flag": ({"inputs": [tensor()], "parameters": {"binary_data_output": 1}}, 400, "must be true or false, got 1"),
    "id": ({"inputs": [tensor()], "id": 3}, 400, "id must be a string"),
    "long id": ({"inputs": [tensor()], "id": "x" * 300}, 400, "id must be a string"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_say_what_is_wrong(name):
    request, status, message = BAD[name]
    with pytest.raises(RequestError, match=message) as refused:
        read(request)
    assert refused.value.status == status
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.1, -0.1])
def test_bad_bytes(value):
    entry = tensor(data=..., parameters={"binary_data_size": 16})
    with pytest.raises(RequestError, match="none NaN"):
        read({"inputs": [entry]}, struct.pack("<4f", 0, 0, value, 0))


@pytest.mark.parametrize("count", [0, 15, 17, 32])
def test_the_bytes_must_be_as_many_as_said(count):
    entry = tensor(data=..., parameters={"binary_data_size": 16})
    head = json.dumps({"inputs": [entry]}).encode()
    with pytest.raises(RequestError, match=f"16 bytes must follow the JSON, {count} do"):
        read(head, bytes(count), length=str(len(head)))


def test_bytes_that_nobody_described():
    with pytest.raises(RequestError, match="4 bytes follow the JSON, but"):
        read({"inputs": [tensor()]}, b"more")


@pytest.mark.parametrize("length", ["", "-1", "x", "1e2", "99999", "²", "9" * 30, " 5"])
def test_a_length_that_is_none(length):
    with pytest.raises(RequestError, match="Inference-Header-Content-Length must be"):
        read({"inputs": [tensor()]}, length=length)


def test_much_json_is_refused_before_it_is_read():
    with pytest.raises(RequestError, match="at most 10 are taken; send binary") as refused:
        read(b"[" * 11, most_json=10)
    assert refused.value.status == 413


JUDGED = Judgement(
    labels=torch.tensor([1, 3]),
    scores=torch.tensor([0.5, math.nan]),
    rejected=torch.tensor([False, True]),
    logits=torch.tensor([[0.0, 2.0, -math.inf], [0.0, 0.0, 0.0]]),
)


def answered(*outputs, **more):
    request = read({"inputs": [tensor()], "outputs": list(outputs), **more})
    return write_response(request, JUDGED, "toy")


def test_an_answer_in_json_has_neither_nan_nor_infinity():
    body, length = answered(*({"name": name} for name in OUTPUTS), id="\ud800 7")
    assert length is None
    answer = json.loads(body, parse_constant=pytest.fail)
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("toy", "1", "\ud800 7")
    values = {output["name"]: output for output in answer["outputs"]}
    assert values["label"] == {"name": "label", "datatype": "INT64", "shape": [2], "data": [1, 3]}
    assert values["rejected"]["data"] == [False, True]
    assert values["score"]["data"] == pytest.approx([0.5, torch.finfo(torch.float32).max])
    assert values["logits"]["shape"] == values["probabilities"]["shape"] == [2, 3]
    assert values["logits"]["data"][3:] == values["probabilities"]["data"][3:] == [0, 0, 0]
    assert sum(values["probabilities"]["data"]) == pytest.approx(1)


def test_an_answer_in_bytes():
    binary = {"binary_data": True}
    body, length = answered(
        {"name": "label", "parameters": binary}, {"name": "score"}, {"name": "rejected", "parameters": binary}
    )
    outputs = json.loads(body[:length])["outputs"]
    assert [output.get("parameters") for output in outputs] == [{"binary_data_size": 16}, None, {"binary_data_size": 2}]
    assert "data" in outputs[1]
    assert np.frombuffer(body[length : length + 16], "<i8").tolist() == [1, 3]
    assert body[length + 16 :] == b"\0\1"


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([*OUTPUTS, "images"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "shape", "datatype", "data", "parameters", "inputs", "id"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    field=st.sampled_from(["name", "shape", "datatype", "data", "parameters"]),
    value=ANY_JSON,
    tail=st.binary(max_size=20),
)
def test_whatever_is_sent_is_read_or_refused(field, value, tail):
    try:
        request = read(json.dumps({"inputs": [tensor(**{field: value})]}).encode(), tail)
    except RequestError:
        return
    assert request.images.shape[1:] == SPEC.input_shape
    assert request.images.isfinite().all()


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    body=st.binary(max_size=60) | ANY_JSON.map(lambda value: json.dumps(value).encode()),
    length=st.none() | st.text(max_size=4),
)
def test_any_bytes_are_refused_by_name(body, length):
    with pytest.raises(RequestError):
        read_request(body, length, SPEC, most_images=4, most_json=1000)
