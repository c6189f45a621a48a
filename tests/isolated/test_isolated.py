"""The closed process: what it may not do, and that whatever happens in there is an error of ours and nothing else."""

import os
import time
from pathlib import Path

import pytest

from gifthorse.errors import GiftHorseError, ModelFileError, UnsafeFileError, UnsupportedModelError
from gifthorse.isolated import NEEDED, RULE, Isolated, Limits

PROGRAM = """
import os, socket, time
class Unsupported(Exception): pass
def prepare(threads): pass
def echo(values, content): return values, content
def about(values, content):
    return {"env": dict(os.environ), "here": os.getcwd(), "stdin": os.read(0, 1) == b""}, b""
def read(values, content): return open(values["path"]).read(), b""
def write(values, content): open(values["path"], "w").write("x"); return None, b""
def remove(values, content): os.unlink(values["path"]); return None, b""
def connect(values, content): socket.create_connection(("127.0.0.1", values["port"]), timeout=3); return None, b""
def execute(values, content): os.execv("/bin/sh", ["sh", "-c", "touch " + values["path"]])
def system(values, content): return os.system("touch " + values["path"]), b""
def kill(values, content): os.kill(values["pid"], 9); return None, b""
def loop(values, content):
    while True: pass
def grow(values, content):
    kept = []
    while True: kept.append(bytearray(2**24))
def crash(values, content): os.kill(os.getpid(), 11)
def leave(values, content): os._exit(3)
def talk(values, content):
    while True: os.write(1, b"x" * 65536)
def orphan(values, content):
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
    return None, b""
def lie(values, content): os.write(int(__import__("sys").argv[2]), b"\\xff" * 16); time.sleep(60)
def nonsense(values, content): os.write(int(__import__("sys").argv[2]), b"\\x04" + bytes(15) + b"oops"); time.sleep(60)
def refuse(values, content): raise Unsupported("has a wheel")
def fail(values, content): raise KeyError("a\\x1b[31m" + "b" * 5000)
"""
WAIT = Limits(seconds=60, memory=2**28)


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("program") / "program.py"
    path.write_text(PROGRAM)
    return path


def ask(program, what, limits=WAIT, **values):
    process = Isolated(program, (), Path("model.pt"), limits=limits)
    try:
        return process.ask(what, values)
    finally:
        process.close()


def test_values_and_bytes_come_and_go(program):
    process = Isolated(program, (), Path("model.pt"))
    assert set(process.in_force) >= NEEDED
    content = os.urandom(3_000_000)  # more than a pipe holds
    assert process.ask("echo", {"a": [1, None, "ü"]}, content) == ({"a": [1, None, "ü"]}, content)
    assert process.ask("echo", {}) == ({}, b"")
    process.close()
    with pytest.raises(ModelFileError, match="has ended"):
        process.ask("echo", {})


def test_other_systems_open_nothing(program, monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(UnsafeFileError, match=r"no means to limit files, memory, network, output, time of a process"):
        Isolated(program, (), Path("model.pt"))


def test_nothing_is_inherited(program, monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.chdir(tmp_path)
    about, _ = ask(program, "about")
    assert "SECRET" not in about["env"]
    assert not {"PATH", "HOME", "PYTHONPATH"} & about["env"].keys()
    assert not Path(about["here"]).exists()  # it has gone with the process
    assert about["stdin"]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/proc/self/environ", "/proc/1/cmdline", "/dev/zero", "~/.bashrc", "secret"]
)
def test_files_are_out_of_sight(program, tmp_path, path):
    (tmp_path / "secret").write_text("secret")
    path = str(tmp_path / path) if path == "secret" else os.path.expanduser(path)
    if not os.path.exists(path):
        pytest.skip(f"there is no {path} here")
    with pytest.raises(UnsafeFileError, match=rf"model\.pt: opened in a closed process.*denied.*{RULE}"):
        ask(program, "read", path=path)


def test_nothing_is_written_or_run(program, tmp_path):
    canary = tmp_path / "canary"
    for what in ("write", "execute"):
        with pytest.raises(UnsafeFileError, match="denied"):
            ask(program, what, path=str(canary))
    assert ask(program, "system", path=str(canary))[0] != 0  # there is no shell
    assert not canary.exists()


def test_nothing_is_removed(program, tmp_path):
    (tmp_path / "kept").touch()
    with pytest.raises(UnsafeFileError, match="denied"):
        ask(program, "remove", path=str(tmp_path / "kept"))
    assert (tmp_path / "kept").exists()


def test_nobody_is_reached(program):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        with pytest.raises(GiftHorseError):
            ask(program, "connect", port=server.getsockname()[1])
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_process_of_ours_is_touched(program):
    with pytest.raises(ModelFileError):
        ask(program, "kill", pid=os.getpid())


@pytest.mark.parametrize(
    ("what", "said", "kind"),
    [
        ("loop", "did not come to an end within 2 seconds", ModelFileError),
        ("grow", "ran out of its 268,435,456 bytes of memory", ModelFileError),
        ("crash", r"crashed the process that opened it \(SIGSEGV\)", ModelFileError),
        ("leave", "ended the process that opened it, with exit code 3", ModelFileError),
        ("talk", "wrote more than 1,048,576 bytes of output", UnsafeFileError),
        ("lie", "which are too many", ModelFileError),
        ("nonsense", "answered with what is no JSON", ModelFileError),
        ("refuse", r"^model\.pt has a wheel$", UnsupportedModelError),
        ("fail", r"raised an error \(KeyError: 'a.*b … b+'*\)", ModelFileError),
    ],
)
def test_whatever_happens_is_an_error_that_says_which(program, what, said, kind):
    before = time.monotonic()
    limits = Limits(seconds=2, memory=2**28) if what == "loop" else WAIT
    with pytest.raises(kind, match=said) as caught:
        ask(program, what, limits)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert what != "loop" or time.monotonic() - before < 30


def test_time_of_the_processor_is_limited(program):
    with pytest.raises(ModelFileError, match=r"took more than 1 seconds of a processor|killed by the system"):
        ask(program, "loop", Limits(cpu_seconds=1))


def alive(group: int) -> list[str]:
    """The processes of a group that are not dead, whoever has still to be told that they are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = path.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [path.parent.name] if int(of) == group and state not in "ZX" else []
    return found


def test_nothing_is_left_behind(program, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    process = Isolated(program, (), Path("model.pt"))
    if "processes" not in process.in_force:
        pytest.skip("this system gives no namespace of processes")
    process.ask("orphan", {})
    group = process._process.pid
    del process  # forgotten, and not closed
    assert not list(tmp_path.iterdir())
    patience = time.monotonic() + 60  # what is killed takes its time to die on a busy machine
    while alive(group) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not alive(group)


def test_without_the_means_nothing_is_opened(program, monkeypatch):
    monkeypatch.setattr("gifthorse.isolated.NEEDED", NEEDED | {"gravity"})
    with pytest.raises(UnsafeFileError, match="no means to limit gravity of a process, so it was not opened"):
        Isolated(program, (), Path("model.pt"))
