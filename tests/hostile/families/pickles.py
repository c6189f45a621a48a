"""Pickles that run code when they are opened, and pickles that are broken or eat memory."""

# ruff: noqa: E501 - tables of files, each in a line

import code
import cProfile
import functools
import importlib
import io
import logging
import operator
import os
import pathlib
import pickle
import runpy
import shutil
import sqlite3
import struct
import subprocess
import time
import timeit
import zipfile
from collections.abc import Iterator

import numpy as np
import numpy.testing._private.utils as numpy_utils
import torch
import torch.utils.collect_env

from .place import Named, Place


class Call:
    """Pickled as a call of ``function``, which may be the outcome of another call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call

    def __call__(self):
        raise AssertionError("pickle wants it callable; nothing calls it")


CORE = ("system", "mkdir", "exec", "getattr", "importlib", "numpy-runstring", "torch-collect-env", "pickle-in-pickle")
"""In every protocol; the others in one."""


def gadgets(canary: str) -> dict[str, Call]:
    """Calls of which each makes the file or folder ``canary``, by what they lean on."""
    source = f"open({canary!r}, 'w').close()"
    module = Call(__import__, "os")
    return {
        "system": Call(os.system, f"touch {canary}"),
        "mkdir": Call(os.mkdir, canary),
        "exec": Call(exec, source),
        "eval": Call(eval, source),
        "open": Call(open, canary, "w"),
        "fileio": Call(io.FileIO, canary, "w"),
        "getattr": Call(Call(getattr, module, "mkdir"), canary),
        "importlib": Call(Call(getattr, Call(importlib.import_module, "os"), "mkdir"), canary),
        "attrgetter": Call(Call(Call(operator.attrgetter, "mkdir"), module), canary),
        "methodcaller": Call(Call(operator.methodcaller, "mkdir", canary), module),
        "partial": Call(functools.partial(os.mkdir, canary)),
        "map": Call(list, Call(map, os.mkdir, [canary])),
        "subprocess": Call(subprocess.call, ["touch", canary]),
        "numpy-runstring": Call(numpy_utils.runstring, source, {}),
        "numpy-save": Call(np.save, canary, [1]),
        "torch-collect-env": Call(torch.utils.collect_env.run, f"touch {canary}"),
        "torch-save": Call(torch.save, [1], canary),
        "timeit": Call(timeit.timeit, source, "pass", time.perf_counter, 1),
        "profile": Call(cProfile.run, source, canary),
        "pickle-in-pickle": Call(pickle.loads, pickle.dumps(Call(os.mkdir, canary))),
        "interpreter": Call(Call(getattr, Call(code.InteractiveInterpreter), "runsource"), source),
        "copyfile": Call(shutil.copyfile, __file__, canary),
        "log-file": Call(logging.FileHandler, canary),
        "sqlite": Call(sqlite3.connect, canary),
        "zipfile": Call(zipfile.ZipFile, canary, "w"),
        "path-touch": Call(pathlib.Path.touch, pathlib.Path(canary)),
        "run-path": Call(runpy.run_path, canary + ".py"),
    }


def running(place: Place) -> Iterator[Named]:
    """One call in each of the protocols; every one of these makes its canary where it is unpickled."""
    for name in gadgets("x"):
        for protocol in range(6) if name in CORE else (4,):
            file = f"{name}-{protocol}.pkl"
            canary = place.canary(file)
            if name == "run-path":
                (place.folder / "script.py").write_text(f"open({canary!r}, 'w').close()")
                yield place.write(file, pickle.dumps(Call(runpy.run_path, str(place.folder / "script.py")), protocol))
            else:
                yield place.write(file, pickle.dumps({"weight": gadgets(canary)[name]}, protocol))


def text(value: str) -> bytes:
    """SHORT_BINUNICODE."""
    return b"\x8c" + bytes([len(value.encode())]) + value.encode()


def long_text(value: str) -> bytes:
    """BINUNICODE."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def assembled(place: Place) -> Iterator[Named]:
    """Opcodes put together by hand, as no pickler writes them; each makes its canary where it is unpickled."""
    tricks = {
        "global": lambda c: b"cposix\nmkdir\n(" + long_text(c) + b"tR.",
        "inst": lambda c: b"(" + long_text(c) + b"iposix\nmkdir\n.",
        "obj": lambda c: b"(cposix\nmkdir\n" + long_text(c) + b"o.",
        "stack-global": lambda c: b"\x80\x04" + text("posix") + text("mkdir") + b"\x93" + long_text(c) + b"\x85R.",
        "memo-swap": lambda c: b"\x80\x04" + text("posix") + b"\x940" + text("mkdir") + b"\x940" + text("harmless")
        + b"0h\x00h\x01\x93" + long_text(c) + b"\x85R.",
        "memo-overwritten": lambda c: b"\x80\x04" + text("collections") + b"q\x000" + text("posix") + b"q\x000h\x00"
        + text("mkdir") + b"\x93" + long_text(c) + b"\x85R.",
        "memo-by-text": lambda c: b"\x80\x04" + text("posix") + b"p7\n0g7\n" + text("mkdir") + b"\x93" + long_text(c)
        + b"\x85R.",
        "memo-far": lambda c: b"\x80\x04" + text("posix") + b"r\xff\xff\xff\x000j\xff\xff\xff\x00" + text("mkdir")
        + b"\x93" + long_text(c) + b"\x85R.",
        "pops-between": lambda c: b"\x80\x04" + text("posix") + text("mkdir") + text("collections")
        + text("OrderedDict") + b"00\x93" + long_text(c) + b"\x85R.",
        "pop-mark": lambda c: b"\x80\x04" + text("posix") + text("mkdir") + b"(" + text("torch") + text("Size")
        + b"1\x93" + long_text(c) + b"\x85R.",
        "dup": lambda c: b"\x80\x04" + text("posix") + text("mkdir") + b"20\x93" + long_text(c) + b"\x85R.",
        "names-from-a-tuple": lambda c: b"\x80\x04" + text("posix") + text("mkdir") + b"\x86\x940" + text("posix")
        + text("mkdir") + b"\x93" + long_text(c) + b"\x85R.",
        "escaped-unicode": lambda c: b"\x80\x04V\\u0070osix\nVmkdi\\u0072\n\x93" + long_text(c) + b"\x85R.",
        "escaped-string": lambda c: b"\x80\x04S'\\x70osix'\nS'mkdi\\x72'\n\x93" + long_text(c) + b"\x85R.",
        "short-binstring": lambda c: b"\x80\x04U\x05posixU\x05mkdir\x93" + long_text(c) + b"\x85R.",
        "long-strings": lambda c: b"\x80\x04\x8d" + struct.pack("<Q", 5) + b"posix" + text("mkdir") + b"\x93"
        + long_text(c) + b"\x85R.",
        "dotted": lambda c: b"\x80\x04" + text("os") + text("path.os.mkdir") + b"\x93" + long_text(c) + b"\x85R.",
        "dotted-torch": lambda c: b"\x80\x04" + text("torch") + text("serialization.os.mkdir") + b"\x93" + long_text(c)
        + b"\x85R.",
        "dotted-allowed": lambda c: b"\x80\x04" + text("collections") + text("_sys.modules") + b"\x93("
        + text("a") + b"NdN0" + text("posix") + text("mkdir") + b"\x93" + long_text(c) + b"\x85R.",
        "newobj": lambda c: b"\x80\x04c_io\nFileIO\n" + long_text(c) + text("w") + b"\x86\x81"
        + b"c_io\nFileIO\n" + long_text(c) + text("w") + b"\x86R.",
        "newobj-ex": lambda c: b"\x80\x04csubprocess\nPopen\n]" + text("touch") + b"a" + long_text(c) + b"a\x85}\x92"
        + b"0csubprocess\ncall\n]" + text("touch") + b"a" + long_text(c) + b"a\x85R.",
        "build": lambda c: b"\x80\x04ccode\nInteractiveInterpreter\n)R}" + text("runsource") + b"cposix\nmkdir\nsb"
        + b"0cposix\nmkdir\n" + long_text(c) + b"\x85R.",
        "after-a-benign-one": lambda c: pickle.dumps([1, 2], 2)[:-1] + b"0cposix\nmkdir\n" + long_text(c) + b"\x85R.",
        "frames": lambda c: b"\x80\x04\x95" + struct.pack("<Q", 1) + b"N0cposix\nmkdir\n" + long_text(c) + b"\x85R.",
        "two-protocols": lambda c: b"\x80\x02\x80\x05cposix\nmkdir\n" + long_text(c) + b"\x85R.",
        "no-protocol": lambda c: b"N0cposix\nmkdir\n" + long_text(c) + b"\x85R.",
        "python-2-names": lambda c: b"\x80\x02c__builtin__\neval\n" + long_text(f"open({c!r}, 'w')") + b"\x85R.",
        "list-append": lambda c: b"\x80\x04]cposix\nmkdir\n" + long_text(c) + b"\x85Ra.",
        "as-a-key": lambda c: b"\x80\x04}cposix\nmkdir\n" + long_text(c) + b"\x85RNs.",
        "broken-tail": lambda c: b"\x80\x04cposix\nmkdir\n" + long_text(c) + b"\x85R",
        "unknown-opcode-behind": lambda c: b"\x80\x04cposix\nmkdir\n" + long_text(c) + b"\x85R\xff",
        "truncated-argument-behind": lambda c: b"\x80\x04cposix\nmkdir\n" + long_text(c) + b"\x85RX\xff\xff\xff\xff",
        "stack-underflow-behind": lambda c: b"\x80\x04cposix\nmkdir\n" + long_text(c) + b"\x85R000000.",
        "rebuild-as-a-name": lambda c: b"\x80\x04ctorch._utils\n_import_dotted_name\n" + text("os.mkdir") + b"\x85R"
        + long_text(c) + b"\x85R.",
    }  # fmt: skip
    for name, made in tricks.items():
        yield place.write(f"{name}.pkl", made(place.canary(f"{name}.pkl")))


