"""HDF5 files, as Keras writes them: links that lead elsewhere, absurd sizes, odd types, damage."""

# ruff: noqa: E501 - tables of files, each in a line

import io
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np

from .place import Named, Place


def made(fill: Callable[[Any], None], **how: Any) -> bytes:
    """A file of weights with something more in it."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", **how) as file:
        weights(file)
        fill(file)
    return stream.getvalue()


def weights(file: Any) -> None:
    """Two layers, as Keras 2 has them."""
    file.attrs["layer_names"] = [b"conv_1", b"output"]
    for layer, shape in (("conv_1", (5, 5, 1, 16)), ("output", (16, 10))):
        group = file.create_group(layer)
        group.attrs["weight_names"] = [f"{layer}/kernel:0".encode(), f"{layer}/bias:0".encode()]
        group[f"{layer}/kernel:0"] = np.zeros(shape, "f4")
        group[f"{layer}/bias:0"] = np.zeros(shape[-1], "f4")


def linking(place: Place) -> Iterator[Named]:
    """Links to other files, numbers kept in other files, and links that go round in circles."""
    other = place.folder / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.zeros(16, "f4")

    def put(name: str, link: Any) -> Callable[[Any], None]:
        def fill(file: Any) -> None:
            if name in file:
                del file[name]
            file[name] = link

        return fill

    def virtual(source: str) -> Callable[[Any], None]:
        def fill(file: Any) -> None:
            layout = h5py.VirtualLayout((16,), "f4")
            layout[:] = h5py.VirtualSource(source, "secret", (16,))
            file.create_virtual_dataset("conv_1/virtual", layout)

        return fill

    def external(source: str) -> Callable[[Any], None]:
        return lambda file: file.create_dataset("conv_1/raw", (16,), "f4", external=[(source, 0, 64)])

    def named_elsewhere(*names: bytes) -> Callable[[Any], None]:
        return lambda file: file["conv_1"].attrs.__setitem__("weight_names", list(names))

    cases = {
        "link-to-a-file": put("conv_1/extra", h5py.ExternalLink(str(other), "/secret")), "link-to-a-weight": put("conv_1/conv_1/kernel:0", h5py.ExternalLink(str(other), "/secret")),
        "link-upwards": put("conv_1/extra", h5py.ExternalLink("../../other.h5", "/")), "link-to-passwd": put("conv_1/extra", h5py.ExternalLink("/etc/passwd", "/")),
        "link-to-a-device": put("conv_1/extra", h5py.ExternalLink("/dev/zero", "/")), "link-to-itself": put("extra", h5py.ExternalLink("link-to-itself.h5", "/")),
        "link-to-a-layer": put("output", h5py.ExternalLink(str(other), "/")), "soft-link": put("conv_1/extra", h5py.SoftLink("/output")),
        "soft-circle": put("conv_1/extra", h5py.SoftLink("/conv_1/extra")), "soft-into-nothing": put("conv_1/extra", h5py.SoftLink("/nothing")),
        "soft-two-circle": lambda file: (put("a", h5py.SoftLink("/b"))(file), put("b", h5py.SoftLink("/a"))(file)),
        "raw-of-passwd": external("/etc/passwd"), "raw-of-a-device": external("/dev/zero"), "raw-upwards": external("../../../etc/passwd"),
        "raw-of-nothing": external("nothing"), "virtual-of-a-file": virtual(str(other)), "virtual-of-passwd": virtual("/etc/passwd"),
        "virtual-of-itself": virtual("."), "name-that-leads-out": named_elsewhere(b"../../output/output/kernel:0"),
        "name-that-is-absolute": named_elsewhere(b"/output/output/kernel:0"), "name-of-nothing": named_elsewhere(b"nothing/kernel:0"),
        "name-of-a-group": named_elsewhere(b"conv_1"), "name-twice": named_elsewhere(b"conv_1/kernel:0", b"conv_1/kernel:0"),
        "name-no-utf-8": named_elsewhere(b"\xff\xfe/kernel:0"), "names-are-a-number": lambda file: file["conv_1"].attrs.__setitem__("weight_names", 7),
        "layers-are-a-number": lambda file: file.attrs.__setitem__("layer_names", 7), "layer-of-nothing": lambda file: file.attrs.__setitem__("layer_names", [b"nothing"]),
        "layer-is-a-dataset": lambda file: file.attrs.__setitem__("layer_names", [b"conv_1/conv_1/kernel:0"]), "hard-circle": put("conv_1/extra", None),
    }  # fmt: skip
    for name, fill in cases.items():
        if name == "hard-circle":
            yield place.write(f"{name}.h5", made(lambda file: file.__setitem__("conv_1/extra", file["/"])))
        else:
            yield place.write(f"{name}.h5", made(fill))

    def named_in_circles(file: Any) -> None:
        file["a"] = file["/"]
        file.attrs["layer_names"] = np.array([b"a/" * 132_000])

    def under_long_names(file: Any) -> None:
        group = file
        for _ in range(8):
            group = group.create_group("a" * 60_000)
        for number in range(9000):
            group[str(number)] = h5py.SoftLink("/")

    yield place.write("named-in-circles.h5", made(named_in_circles, libver="latest"))
    yield place.write("under-long-names.h5", made(under_long_names, libver="latest"))


def absurd(place: Place) -> Iterator[Named]:
    """Data sets that are far larger than the file, or hold what no weights are."""

    def dataset(name: str = "extra", **how: Any) -> Callable[[Any], None]:
        return lambda file: file.create_dataset(f"conv_1/{name}", **how)

    def instead(**how: Any) -> Callable[[Any], None]:
        def fill(file: Any) -> None:
            del file["conv_1/conv_1/kernel:0"]
            file.create_dataset("conv_1/conv_1/kernel:0", **how)

        return fill

    def groups(file: Any) -> None:
        for number in range(3000):
            file.create_group(f"g{number}")

    def deep(file: Any) -> None:
        group = file
        for _ in range(1500):
            group = group.create_group("a")

    cases = {
        "tera": dataset(shape=(2**20, 2**20), dtype="f4", chunks=(100, 100)), "tera-of-a-weight": instead(shape=(2**10, 2**10, 2**10, 2**10), dtype="f4", chunks=(1, 1, 10, 10)),
        "gzip-bomb": dataset(data=np.zeros((2**13, 2**11), "f4"), compression="gzip", chunks=True), "gzip-bomb-of-a-weight": instead(data=np.zeros((2**6, 2**6, 2**6, 2**6), "f4"), compression="gzip"),
        "unlimited": dataset(shape=(10, 10), maxshape=(None, None), dtype="f4", fillvalue=7), "text": instead(data="a" * 100), "objects": instead(data=np.array([b"a", b"b"], "S5")),
        "structure": instead(data=np.zeros(4, [("a", "f4"), ("b", "i8")])), "complex": instead(data=np.zeros((5, 5, 1, 16), "c8")), "five-dimensions": instead(data=np.zeros((1, 5, 5, 1, 16), "f4")),
        "no-dimension": instead(data=np.float32(1)), "empty": instead(data=h5py.Empty("f4")), "zero-long": instead(shape=(0, 5, 1, 16), dtype="f4"), "half-of-16-bytes": instead(data=np.zeros((5, 5, 1, 16), np.longdouble)),
        "array-type": instead(data=np.zeros(4, [("a", "f4", (1000,))])), "text-of-any-length": instead(data=["a", "b"], dtype=h5py.string_dtype()), "references": lambda file: file.__setitem__("conv_1/extra", file["/conv_1"].ref),
        "many-groups": groups, "deep-groups": deep, "not-a-number": instead(data=np.full((5, 5, 1, 16), np.nan, "f4")),
        "many-names": lambda file: file.attrs.__setitem__("layer_names", [b"conv_1"] * 3000),
    }  # fmt: skip
    for name, fill in cases.items():
        yield place.write(f"{name}.h5", made(fill))
    huge = json.dumps({"class_name": "Sequential", "config": {"layers": []}})
    for name, config in (
        ("config-no-json", "{not"),
        ("config-deep", "[" * 30_000),
        ("config-number", "7"),
        ("config-nan", "NaN"),
        ("config-empty", huge),
        ("config-no-utf-8", b"\xff\xfe"),
    ):
        yield place.write(
            f"{name}.h5", made(lambda file, config=config: file.attrs.__setitem__("model_config", config))
        )


def damaged(place: Place) -> Iterator[Named]:
    """Files that are cut, or of which some bytes are others."""
    good = made(lambda file: None)
    for number, size in enumerate((8, 9, 40, 100, 500, 1000, 2048, len(good) // 2, len(good) - 1)):
        yield place.write(f"cut-{number}.h5", good[:size])
    rng = random.Random(7)
    for number in range(12):
        changed = bytearray(good)
        for _ in range(3 + number):
            changed[rng.randrange(8, 3000)] = rng.randrange(256)
        yield place.write(f"changed-{number}.h5", bytes(changed))
    yield place.write("only-the-magic.h5", b"\x89HDF\r\n\x1a\n" + bytes(100))
    yield place.write("magic-and-ones.h5", b"\x89HDF\r\n\x1a\n" + b"\xff" * 2000)
    yield place.write("magic-later.h5", bytes(512) + good)
    yield place.write("bytes-behind.h5", good + b"PK\x03\x04" + bytes(100))
