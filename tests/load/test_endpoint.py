"""Services of the Open Inference Protocol: our own, and one that plays the others, honest ones and hostile ones."""

import json
import threading
import time

import numpy as np
import pytest
import torch

from gifthorse.errors import AnswerError, OptionError, UnsupportedModelError
from gifthorse.guard.guarded import GuardedClassifier
from gifthorse.guard.strip import Strip
from gifthorse.load import endpoint
from gifthorse.load.black_box import endpoint_black_box
from gifthorse.load.endpoint import Endpoint, is_endpoint
from gifthorse.load.http import Asking, Patience

SHAPE = (3, 12, 12)
QUICK = Patience(seconds=2.0, tries=3, pause=0.01)
PLACE = "/v2/models/means"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(endpoint, "Patience", lambda: QUICK)


# -- our own service -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(toy_backdoored, toy_clean, recovered):
    """The addresses of the toy, bare and behind a guard."""
    pytest.importorskip("uvicorn")
    from gifthorse.serve import service
    from gifthorse.serve.server import listen

    guard = Strip(overlays=8).calibrate(toy_backdoored, toy_clean, recovered({}), seed=0)
    running = []
    for one in (None, guard):
        socket = listen("127.0.0.1", 0)
        server = service(GuardedClassifier(toy_backdoored, one), name="toy")
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
        thread.start()
        running.append((server, thread, f"http://127.0.0.1:{socket.getsockname()[1]}/v2/models/toy"))
    yield [address for _, _, address in running]
    for server, thread, _ in running:
        server.should_exit = True
        thread.join(30)


def test_our_own_service_answers_as_the_model(served, toy_backdoored, toy_clean):
    model = endpoint_black_box(served[0])
    assert model.spec == toy_backdoored.spec
    assert torch.equal(model.predict(toy_clean.images), toy_backdoored.predict(toy_clean.images))
    assert model.network.name == served[0]
    again = endpoint_black_box(served[0] + "/versions/1")
    assert torch.equal(again.predict(toy_clean.images[:3]), model.predict(toy_clean.images[:3]))
    assert not torch.equal(again.network.identity, model.network.identity)


def test_a_service_behind_a_guard_of_its_own_is_not_vetted_through_it(served):
    with pytest.raises(UnsupportedModelError, match=r"stands behind a guard, 'strip', .* --no-guard"):
        endpoint_black_box(served[1])


# -- others ----------------------------------------------------------------------------------------------------------


def tensor(name="images", kind="FP32", shape=(-1, *SHAPE)):
    return {"name": name, "datatype": kind, "shape": list(shape)}


def scores(images: np.ndarray) -> np.ndarray:
    return images.mean((2, 3)) if images.shape[1] == 3 else images.mean((1, 2))


class Service:
    """A service whose scores are means of the channels."""

    def __init__(self, local, *, extensions=(), most=None, limit=None, output="scores", inputs=None, outputs=None):
        self.local, self.most, self.output, self.counts = local, most, output, []
        told = {"name": "means", "versions": ["3"], "platform": "played"}
        told["inputs"] = [tensor()] if inputs is None else inputs
        told["outputs"] = [tensor(output, shape=(-1, 3))] if outputs is None else outputs
        local.pages["/v2"] = (200, {}, json.dumps({"name": "played", "extensions": list(extensions)}).encode())
        local.pages[PLACE] = (200, {}, json.dumps(told).encode())
        local.pages[f"{PLACE}/infer"] = lambda handler: self.infer(handler.headers)
        self.url = local.url + PLACE

    def infer(self, headers):
        body = self.local.bodies[-1]
        cut = int(headers.get("Inference-Header-Content-Length", len(body)))
        asked = json.loads(body[:cut])
        (entry,) = asked["inputs"]
        if self.most is not None and entry["shape"][0] > self.most:
            return 413, {}, b"too large"
        self.counts.append(entry["shape"][0])
        raw = np.frombuffer(body[cut:], "<f4") if cut < len(body) else np.array(entry["data"], "f4")
        return self.answer(scores(raw.reshape(entry["shape"])).astype("f4"), binary=cut < len(body))

    def answer(self, values, *, binary):
        other = {"name": "first", "datatype": "INT64", "shape": [1], "data": [1]}
        entry = {"name": self.output, "datatype": "FP32", "shape": list(values.shape)}
        if not binary:
            answer = {"outputs": [other, {**entry, "data": values.tolist()}]}
            return 200, {}, json.dumps(answer).encode()
        other = {**other, "parameters": {"binary_data_size": 8}}
        del other["data"]
        entry["parameters"] = {"binary_data_size": values.nbytes}
        head = json.dumps({"outputs": [other, entry]}).encode()
        tail = np.array([1], "<i8").tobytes() + values.tobytes()
        return 200, {"Inference-Header-Content-Length": str(len(head))}, head + tail