def hidden(place: Place) -> Iterator[Named]:
    """Code where a program may not look, though it may read on: behind, before, under other names, by a registry."""

    def call(name: str, protocol: int = 4) -> bytes:
        return pickle.dumps(Call(os.mkdir, place.canary(name)), protocol)

    harmless = pickle.dumps({"epoch": 3}, 2)
    legacy = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    cases = {
        "second-of-two.pkl": lambda n: harmless + call(n),
        "fourth.pkl": lambda n: harmless * 3 + call(n),
        "seventh.pkl": lambda n: harmless * 6 + call(n),
        "behind-zeros.pkl": lambda n: harmless + bytes(100) + call(n),
        "before-text.txt": lambda n: call(n, 0) + b"\nAll rights reserved.\n",
        "as-onnx.onnx": call, "as-h5.h5": call, "as-keras.keras": call, "as-npz.npz": call, "as-json.json": call,
        "as-safetensors.safetensors": call, "as-pt2.pt2": call, "as-caffemodel.caffemodel": call, "as-pb.pb": call,
        "no-suffix": call, "as-markdown.md": lambda n: call(n, 0), "as-text.txt": lambda n: call(n, 0),
        "in-legacy-head.pth": lambda n: legacy + call(n),
        "in-legacy-fourth.pth": lambda n: legacy + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + call(n, 2),
        "in-legacy-keys.pth": lambda n: legacy + pickle.dumps(1001, 2) + pickle.dumps({}, 2) * 2 + call(n, 2),
        "legacy-magic-elsewhere.pth": lambda n: b"N0" + legacy + call(n, 2),
        "persistent-id.pkl": lambda n: b"\x80\x02Q" + call(n, 2)[2:],
        "persistent-id-by-text.pkl": lambda n: b"Pposix.mkdir\n0" + call(n, 0),
        "gzip-name.pkl.gz": call, "zip-name.zip": call,
    }  # fmt: skip
    for name, made in cases.items():
        yield place.write(name, made(name))
    for number, opcode in (
        (1, b"\x82\x01"),
        (255, b"\x82\xff"),
        (65535, b"\x83\xff\xff"),
        (2**31 - 1, b"\x84\xff\xff\xff\x7f"),
    ):
        yield place.write(f"extension-{number}.pkl", b"\x80\x02" + opcode + b")R.")
    for name in ("builtins\neval", "__builtin__\nexec", "torch\nload", "torch.storage\n_load_from_bytes", "numpy\nload",
                 "numpy._core.multiarray\nscalar", "numpy.core.multiarray\n_reconstruct", "torch._utils\n_rebuild_tensor_v4",
                 "torch.nn.modules.linear\nLinear", "copyreg\n_reconstructor", "torch.FloatStorage\nfrom_file"):  # fmt: skip
        yield place.write(f"name-{name.replace(chr(10), '.')}.pkl", b"\x80\x02c" + name.encode() + b"\n.")


