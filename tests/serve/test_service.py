"""The service on a socket: what it answers, what it refuses, and how it stops."""

import http.client
import json
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import tritonclient.http as triton
from torch import nn
from tritonclient.utils import InferenceServerException

from gifthorse.core.model import Classifier
from gifthorse.errors import OptionError
from gifthorse.guard.guarded import GuardedClassifier
from gifthorse.serve import Limits, service
from gifthorse.serve.server import listen

REJECTED = 12  # the label one above the toy's


def post(served, length, *, head="", path="/v2/models/toy/infer"):
    """A connection on which a request was begun."""
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=60)
    connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {length}\r\n\r\n".encode())
    return connection


def ended_or_sent(connection):
    """What comes; nothing once the server has closed it, in whatever way."""
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


def status_of(connection):
    """The status line, and whether the server then closes the connection."""
    with connection, connection.makefile("rb") as stream:
        return int(stream.readline().split()[1])


def test_it_says_what_guard_screen_says(served, request_of, shown, toy_guard):
    screening = toy_guard.screen(shown)
    assert 0 < screening.rejected.sum() < len(shown)
    outputs = served.infer(request_of(shown)).outputs()
    assert outputs["rejected"] == screening.rejected.tolist()
    assert outputs["label"] == torch.where(screening.rejected, REJECTED, screening.labels).tolist()
    assert outputs["score"] == pytest.approx(screening.scores.tolist(), abs=1e-6)


def test_bytes_are_answered_as_floats_are(served, request_of, toy_test):
    floats, whole = (served.infer(request_of(images)) for images in (toy_test.pixels()[:5], toy_test.images[:5]))
    assert floats.outputs() == whole.outputs()


def test_a_rejected_image_has_no_answer(served, request_of, shown):
    asked = [{"name": name} for name in ("logits", "probabilities", "rejected")]
    outputs = served.infer(request_of(shown, outputs=asked)).outputs()
    assert list(outputs) == ["logits", "probabilities", "rejected"]
    for row, rejected in enumerate(outputs["rejected"]):
        logits, shares = (outputs[name][12 * row : 12 * row + 12] for name in ("logits", "probabilities"))
        assert any(logits) != rejected
        assert sum(shares) == pytest.approx(0 if rejected else 1, abs=1e-5)


def test_a_repaired_model_answers_behind_the_guard(serve, request_of, shown, toy_backdoored, toy_honest, toy_guard):
    screening = toy_guard.screen(shown)
    with serve(GuardedClassifier(toy_backdoored, toy_guard, answers=toy_honest)) as one:
        outputs = one.infer(request_of(shown)).outputs()
    assert outputs["rejected"] == screening.rejected.tolist()
    expected = torch.where(screening.rejected, REJECTED, toy_honest.predict(shown).argmax(1))
    assert outputs["label"] == expected.tolist()


def test_without_a_guard_all_is_answered(serve, request_of, shown, toy_backdoored):
    with serve(GuardedClassifier(toy_backdoored, None)) as one:
        outputs = one.infer(request_of(shown)).outputs()
        assert one.metric("gifthorse_guarded") == 0
        assert one.ask("GET", "/v2/models/toy").json()["parameters"]["guard"] == "none"
    assert outputs["label"] == toy_backdoored.predict(shown).argmax(1).tolist()
    assert not any(outputs["rejected"])


def test_health_and_metadata(served):
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/toy/ready", "/v2/models/toy/versions/1/ready"):
        assert served.ask("GET", path).status == 200
    assert served.ask("GET", "/v2").json()["extensions"] == ["binary_tensor_data"]
    told = served.ask("GET", "/v2/models/toy").json()
    assert told == served.ask("GET", "/v2/models/toy/versions/1").json()
    assert told["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 3, 12, 12]}]
    assert told["parameters"] == {"guard": "strip", "rejected_label": 12, "also_takes": "UINT8"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/toy/versions/2/ready", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("POST", "/v2/models/toy/versions/x/infer", 404),
        ("GET", "/v2/models/toy/infer", 405),
        ("POST", "/v2", 405),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/v2/", 404),
    ],
)
def test_other_paths_and_methods(served, method, path, status):
    answered = served.ask(method, path, b"" if method == "POST" else None)
    assert answered.status == status
    assert isinstance(answered.json()["error"], str)


