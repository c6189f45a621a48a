"""The command ``serve``: what it wants, what it says, and how it stops."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gifthorse.guard.guard_file import save_guard
from gifthorse.guard.strip import Strip
from gifthorse.load import load_model

PATIENCE = 60
COMMAND = [sys.executable, "-c", "from gifthorse.cli.main import main; main()", "serve"]

# A network of the user's own that waits once a file says so, until another one is there.
WAITING = """
import pathlib, time
from torch import nn

HERE = pathlib.Path(__file__).parent

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.output = nn.Linear(432, 12)

    def forward(self, images):
        if (HERE / "hold").exists():
            (HERE / "entered").touch()
            while not (HERE / "go").exists():
                time.sleep(0.01)
        return self.output(images.flatten(1))
"""


@pytest.fixture(scope="module")
def guard(toy, tmp_path_factory, toy_clean, recovered):
    model = load_model(toy.folder / "backdoored.safetensors", arch=toy.arch)
    path = tmp_path_factory.mktemp("guard") / "guard.safetensors"
    save_guard(Strip(overlays=8).calibrate(model, toy_clean, recovered({}), seed=0), model, path)
    return path


def words(toy, *more):
    return ["serve", toy.folder / "backdoored.safetensors", "--arch", toy.arch, *more]


def test_a_guard_is_wanted_or_its_absence_said(run, toy, guard):
    ended = run(*words(toy))
    assert (ended.code, ended.out) == (2, "")
    assert "give --guard FILE" in ended.err
    assert "say --no-guard" in ended.err
    ended = run(*words(toy, "--guard", guard, "--no-guard"))
    assert ended.code == 2
    assert "exclude each other" in ended.err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--guard", "none.safetensors"], 2, "there is no such guard file"),
        (["--no-guard", "--name", "a/b"], 2, "--name must be"),
        (["--no-guard", "--max-queue", "10"], 2, "queue must have room for one request of 256 images"),
        (["--no-guard", "--timeout", "0"], 2, "seconds must be above 0"),
        (["--no-guard", "--repaired", "none.pth"], 2, "there is no file none.pth"),
        (["--no-guard", "--host", "192.0.2.1"], 2, "cannot listen on 192.0.2.1 port 8080"),
    ],
)
def test_what_cannot_be_meant(run, toy, more, code, message):
    ended = run(*words(toy, *more))
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err


def test_a_guard_of_another_model_is_refused(run, toy, guard):
    ended = run("serve", toy.folder / "honest.safetensors", "--arch", toy.arch, "--guard", guard)
    assert ended.code == 4
    assert "the guard was calibrated for a model with other weights" in ended.err


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False), ("localhost", False)])
def test_who_lets_others_in_is_warned(run, toy, guard, monkeypatch, host, warned):
    def run_no_server(server, sockets):
        for one in sockets:
            one.close()

    monkeypatch.setattr("uvicorn.Server.run", run_no_server)
    ended = run(*words(toy, "--guard", guard, "--host", host, "--port", 0))
    assert ended.code == 0
    assert ended.out.startswith(f"serving backdoored, guarded by strip, on http://{host}:")
    assert ("there is no password and no encryption" in ended.err) == warned


def test_a_stop_that_waits_for_nothing_is_a_failure(run, toy, guard, monkeypatch):
    def run_until_forced(server, sockets):
        sockets[0].close()
        server.force_exit = True

    monkeypatch.setattr("uvicorn.Server.run", run_until_forced)
    ended = run(*words(toy, "--guard", guard, "--port", 0))
    assert ended.code == 4
    assert "what was open is not answered" in ended.err


class Started:
    """The command in a process of its own."""

    def __init__(self, arguments, folder):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+) ", self.line)
        if not found:
            self.process.kill()
            pytest.fail(self.line + self.process.communicate()[1])
        self.port = int(found[1])

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.process.kill()
        self.process.communicate()

    def infer(self, name, shape):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        count = shape[0] * shape[1] * shape[2] * shape[3]
        tensor = {"name": "images", "shape": shape, "datatype": "UINT8", "data": [9] * count}
        connection.request("POST", f"/v2/models/{name}/infer", json.dumps({"inputs": [tensor]}))
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, json.loads(body)

    def end(self, number):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


def test_it_serves_a_repaired_model_behind_the_guard_and_stops_at_ctrl_c(toy, guard, tmp_path):
    more = ["--guard", guard, "--repaired", toy.folder / "honest.safetensors", "--port", 0, "--name", "signs-2"]
    with Started(words(toy, *more)[1:], tmp_path) as one:
        assert one.line.startswith("serving signs-2, guarded by strip, on http://127.0.0.1:")
        status, answer = one.infer("signs-2", [2, 3, 12, 12])
        assert status == 200
        assert [output["name"] for output in answer["outputs"]] == ["label", "rejected", "score"]
        assert one.end(signal.SIGINT) == (0, "stopped\n", "")


def until(condition):
    pause = threading.Event()
    for _ in range(6000):
        if condition():
            return
        pause.wait(0.01)
    pytest.fail("it has not come to pass")


def refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_sigterm_with_a_request_in_flight_answers_it(tmp_path):
    (tmp_path / "net.py").write_text(WAITING)
    save = "import torch; from net import Net; torch.manual_seed(0); torch.save(Net().state_dict(), 'net.pth')"
    subprocess.run([sys.executable, "-c", save], cwd=tmp_path, check=True)
    asked = ["net.pth", "--arch", "net.py:Net", "--input-shape", "3x12x12", "--no-guard", "--port", 0]
    with Started(asked, tmp_path) as one, ThreadPoolExecutor(1) as pool:
        assert one.line.startswith("serving net, WITHOUT A GUARD, on ")
        (tmp_path / "hold").touch()
        answer = pool.submit(one.infer, "net", [1, 3, 12, 12])
        until((tmp_path / "entered").exists)
        one.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(one.port))
        (tmp_path / "go").touch()
        assert answer.result()[0] == 200
        out, err = one.process.communicate(timeout=PATIENCE)
        assert (one.process.returncode, out, err) == (0, "stopped\n", "")