def broken(place: Place) -> Iterator[Named]:
    """Pickles that run nothing, and are no weights: damaged, endless, or far larger than they look."""
    huge = 2**62
    bomb = (
        b"\x80\x04"
        + b"(]"
        + b"\x94"
        + b"".join(b"(" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"t\x94" for level in range(60))
    )
    cases = {
        "nothing": b"\x80\x04", "only-stop": b".", "stop-on-empty": b"\x80\x04.", "half": pickle.dumps(list(range(999)))[:-700],
        "giant-text": b"\x80\x04\x8d" + struct.pack("<Q", huge) + b"abc.", "giant-bytes": b"\x80\x04\x8e" + struct.pack("<Q", huge) + b"a.",
        "giant-bytearray": b"\x80\x05\x96" + struct.pack("<Q", huge) + b"abc.", "negative-binstring": b"\x80\x02T\xff\xff\xff\xffabc.",
        "giant-long": b"\x80\x02\x8b\xff\xff\xff\x7f1.", "negative-long": b"\x80\x02\x8b\xff\xff\xff\xff1.",
        "digits": b"L" + b"9" * 200_000 + b"L\n.", "digits-to-get": b"g" + b"9" * 5000 + b"\n.", "digits-to-put": b"Np" + b"9" * 5000 + b"\n.",
        "giant-frame": b"\x80\x04\x95" + struct.pack("<Q", huge) + b"N.", "missing-memo": b"\x80\x04h\x07.", "bad-escape": b"S'\\x'\n.",
        "bad-unicode": b"\x80\x04\x8c\x02\xff\xfe.", "lone-surrogate": b"\x80\x04X\x03\x00\x00\x00\xed\xa0\x80.", "bad-int": b"Iabc\n.",
        "bad-float": b"Fabc\n.", "no-newline": b"cposix\nmkdir", "protocol-77": b"\x80\x4dN.", "nested-tuples": b"\x80\x04)" + b"\x85" * 300_000 + b".",
        "nested-marks": b"\x80\x04" + b"(" * 300_000 + b".", "nested-lists": b"\x80\x04" + b"](" * 200_000 + b"e" * 200_000 + b".",
        "laughs": bomb + b".", "million-memos": b"\x80\x04N" + b"\x94" * 300_000 + b".", "many-names": b"ctorch\nSize\n0" * 60_000 + b"N.",
        "bytearray-of-100-gb": b"\x80\x04cbuiltins\nbytearray\n\x8a\x05" + (10**11).to_bytes(5, "little") + b"\x85R.",
        "none": pickle.dumps(None), "a-number": pickle.dumps(7), "a-dictionary": pickle.dumps({"a": [1, 2, 3]}), "zeros": bytes(4096),
    }  # fmt: skip
    for name, content in cases.items():
        yield place.write(f"{name}.pkl", content)
