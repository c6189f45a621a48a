import contextlib
import io
import re
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gifthorse import zips
from gifthorse.data import images, npz
from gifthorse.data.npz import load_npz
from gifthorse.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 1])


@pytest.fixture
def write(tmp_path):
    def write(**arrays):
        np.savez_compressed(tmp_path / "a.npz", **arrays)
        return tmp_path / "a.npz"

    return write


def test_channels_last_and_first_and_none(write):
    first = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)
    assert load_npz(write(images=PIXELS, labels=LABELS)).images.equal(first)
    assert load_npz(write(images=first.numpy(), labels=LABELS)).images.equal(first)
    assert load_npz(write(images=PIXELS[..., 0], labels=LABELS)).images.equal(first[:, :1])
    assert load_npz(write(images=PIXELS[..., :1], labels=LABELS)).images.equal(first[:, :1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_are_rounded(write, dtype):
    floats = (PIXELS / 255).astype(dtype)
    assert np.array_equal(load_npz(write(images=floats, labels=LABELS)).images.permute(0, 2, 3, 1).numpy(), PIXELS)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, np.inf])
def test_floats_out_of_range(write, value):
    images = np.zeros((4, 6, 5))
    images[1, 2, 3] = value
    with pytest.raises(
        DataError, match=r"a\.npz: images that are floats must be in \[0, 1\].*scale them, or save uint8"
    ):
        load_npz(write(images=images, labels=LABELS))


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.complex64, "U3"])
def test_other_pixels(write, dtype):
    with pytest.raises(DataError, match=r"a\.npz: images must be uint8 or floats in \[0, 1\], got .*convert to uint8"):
        load_npz(write(images=np.zeros((4, 6, 5), dtype=dtype), labels=LABELS))


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 5, 4), (4, 6, 5, 3, 1), ()])
def test_other_shapes(write, shape):
    with pytest.raises(DataError, match=rf"images must be \(N, H, W\).*{re.escape(str(shape))}; transpose"):
        load_npz(write(images=np.zeros(shape, np.uint8), labels=LABELS))


def test_a_shape_of_two_meanings(write):
    with pytest.raises(DataError, match="could mean either"):
        load_npz(write(images=np.zeros((4, 3, 9, 3), np.uint8), labels=LABELS))


def test_class_names(write):
    assert load_npz(write(images=PIXELS, labels=LABELS, class_names=["a", "b", "c"])).class_names == ("a", "b", "c")
    with pytest.raises(DataError, match="class_names must be a row of strings, got int64"):
        load_npz(write(images=PIXELS, labels=LABELS, class_names=[1, 2, 3]))


def test_size(write):
    assert load_npz(write(images=PIXELS, labels=LABELS), size=(8, 7)).images.shape == (4, 3, 8, 7)
    assert load_npz(write(images=PIXELS[..., 0], labels=LABELS), size=(8, 7)).images.shape == (4, 1, 8, 7)


def test_missing_arrays(write):
    with pytest.raises(
        DataError, match=r"no array images and no array labels, only x, y; .*numpy\.savez\(file, images="
    ):
        load_npz(write(x=PIXELS, y=LABELS))


def test_labels(write):
    with pytest.raises(DataError, match=r"a\.npz: labels must be whole numbers, got float64"):
        load_npz(write(images=PIXELS, labels=LABELS / 2))
    with pytest.raises(DataError, match=r"a\.npz: labels must be \(4,\)"):
        load_npz(write(images=PIXELS, labels=LABELS[:3]))
    with pytest.raises(DataError, match=r"a\.npz: labels count from 0, got -1"):
        load_npz(write(images=PIXELS, labels=LABELS - 1))


@pytest.mark.parametrize(
    ("name", "kind", "shape", "message"),
    [
        ("labels", "|i1", (2**27,), "labels.npy has more than 67,108,864 entries; give fewer samples"),
        ("class_names", "<U2", (2**21,), "class_names.npy has more than 1,048,576 entries"),
        ("class_names", "<U0", (10**15,), "class_names.npy has "),
        ("images", "|u1", (10**12, 1, 0), "images.npy has entries without a byte"),
    ],
)
def test_what_becomes_larger_than_it_is(tmp_path, name, kind, shape, message):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": kind, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr(f"{name}.npy", head.getvalue())
    with pytest.raises(DataError, match=re.escape(message)):
        load_npz(tmp_path / "a.npz")


def test_floats_are_rounded_in_parts(write, monkeypatch):
    monkeypatch.setattr(npz, "AT_ONCE", 100)
    test_floats_are_rounded(write, np.float32)


def test_resizing_grows_within_bounds(write, monkeypatch):
    monkeypatch.setattr(images, "MOST_BYTES", 2**10)
    with pytest.raises(DataError, match=r"a\.npz: unpacks to more than 1,024 bytes"):
        load_npz(write(images=PIXELS, labels=LABELS), size=(512, 512))


def test_no_images(write):
    for size in (None, (4, 4)):
        with pytest.raises(DataError, match=r"a\.npz: there are no images"):
            load_npz(write(images=PIXELS[:0], labels=LABELS[:0]), size=size)


def test_pickles_are_not_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    np.savez(tmp_path / "a.npz", images=np.array([Bomb()], dtype=object), labels=LABELS)
    with pytest.raises(DataError, match=r"a\.npz.*Python objects, which could run code.*save plain numbers"):
        load_npz(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(np.array([Bomb()], dtype=object).dumps())
    with pytest.raises(DataError, match=r"b\.npz"):
        load_npz(tmp_path / "b.npz")
    assert not (tmp_path / "ran").exists()


def test_a_single_array(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, PIXELS)
    with pytest.raises(DataError, match=r"a\.npz: is a single array, not an archive"):
        load_npz(tmp_path / "a.npz")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.binary(max_size=8), st.booleans())
def test_any_damage_gives_samples_or_our_error(tmp_path_factory, place, change, cut):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    np.savez_compressed(path, images=PIXELS, labels=LABELS)
    data = bytearray(path.read_bytes())
    place %= len(data)
    data[place : (len(data) if cut else place + len(change))] = change
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        load_npz(path)


def test_a_member_that_is_no_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", b"nothing")
        archive.writestr("labels.npy", b"nothing")
    with pytest.raises(DataError, match=r"a\.npz: images is not an array; save it again"):
        load_npz(tmp_path / "a.npz")


def test_members_that_are_unpacked_whole_are_not_read(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=LABELS)
    with (
        zipfile.ZipFile(tmp_path / "a.npz") as old,
        zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_BZIP2) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    monkeypatch.setattr(zipfile, "_get_decompressor", lambda kind: pytest.fail(f"unpacked by {kind}"))
    with pytest.raises(DataError, match="packed as NumPy never does"):
        load_npz(tmp_path / "b.npz")


def test_a_large_directory_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(100):
            archive.writestr(f"member_{number}.npy", b"")
    monkeypatch.setattr(zips, "MOST_DIRECTORY", 5000)
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(DataError, match=r"its directory has [0-9,]+ bytes; at most 5,000 are read"):
        load_npz(path)
