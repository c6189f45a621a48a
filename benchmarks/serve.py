"""What the guard costs a service: throughput and latency beside the same service without it, in the same run.

    python benchmarks/serve.py [--seconds S] [--arch gtsrb] [--overlays 32] [--threads 1]

Two services run as `gifthorse serve` in processes of their own: a network behind STRIP, and the same network bare. 1,
8 and 64 clients ask them by turns, on connections that they keep, for one image of bytes at a time, and send the next
request when they have the answer. The network has random weights, which cost the same. STRIP passes each image
through the network once for each overlay, and the answer once more, twice if another model gives it. Times on a shared
machine are noisy, and the clients take part of it; the ratios are what to read.
"""

import argparse
import http.client
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from gifthorse.arch import architecture, untrained
from gifthorse.core.data import Samples
from gifthorse.core.spec import Spec
from gifthorse.core.verdict import Outcome, Verdict
from gifthorse.guard.guard_file import save_guard
from gifthorse.guard.strip import Strip
from gifthorse.load import load_model, save_model

CLIENTS = (1, 8, 64)
TURNS = 2  # of each service, by turns
WARM = 0.5  # seconds before times count
NOBODY = Verdict(Outcome.NO_BACKDOOR_FOUND, 1.0, (), (), "not looked at", "none", Spec("none"), 0)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    options.add_argument("--arch", default="gtsrb")
    options.add_argument("--overlays", type=int, default=32)
    options.add_argument("--threads", type=int, default=1, help="of torch, in each service")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        shape = files(Path(folder), chosen.arch, chosen.overlays)
        ways = {"bare": ["--no-guard"], "guarded": ["--guard", f"{folder}/guard.safetensors"]}
        ports = {
            name: stack.enter_context(service(Path(folder), chosen.arch, chosen.threads, more))
            for name, more in ways.items()
        }
        print(f"{chosen.arch}, one image {'×'.join(map(str, shape))} a request, STRIP with {chosen.overlays} overlays")
        print(f"{'clients':>8} {'service':>8} {'answers/s':>10} {'p50 ms':>8} {'p99 ms':>8}")
        for clients in CLIENTS:
            taken: dict[str, list[float]] = {name: [] for name in ports}
            spent = dict.fromkeys(ports, 0.0)
            for _ in range(TURNS):
                for name, port in ports.items():
                    answers, seconds = ask(port, shape, clients, chosen.seconds)
                    taken[name] += answers
                    spent[name] += seconds
            report(clients, taken, spent)


def files(folder: Path, arch: str, overlays: int) -> tuple[int, int, int]:
    """A model and its guard in ``folder``; the size of an image."""
    spec = architecture(arch).spec
    save_model(untrained(arch, spec, seed=0), folder / "model.safetensors")
    model = load_model(folder / "model.safetensors", arch=arch)
    drawn = torch.randint(0, 256, (overlays + 100, *spec.input_shape), generator=torch.Generator().manual_seed(0))
    clean = Samples(drawn.to(torch.uint8), torch.arange(len(drawn)) % spec.num_classes)
    save_guard(Strip(overlays=overlays).calibrate(model, clean, NOBODY, seed=0), model, folder / "guard.safetensors")
    return spec.input_shape


@contextmanager
def service(folder: Path, arch: str, threads: int, more: list[str]) -> Iterator[int]:
    """The command in a process of its own; its port."""
    command = [sys.executable, "-m", "gifthorse", "serve", "model.safetensors", "--arch", arch, "--port", "0", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r":(\d+) ", process.stdout.readline())
        assert found is not None
        try:
            yield int(found[1])
        finally:
            process.terminate()


def ask(port: int, shape: tuple[int, int, int], clients: int, seconds: float) -> tuple[list[float], float]:
    """Seconds that each answer took, without those that came while it warmed up, and the time until the last."""
    head = (
        f'{{"inputs":[{{"name":"images","shape":[1,{",".join(map(str, shape))}],"datatype":"UINT8",'
        f'"parameters":{{"binary_data_size":{shape[0] * shape[1] * shape[2]}}}}}],"outputs":[{{"name":"label"}}]}}'
    ).encode()
    body = head + os.urandom(shape[0] * shape[1] * shape[2])
    begin = time.perf_counter() + WARM
    taken: list[list[tuple[float, float]]] = [[] for _ in range(clients)]

    def one(mine: list[tuple[float, float]]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while (started := time.perf_counter()) < begin + seconds:
            connection.request(
                "POST", "/v2/models/model/infer", body, {"Inference-Header-Content-Length": str(len(head))}
            )
            response = connection.getresponse()
            assert response.status == 200, response.read()
            response.read()
            ended = time.perf_counter()
            if ended >= begin:
                mine.append((ended - started, ended))
        connection.close()

    threads = [threading.Thread(target=one, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = [one for mine in taken for one in mine]
    return [seconds for seconds, _ in answers], max(ended for _, ended in answers) - begin


def report(clients: int, taken: dict[str, list[float]], spent: dict[str, float]) -> None:
    """A line for each service, and the ratios; ``spent`` is how long each was asked, in seconds."""
    told = {}
    for name, values in taken.items():
        middle, late = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.5, 0.99]).double()).tolist()
        told[name] = len(values) / spent[name], 1000 * middle, 1000 * late
        print(f"{clients:>8} {name:>8} {told[name][0]:>10.1f} {told[name][1]:>8.1f} {told[name][2]:>8.1f}")
    less, p50, p99 = (a / b for a, b in zip(told["guarded"], told["bare"], strict=True))
    print(f"{'':>8} {'ratio':>8} {less:>10.3f} {p50:>8.1f} {p99:>8.1f}   1 in {1 / less:.1f}")


if __name__ == "__main__":
    main()