@pytest.mark.parametrize("extensions", [(), ("binary_tensor_data",)], ids=["json", "binary"])
def test_tensors_go_as_the_service_takes_them(local, extensions):
    service = Service(local, extensions=extensions)
    model = endpoint_black_box(service.url + "/")
    images = torch.rand(70, *SHAPE)
    assert torch.allclose(model.predict(images), images.mean((2, 3)), atol=1e-6)
    assert service.counts == [4, 64, 6]
    assert (b'"data"' in local.bodies[-1]) == (not extensions)


def test_a_service_without_a_page_of_its_own_is_sent_json(local):
    service = Service(local)
    del local.pages["/v2"]
    assert endpoint_black_box(service.url).spec.num_classes == 3
    assert b'"data"' in local.bodies[-1]


def test_fewer_images_are_sent_if_so_many_are_refused(local):
    service = Service(local, extensions=["binary_tensor_data"], most=10)
    model = endpoint_black_box(service.url)
    images = torch.rand(40, *SHAPE)
    assert torch.allclose(model.predict(images), images.mean((2, 3)), atol=1e-6)
    assert service.counts == [4, 10, 10, 10, 10]
    service.most = 0
    with pytest.raises(AnswerError, match="refuses with HTTP status 413: too large"):
        model.predict(images[:3])


def test_a_fixed_number_of_images_is_filled_up(local):
    service = Service(local, inputs=[tensor(shape=(8, *SHAPE))])
    images = torch.rand(11, *SHAPE)
    assert torch.allclose(endpoint_black_box(service.url).predict(images), images.mean((2, 3)), atol=1e-6)
    assert service.counts == [8, 8, 8]


def test_channels_last(local):
    service = Service(local, inputs=[tensor(shape=(-1, 12, 10, 3))])
    model = endpoint_black_box(service.url)
    assert (model.spec.input_shape, model.spec.layout) == ((3, 12, 10), "nhwc")
    images = torch.rand(2, 3, 12, 10)
    assert torch.allclose(model.predict(images), images.mean((2, 3)), atol=1e-6)


