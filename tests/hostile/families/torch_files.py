"""Checkpoints of PyTorch: with code in them, with tensors that are not there, and archives that are read in two ways."""

# ruff: noqa: E501 - tables of files, each in a line

import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
import torch

from .pickles import Call, gadgets
from .place import Named, Place, zip_bytes

MANY = ("system", "mkdir", "exec", "getattr", "importlib", "numpy-runstring", "torch-collect-env", "pickle-in-pickle",
        "torch-save", "open", "attrgetter", "interpreter")  # fmt: skip
WEIGHTS = {"conv_1.weight": torch.zeros(4, 3, 3, 3), "conv_1.bias": torch.zeros(4)}


def saved(content: object, **options: object) -> bytes:
    """What ``torch.save`` writes."""
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def members(content: bytes) -> dict[str, bytes]:
    """Those of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def running(place: Place) -> Iterator[Named]:
    """Weights or a network with a call among them; each makes its canary where ``torch.load`` unpickles it."""
    for name in MANY:
        for file, new in ((f"{name}-zip.pth", True), (f"{name}-legacy.pth", False)):
            gadget = gadgets(place.canary(file))[name]
            yield place.write(file, saved({**WEIGHTS, "extra": gadget}, _use_new_zipfile_serialization=new))
        for file, new in ((f"{name}-in-a-network-zip.pth", True), (f"{name}-in-a-network-legacy.pth", False)):
            network = torch.nn.Sequential(torch.nn.Linear(2, 2))
            network.extra = gadgets(place.canary(file))[name]
            yield place.write(file, saved(network, _use_new_zipfile_serialization=new))
    for key in ("state_dict", "model", "optimizer", "epoch"):
        file = f"nested-under-{key}.ckpt"
        gadget = gadgets(place.canary(file))["system"]
        yield place.write(file, saved({"state_dict": WEIGHTS, key: {"a": [(1, {"b": gadget})]}}))
    for suffix in (".bin", ".pt", ".tar", ".model", ".dat", ".jpg", ""):
        file = f"odd-suffix{suffix}"
        yield place.write(file, saved({**WEIGHTS, "x": gadgets(place.canary(file))["mkdir"]}))


def hidden(place: Place) -> Iterator[Named]:
    """A benign checkpoint with code elsewhere in it, and archives of which two readers see different things."""
    good = members(saved(WEIGHTS))
    prefix = next(iter(good)).partition("/")[0]
    body = {name.partition("/")[2]: content for name, content in good.items()}
    data = body["data.pkl"]

    def bad(file: str) -> bytes:
        return pickle.dumps(Call(os.mkdir, place.canary(file)), 2)

    def named(top: str, names: dict[str, bytes]) -> list[tuple[str, bytes]]:
        return [(f"{top}/{name}", content) for name, content in names.items()]

    rest = {name: content for name, content in body.items() if name != "data.pkl"}
    cases: dict[str, Callable[[str], list[tuple[str, bytes]]]] = {
        "two-of-one-name": lambda f: [*named(prefix, body), (f"{prefix}/data.pkl", bad(f))],
        "two-of-one-name-first": lambda f: [(f"{prefix}/data.pkl", bad(f)), *named(prefix, body)],
        "capitals": lambda f: named(prefix, {"DATA.PKL": bad(f), **body}),
        "capitals-alone": lambda f: named(prefix, {"Data.pkl": bad(f), **rest}),
        "capital-suffix": lambda f: named(prefix, {"data.PKL": bad(f), **rest}),
        "other-top-first": lambda f: [("other/data.pkl", bad(f)), *named(prefix, body)],
        "other-top-last": lambda f: [*named(prefix, body), ("other/data.pkl", bad(f))],
        "no-top": lambda f: [("data.pkl", bad(f)), *named(prefix, body)],
        "pickle-beside": lambda f: [*named(prefix, body), (f"{prefix}/more.pickle", bad(f))],
        "pickle-as-constants": lambda f: named(prefix, {**body, "constants.pkl": bad(f)}),
        "pickle-as-constants-in-capitals": lambda f: named(prefix, {**body, "CONSTANTS.PKL": bad(f)}),
        "pickle-as-attributes": lambda f: named(prefix, {**body, "attributes.pkl": bad(f)}),
        "nul-in-the-name": lambda f: [(f"{prefix}/data.pkl\0.txt", bad(f)), *named(prefix, rest)],
        "backslashes": lambda f: [(f"{prefix}\\data.pkl", bad(f)), *named(prefix, body)],
        "dots": lambda f: [(f"{prefix}/./data.pkl", bad(f)), *named(prefix, body)],
        "up-and-down": lambda f: [(f"{prefix}/x/../data.pkl", bad(f)), *named(prefix, body)],
        "archive-inside": lambda f: [*named(prefix, body), (f"{prefix}/inner.pt", saved({"a": gadgets(place.canary(f))["mkdir"]}))],
        "code-inside": lambda f: named(prefix, {**body, "code/__torch__.py": b"import os"}),
        "python-inside": lambda f: named(prefix, {**body, "setup.py": b"import os"}),
        "version-is-code": lambda f: named(prefix, {**body, "version": bad(f)}),
        "byte-order-is-code": lambda f: named(prefix, {**body, "byteorder": bad(f)}),
    }  # fmt: skip
    for name, made in cases.items():
        file = f"{name}.pth"
        yield place.zipped(file, made(file))
    for name, how in (("deflated", zipfile.ZIP_DEFLATED), ("bzip2", zipfile.ZIP_BZIP2), ("lzma", zipfile.ZIP_LZMA)):
        file = f"{name}.pth"
        yield place.zipped(file, named(prefix, {"data.pkl": bad(file), **rest}), compression=how)
    file = "wrong-crc.pth"
    content = saved({**WEIGHTS, "x": gadgets(place.canary(file))["mkdir"]})
    yield place.write(file, content.replace(b"conv_1.bias", b"conv_1.biaz", 1))
    file = "encrypted-flag.pth"
    content = bytearray(zip_bytes(named(prefix, {"data.pkl": bad(file), **rest})))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    yield place.write(file, bytes(content))
    file = "behind-a-prefix.pth"
    yield place.write(file, b"#!/bin/sh\n" + saved({"x": gadgets(place.canary(file))["mkdir"]}))
    file = "pickle-in-front-of-a-zip.pth"
    yield place.write(file, bad(file) + saved(WEIGHTS))
    file = "zip-behind-a-zip.pth"
    yield place.write(file, saved(WEIGHTS) + saved({"x": gadgets(place.canary(file))["mkdir"]}))
    file = "local-name-differs.pth"
    yield place.write(
        file, zip_bytes(named(prefix, {"datx.pkl": bad(file), **rest})).replace(b"datx.pkl", b"data.pkl", 1)
    )
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("storages", "tensors", "pickle"):
            entry = tarfile.TarInfo(name)
            entry.size = len(bad("old.tar"))
            archive.addfile(entry, io.BytesIO(bad("old.tar")))
    yield place.write("old.tar", stream.getvalue())
    del data


def _pickle(
    tensors: bytes = b"", *, storage: bytes = b"FloatStorage", key: bytes = b"0", device: bytes = b"cpu", count: int = 4,
    offset: int = 0, size: tuple[int, ...] = (2, 2), stride: tuple[int, ...] = (2, 1), module: bytes = b"torch",
) -> bytes:  # fmt: skip
    """The pickle of ``{"w": tensor}`` as ``torch.save`` writes it, with whatever numbers."""

    def number(value: int) -> bytes:
        return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)

    def string(value: bytes) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value

    def row(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    stored = (
        b"("
        + string(b"storage")
        + b"c"
        + module
        + b"\n"
        + storage
        + b"\n"
        + string(key)
        + string(device)
        + number(count)
        + b"tQ"
    )
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + stored
        + number(offset)
        + row(size)
        + row(stride)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )
    return b"\x80\x02}" + string(b"w") + (tensors or tensor) + b"s."


def absurd(place: Place) -> Iterator[Named]:  # noqa: PLR0915 - a list
    """Tensors that are larger than their numbers, or have none, or lie outside of them."""

    def archive(name: str, pickled: bytes, **more: bytes) -> Named:
        inner = {"data.pkl": pickled, "byteorder": b"little", "data/0": bytes(16), "version": b"3\n"}
        inner |= {key.replace("_", "/"): content for key, content in more.items()}
        return place.zipped(f"{name}.pth", {f"archive/{key}": content for key, content in inner.items()})

    huge = 2**40
    yield archive("size-of-a-tera", _pickle(size=(huge,), stride=(1,)))
    yield archive("size-by-strides-of-zero", _pickle(size=(2**20, 2**20), stride=(0, 0)))
    yield archive("size-that-overflows", _pickle(size=(2**32, 2**32), stride=(0, 0)))
    yield archive("size-below-zero", _pickle(size=(-4,), stride=(1,)))
    yield archive("stride-below-zero", _pickle(size=(4,), stride=(-1,)))
    yield archive("stride-that-overflows", _pickle(size=(2, 2), stride=(2**62, 2**62)))
    yield archive("offset-behind-the-end", _pickle(offset=huge))
    yield archive("offset-below-zero", _pickle(offset=-8))
    yield archive("storage-of-a-tera", _pickle(count=huge))
    yield archive("storage-below-zero", _pickle(count=-1))
    yield archive("storage-missing", _pickle(key=b"7"))
    yield archive("storage-elsewhere", _pickle(key=b"../../../../etc/passwd"))
    yield archive("storage-is-the-pickle", _pickle(key=b"../data.pkl"))
    yield archive("storage-too-short", _pickle(count=4), data_0=bytes(3))
    yield archive("storage-empty", _pickle(count=4), data_0=b"")
    yield archive("storage-of-another-type", _pickle(storage=b"DoubleStorage"))
    yield archive("storage-of-no-type", _pickle(storage=b"NoSuchStorage"))
    yield archive("storage-untyped", _pickle(storage=b"UntypedStorage", module=b"torch.storage"))
    yield archive("on-no-device", _pickle(device=b"nonsense:99"))
    yield archive("on-meta", _pickle(device=b"meta"))
    yield archive("more-sizes-than-strides", _pickle(size=(2, 2), stride=(1,)))
    yield archive("thousand-dimensions", _pickle(size=(1,) * 1000, stride=(1,) * 1000))
    yield archive("byte-order-odd", _pickle(), byteorder=b"sideways")
    yield archive("version-odd", _pickle(), version=b"99999999999999999999")
    yield archive("version-missing", _pickle(), version=b"")
    yield archive("not-a-storage", _pickle(b"X\x01\x00\x00\x00aQ"))
    yield archive(
        "storage-called",
        _pickle(b"ctorch.storage\nUntypedStorage\n\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85R"),
    )
    yield archive("tensor-called", _pickle(b"ctorch\nTensor\nJ\x00\x00\x01\x00J\x00\x00\x10\x00\x86R"))
    yield archive(
        "bytearray-called", _pickle(b"cbuiltins\nbytearray\n\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85R")
    )
    yield archive("set-state", _pickle(b"ctorch\nTensor\n)R(NJ\x00\x00\x00\x00))tb"))
    yield archive("rebuild-of-nothing", _pickle(b"ctorch._utils\n_rebuild_tensor_v2\n)R"))
    yield archive("rebuild-of-text", _pickle(b"ctorch._utils\n_rebuild_tensor_v2\n(X\x01\x00\x00\x00aK\x00))\x89NtR"))
    yield archive(
        "rebuild-from-type",
        _pickle(
            b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nTensor\nctorch\nTensor\n)}X\x08\x00\x00\x00__dict__}stR"
        ),
    )
    yield archive(
        "sparse-outside",
        _pickle(
            b"ctorch._utils\n_rebuild_sparse_tensor\n(ctorch.serialization\n_get_layout\nX\x10\x00\x00\x00torch.sparse_coo"
            b"\x85R(NNNtt" + b"R"
        ),
    )
    yield archive("cyclic", b"\x80\x02}q\x00X\x01\x00\x00\x00wh\x00s.")
    yield archive("key-is-a-number", _pickle().replace(b"X\x01\x00\x00\x00w", b"K\x07", 1))
    yield archive("unhashable-key", b"\x80\x02}]Ns.")
    legacy = (
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    )
    old = _pickle().replace(
        b"\x8a\x09" + (4).to_bytes(9, "little") + b"tQ", b"\x8a\x09" + (4).to_bytes(9, "little") + b"NtQ", 1
    )
    assert old != _pickle()
    tails = {
        "legacy-without-numbers": pickle.dumps(["0"], 2), "legacy-short": pickle.dumps(["0"], 2) + struct.pack("<Q", 4) + bytes(3),
        "legacy-count-of-a-tera": pickle.dumps(["0"], 2) + struct.pack("<Q", huge) + bytes(16),
        "legacy-count-below-zero": pickle.dumps(["0"], 2) + struct.pack("<q", -5) + bytes(16),
        "legacy-keys-of-others": pickle.dumps(["9"], 2) + struct.pack("<Q", 4) + bytes(16),
        "legacy-keys-are-a-number": pickle.dumps(7, 2), "legacy-cut": b"\x80",
        "legacy-more-behind": pickle.dumps(["0"], 2) + struct.pack("<Q", 4) + bytes(16) + b"and a thousand more bytes",
    }  # fmt: skip
    for name, tail in tails.items():
        yield place.write(f"{name}.pth", legacy + old + tail)
    yield place.write(
        "legacy-old-protocol.pth",
        legacy.replace(pickle.dumps(1001, 2), pickle.dumps(7, 2)) + old + pickle.dumps(["0"], 2),
    )
    content = bytearray(saved({"w": torch.arange(4096.0)}))
    content[content.index(np.arange(4096, dtype="<f4")[99:140].tobytes()) + 5] ^= 0xFF
    yield place.write("numbers-damaged.pth", bytes(content))
    whole = saved(WEIGHTS)
    for share in (1, 4, 9):
        yield place.write(f"cut-{share}0-percent.pth", whole[: len(whole) * share // 10])