def test_a_refusal_says_why(served, request_of):
    answered = served.infer(request_of(torch.zeros(1, 3, 12, 11)))
    assert answered.status == 400
    assert answered.headers["content-type"] == "application/json"
    assert "must be [N, 3, 12, 12]" in answered.json()["error"]


# --- the client of Triton, as it is


@pytest.fixture
def client(served):
    with triton.InferenceServerClient(f"127.0.0.1:{served.port}") as one:
        yield one


def asked_of(images, *, binary):
    tensor = triton.InferInput("images", list(images.shape), "UINT8" if images.dtype == torch.uint8 else "FP32")
    tensor.set_data_from_numpy(images.numpy(), binary_data=binary)
    return [tensor]


def test_triton_finds_the_service(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("toy")
    assert client.is_model_ready("toy", "1")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["name"] == "gifthorse"
    assert client.get_model_metadata("toy")["platform"] == "pytorch"


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "json"])
@pytest.mark.parametrize("kind", ["floats", "whole"])
def test_triton_asks(client, toy_guarded, toy_test, shown, binary, kind):
    images = shown if kind == "floats" else toy_test.images[:20]
    result = client.infer("toy", asked_of(images, binary=binary), request_id="mine")
    assert result.get_response()["id"] == "mine"
    judged = toy_guarded.judge(images)
    assert result.as_numpy("label").tolist() == judged.labels.tolist()
    assert result.as_numpy("rejected").tolist() == judged.rejected.tolist()
    assert np.allclose(result.as_numpy("score"), judged.scores, atol=1e-6)


def test_triton_chooses_its_outputs(client, toy_guarded, shown):
    outputs = [
        triton.InferRequestedOutput("logits", binary_data=True),
        triton.InferRequestedOutput("label", binary_data=False),
    ]
    result = client.infer("toy", asked_of(shown[:6], binary=True), outputs=outputs, model_version="1")
    judged = toy_guarded.judge(shown[:6])
    assert np.allclose(result.as_numpy("logits"), judged.logits, atol=1e-4)
    assert result.as_numpy("label").tolist() == judged.labels.tolist()
    assert result.as_numpy("score") is None


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (torch.full((1, 3, 12, 12), torch.nan), {}, "none NaN"),
        (torch.zeros(1, 3, 12, 13), {}, "the shape of images must be"),
        (torch.zeros(1, 3, 12, 12), {"sequence_id": 3}, "sequence_id of the request is not served"),
        (torch.zeros(1, 3, 12, 12), {"request_compression_algorithm": "gzip"}, "content-encoding 'gzip' is not taken"),
        (torch.zeros(1, 3, 12, 12), {"request_compression_algorithm": "deflate"}, "is not taken"),
    ],
    ids=["nan", "shape", "sequence", "gzip", "deflate"],
)
def test_triton_reads_the_refusal(client, images, options, message):
    with pytest.raises(InferenceServerException, match=message):
        client.infer("toy", asked_of(images, binary=True), **options)


# --- limits


@pytest.fixture(scope="module")
def small(serve, toy_guarded):
    """A service that takes little at once."""
    with serve(toy_guarded, Limits(body_bytes=20_000, json_bytes=10_000, images=2, queue=2)) as one:
        yield one


def test_a_large_body_is_refused_before_it_is_read(small):
    assert status_of(post(small, 20_001)) == 413
    assert status_of(post(small, 10**15)) == 413