def test_what_is_stated_comes_before_what_the_service_tells(local):
    service = Service(local, inputs=[tensor(shape=(-1, 3, -1, -1))])
    with pytest.raises(OptionError, match="does not say what its input shape is"):
        endpoint_black_box(service.url)
    assert endpoint_black_box(service.url, fallback_input_shape=(3, 5, 6)).spec.input_shape == (3, 5, 6)
    assert endpoint_black_box(service.url, input_shape=(3, 4, 4), mean=0.5).spec.mean == (0.5,)


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"inputs": []}, "it must take one tensor of FP32"),
        ({"inputs": [tensor(), tensor("more")]}, "takes images FP32 .* more FP32"),
        ({"inputs": [tensor(kind="BYTES")]}, "takes images BYTES"),
        ({"inputs": [tensor(shape=(-1, 432))]}, "it must take one tensor"),
        ({"outputs": [tensor("label", "INT64", [-1])]}, "labels alone do not say how sure"),
        ({"outputs": [tensor("a", shape=[-1, 3]), tensor("b", shape=[-1, 3])]}, "one of several must be called logits"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_classifier(local, described, message):
    with pytest.raises(UnsupportedModelError, match=message):
        Endpoint(Service(local, **described).url)


def test_the_logits_are_taken_of_several_tables(local):
    tables = [tensor(name, shape=[-1, 3]) for name in ("features", "probabilities", "logits")]
    service = Service(local, outputs=tables, output="logits")
    assert endpoint_black_box(service.url).spec.num_classes == 3
    assert json.loads(local.bodies[-1])["outputs"] == [{"name": "logits"}]


def test_another_version_is_another_model(local):
    service = Service(local)
    first = endpoint_black_box(service.url).network.identity
    told = json.loads(local.pages[PLACE][2])
    local.pages[PLACE] = (200, {}, json.dumps({**told, "versions": ["4"]}).encode())
    assert not torch.equal(endpoint_black_box(service.url).network.identity, first)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "it is not JSON"),
        (b"<html>", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b'{"a":' * 100_000, "it is not JSON"),
        (b"[]", "sends a list where the protocol has a JSON object"),
        (b"{}", "it holds 0 outputs named 'scores'"),
        (b'{"outputs": 3}', "it holds 0 outputs"),
        (b'{"outputs": [1, {"name": "scores"}]}', "scores is of 'None'"),
        (b'{"outputs": [{"name": "scores", "datatype": "INT64", "shape": [4, 3]}]}', "scores is of 'INT64'"),
        (b'{"outputs": [{"name": "scores", "datatype": "FP32", "shape": [4]}]}', r"the shape of scores is \[4\]"),
        (b'{"outputs": [{"name": "scores", "datatype": "FP32", "shape": [4, -3]}]}', "the shape of scores"),
        (b'{"outputs": [{"name": "scores", "datatype": "FP32", "shape": [4, true]}]}', "the shape of scores"),
        (b'{"outputs": [{"name": "scores", "datatype": "FP32", "shape": [5, 3]}]}', "has 5 rows for 4 images"),
        (b'{"outputs": [{"name": "scores", "datatype": "FP32", "shape": [4, 3]}]}', "scores has no data"),
        (
            b'{"outputs": [{"name": "scores", "datatype": "FP32", "shape": [4, 9999999999], "data": [1]}]}',
            "has 1 numbers, its shape says 39,999,999,996",
        ),
        (
            b'{"outputs": [{"name": "scores", "datatype": "FP32", "shape": [4, ' + b"9" * 4300 + b'], "data": [1]}]}',
            "the shape of scores is .4, 999",
        ),
        (
            b'{"outputs": [{"name": "scores", "datatype": "FP32", "shape": [4, 2], "data": ["a"]}]}',
            "data of scores are no numbers",
        ),
        (
            b'{"outputs": [{"name": "scores", "datatype": "FP32", "shape": [4, 2], "data": [1,1,1,1,1,1,1,NaN]}]}',
            "gives 1 NaN or infinite scores of 8",
        ),
        (
            b'{"outputs": [{"name": "scores", "datatype": "FP32", "shape": [4, 2], "data": [1,1,1,1,1,1,1,1e99]}]}',
            "gives 1 NaN or infinite scores of 8",
        ),
        (
            b'{"outputs": [{"name": "scores", "datatype": "FP32", "shape": [4, 2], '
            b'"parameters": {"binary_data_size": 32}}]}',
            "has 0 bytes of FP32",
        ),
        (
            b'{"outputs": [{"name": "scores", "datatype": "FP32", "shape": [4, 2], '
            b'"parameters": {"binary_data_size": -1}}]}',
            "binary_data_size is -1",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_answers_that_are_none(local, body, message):
    service = Service(local)
    local.pages[f"{PLACE}/infer"] = (200, {}, body)
    with pytest.raises(AnswerError, match=message) as caught:
        endpoint_black_box(service.url)
    assert service.url in str(caught.value)


@pytest.mark.parametrize("length", ["-1", "x", "99999", "9" * 30])
def test_a_length_of_json_that_cannot_be(local, length):
    service = Service(local)
    local.pages[f"{PLACE}/infer"] = (200, {"Inference-Header-Content-Length": length}, b"{}")
    with pytest.raises(AnswerError, match="Inference-Header-Content-Length is"):
        endpoint_black_box(service.url)


@pytest.mark.parametrize("side", [4000, 10**9, 10**20])
def test_an_image_of_a_tera_is_not_made(local, side):
    service = Service(local, inputs=[tensor(shape=(-1, 3, side, side))])
    with pytest.raises(OptionError, match=r"input_shape is .* an image has at most 16,777,216 numbers"):
        endpoint_black_box(service.url)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ((404, {}, b'{"error": "no such model"}'), 'refuses with HTTP status 404: {"error": "no such model"}'),
        ((401, {}, b""), "refuses with HTTP status 401: it says nothing more"),
        ((302, {"Location": "http://127.0.0.1:1/v2/models/means"}, b""), "sends elsewhere, to 'http://127.0.0.1:1/"),
        ((307, {"Location": "file:///etc/passwd"}, b""), "sends elsewhere"),
        ((200, {}, b"x" * 3000), "answers with more than 2,000 bytes"),
        ((503, {}, b"busy"), "refuses with HTTP status 503: busy"),
        ((200, {"Content-Length": "900"}, b"{}"), "has not answered, 3 times: it broke off 898 bytes before the end"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_not_followed_or_read_on(local, page, message, monkeypatch):
    monkeypatch.setattr(endpoint, "Asking", lambda address, patience: Asking(address, 2000, patience))
    local.pages["/v2"] = (404, {}, b"")
    local.pages[PLACE] = page
    with pytest.raises(AnswerError) as caught:
        Endpoint(local.url + PLACE)
    assert message in str(caught.value)
    assert len([one for one in local.asked if one[1] == PLACE]) == (
        3 if page[0] == 503 or "900" in page[1].values() else 1
    )


def test_a_service_that_comes_round_is_asked_again(local):
    service = Service(local)
    answers = [lambda handler: (503, {}, b""), lambda handler: None, local.pages[f"{PLACE}/infer"]]

    def next_answer(handler):
        return (answers.pop(0) if len(answers) > 1 else answers[0])(handler)

    local.pages[f"{PLACE}/infer"] = next_answer
    assert endpoint_black_box(service.url).spec.num_classes == 3


def test_a_service_that_drips_or_hangs_is_left(local, monkeypatch):
    monkeypatch.setattr(endpoint, "Patience", lambda: Patience(0.3, 1))

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(1000):
            time.sleep(0.05)
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    local.pages["/v2"] = drip
    started = time.monotonic()
    with pytest.raises(AnswerError, match=r"still sending after 0\.3 seconds"):
        Endpoint(local.url + PLACE)

    def on_and_on(handler):
        handler.send_response(200)
        for _ in range(1000):
            time.sleep(0.05)
            try:
                handler.wfile.write(b"x")  # of a header
            except OSError:
                return

    local.pages["/v2"] = on_and_on
    with pytest.raises(AnswerError, match=r"no answer came in 0\.3 seconds"):
        Endpoint(local.url + PLACE)
    local.pages["/v2"] = lambda handler: time.sleep(1)
    with pytest.raises(AnswerError, match=r"no answer came in 0\.3 seconds"):
        Endpoint(local.url + PLACE)
    assert time.monotonic() - started < 30


def test_nobody_there():
    with pytest.raises(AnswerError, match="has not answered, 3 times: Connection"):
        Endpoint("http://127.0.0.1:1/v2/models/a")


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/v2",
        "http://127.0.0.1/v2/models/",
        "http://127.0.0.1/v2/models/a/infer",
        "http://127.0.0.1/v2/models/a?b=c",
        "http://127.0.0.1/model.pth",
        "ftp://127.0.0.1/v2/models/a",
        "file:///v2/models/a",
        "http:///v2/models/a",
        "http://user:word@127.0.0.1/v2/models/a",
    ],
)
def test_what_is_no_address(address):
    with pytest.raises(OptionError):
        Endpoint(address)


def test_what_is_taken_for_a_service():
    assert is_endpoint("http://127.0.0.1:8000/v2/models/resnet")
    assert is_endpoint("https://host/prefix/v2/models/resnet/versions/2/")
    assert not is_endpoint("https://host/resnet.safetensors")
    assert not is_endpoint("hf://v2/models@x")