def test_a_body_in_pieces_is_read_no_further_than_the_limit(small):
    """It never ends, and says nothing of its length."""
    with socket.create_connection(("127.0.0.1", small.port), timeout=60) as connection:
        connection.sendall(b"POST /v2/models/toy/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"1000\r\n" + bytes(4096) + b"\r\n"
        for _ in range(5):
            connection.sendall(piece)
        assert status_of(connection) == 413


def test_much_json_and_many_images(small, request_of):
    assert small.infer(b" " * 10_001).status == 413
    assert small.infer(request_of(torch.zeros(3, 3, 12, 12, dtype=torch.uint8))).status == 413
    assert small.infer(request_of(torch.zeros(2, 3, 12, 12, dtype=torch.uint8))).status == 200


def test_a_body_that_does_not_come_is_not_waited_for(serve, toy_guarded):
    with serve(toy_guarded, Limits(seconds=1.0)) as one:
        slow = post(one, 100)
        slow.sendall(b"{")
        # Nor is a head, nor the next request on a connection.
        begun = (b"", b"POST /v2 HT", b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\nGET /v2")
        silent = [socket.create_connection(("127.0.0.1", one.port), timeout=60) for _ in begun]
        for connection, sent in zip(silent, begun, strict=True):
            connection.sendall(sent)
        assert status_of(slow) == 408
        for connection in silent:
            with connection:
                while ended_or_sent(connection):
                    pass
        assert one.ask("GET", "/v2/health/ready").status == 200


def test_a_body_that_ends_too_soon_does_no_harm(served, request_of):
    before = served.metric("gifthorse_images_total")
    for cut in (0, 1, 50):
        with post(served, 100) as connection:
            connection.sendall(b"x" * cut)
    assert served.infer(request_of(torch.zeros(1, 3, 12, 12))).status == 200
    assert served.metric("gifthorse_images_total") == before + 1


def test_no_more_connections_than_allowed(serve, toy_guarded):
    with serve(toy_guarded, Limits(connections=2)) as one:
        taken = [http.client.HTTPConnection("127.0.0.1", one.port, timeout=60) for _ in range(2)]
        for connection in taken:
            connection.request("GET", "/v2/health/live")
            assert connection.getresponse().read()
        answered = one.ask("GET", "/v2/health/live")
        assert (answered.status, answered.headers["retry-after"]) == (503, "1")
        for connection in taken:
            connection.close()


def in_background(pool, one, *requests):
    return [pool.submit(one.infer, request) for request in requests]


def until(condition):
    """Wait until it holds; a test that waits for ever has failed."""
    pause = threading.Event()
    for _ in range(6000):
        if condition():
            return
        pause.wait(0.01)
    pytest.fail("it has not come to pass")


def test_overload_is_refused_and_what_was_taken_is_answered(serve, held, request_of, shown, toy_honest):
    request = request_of(shown[:1])
    limits = Limits(queue=2, images=2, batch=2)
    with serve(GuardedClassifier(toy_honest, held), limits) as one, ThreadPoolExecutor(4) as pool:
        asked = in_background(pool, one, request)
        assert held.entered.wait(60)
        asked += in_background(pool, one, request, request)
        until(lambda: one.metric("gifthorse_images_waiting") == 2)
        answered = one.infer(request)
        assert (answered.status, answered.headers["retry-after"]) == (503, "1")
        assert "2 images wait, at most 2 may; try again later" in answered.json()["error"]
        assert one.ask("GET", "/v2/health/ready").status == 200  # the loop is not held up
        held.go.set()
        labels = [future.result().outputs()["label"] for future in asked]
        assert labels == [toy_honest.predict(shown[:1]).argmax(1).tolist()] * 3
        assert held.batches == [1, 1, 2]  # the service's own, the first, and the two that waited
        assert one.infer(request).status == 200
        assert one.metric('gifthorse_requests_total{status="503"}') == 1
        assert one.metric("gifthorse_batch_images_count") == 3


def test_no_more_requests_at_once_than_allowed(serve, held, request_of, shown, toy_honest):
    request = request_of(shown[:1])
    limits = Limits(requests=2)
    with serve(GuardedClassifier(toy_honest, held), limits) as one, ThreadPoolExecutor(4) as pool:
        asked = in_background(pool, one, request, request)
        until(lambda: one.metric("gifthorse_requests_inside") == 2)
        answered = one.infer(request)
        assert (answered.status, answered.headers["retry-after"]) == (503, "1")
        held.go.set()
        assert [future.result().status for future in asked] == [200, 200]


def test_who_waits_too_long_is_told(serve, held, request_of, shown, toy_honest):
    request = request_of(shown[:1])
    with serve(GuardedClassifier(toy_honest, held), Limits(seconds=1.0)) as one:
        answered = one.infer(request)
        assert (answered.status, answered.headers["retry-after"]) == (503, "1")
        assert "no answer within 1 seconds" in answered.json()["error"]
        held.go.set()
        assert one.ask("GET", "/v2/health/ready").status == 200


class Fragile(nn.Module):
    """Fails on a white image."""

    def forward(self, inputs):
        if bool((inputs.flatten(1).amin(1) == 1).any()):
            raise ArithmeticError("a secret of the model")
        return inputs.flatten(1)[:, :12]


def test_a_fault_of_the_model_is_an_answer_and_no_end(serve, request_of, toy_honest, caplog):
    with serve(GuardedClassifier(Classifier(Fragile(), toy_honest.spec), None)) as one:
        answered = one.infer(request_of(torch.ones(1, 3, 12, 12)))
        assert answered.status == 500
        assert "secret" not in answered.body.decode()
        assert one.infer(request_of(torch.zeros(1, 3, 12, 12))).status == 200
        assert one.metric('gifthorse_requests_total{status="500"}') == 1
    assert "a secret of the model" in caplog.text


def test_stopping_answers_what_was_asked(serve, held, request_of, shown, toy_honest):
    request = request_of(shown[:1])
    with serve(GuardedClassifier(toy_honest, held)) as one, ThreadPoolExecutor(4) as pool:
        asked = in_background(pool, one, request)
        assert held.entered.wait(60)
        asked += in_background(pool, one, request)
        until(lambda: one.metric("gifthorse_images_waiting") == 1)
        one.server.should_exit = True
        until(lambda: not any(server.is_serving() for server in one.server.servers))
        held.go.set()
        assert [future.result().status for future in asked] == [200, 200]
        one.thread.join(60)
        with pytest.raises(ConnectionRefusedError):
            one.ask("GET", "/v2")


def test_metrics(serve, toy_guarded, request_of, shown):
    with serve(toy_guarded) as one:
        assert one.metric("gifthorse_images_total{") == 0
        rejected = one.infer(request_of(shown[:10])).outputs()["rejected"]
        one.infer(b"{")
        assert one.metric('gifthorse_images_total{outcome="rejected"}') == sum(rejected)
        assert one.metric('gifthorse_images_total{outcome="accepted"}') == 10 - sum(rejected)
        assert one.metric('gifthorse_requests_total{status="200"}') == 1
        assert one.metric('gifthorse_requests_total{status="400"}') == 1
        assert one.metric("gifthorse_guarded") == 1


# --- before it serves


def test_a_port_that_is_taken():
    with listen("127.0.0.1", 0) as taken:
        assert taken.proto == socket.IPPROTO_TCP  # or answers wait for the client's acknowledgement, 40 ms each
        port = taken.getsockname()[1]
        with pytest.raises(OptionError, match=rf"cannot listen on 127\.0\.0\.1 port {port}: .* give another --host or"):
            listen("127.0.0.1", port)


def test_a_model_that_cannot_answer_fails_at_once(toy_honest):
    with pytest.raises(OptionError, match="training mode"):
        service(GuardedClassifier(toy_honest, None).train())
    toy_honest.eval()


def test_the_missing_extra_is_named(toy_guarded, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("gifthorse.serve.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(OptionError, match=r"pip install 'gifthorse\[serve\]'"):
        service(toy_guarded)


def test_errors_are_json_that_any_client_reads(served):
    assert json.loads(served.infer(b"\xff").body)["error"].isascii()
