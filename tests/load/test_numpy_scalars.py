"""NumPy scalars in a checkpoint are read as numbers, written as they were, and nothing else of NumPy comes in."""

import numpy as np
import pytest
import torch

from gifthorse.errors import ModelFileError, UnsafeFileError
from gifthorse.load import load_model, save_model

NUMBERS = [
    np.float64(0.1),
    np.float32(-2.5),
    np.float16(3),
    np.int64(-(2**40)),
    np.uint8(200),
    np.bool_(True),
    np.complex64(1 + 2j),
    np.array([1.5], ">f4")[0],
]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_a_number_is_still_there_in_what_is_written(tmp_path, mnist, number, new):
    content = {"model": mnist.network.state_dict(), "best": number, "kind": np.dtype(">i2")}
    torch.save(content, tmp_path / "in.pth", _use_new_zipfile_serialization=new)
    save_model(load_model(tmp_path / "in.pth"), tmp_path / "out.pth")
    written = torch.load(tmp_path / "out.pth", weights_only=False)
    assert type(written["best"]) is type(number)
    assert written["best"] == number
    assert written["kind"] == np.dtype(">i2")


class Reduced:
    """Pickles as a call of what it is given, and perhaps a state."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


SCALAR = np.float64(0).__reduce__()[0]
F8 = np.dtype("f8")


NO_NUMBERS = {
    "text": np.str_("text"),
    "a date": np.datetime64("2020-01-01"),
    "a void": np.void(b"12345678"),
    "a structure": np.dtype([("a", "f8")]),
    "objects": np.dtype("O"),
    "too many bytes": Reduced(SCALAR, (F8, b"123456789")),
    "no bytes": Reduced(SCALAR, (F8, 8)),
    "no type": Reduced(SCALAR, ("f8", b"12345678")),
    "nothing": Reduced(SCALAR, ()),
    "a type of nothing": Reduced(np.dtype, ()),
    "no order": Reduced(np.dtype, ("f8", False, True), (3, "?", None, None, None, -1, -1, 0)),
    "no state": Reduced(np.dtype, ("f8", False, True), {"dtype": 1}),
}


@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_refused(tmp_path, mnist, value):
    torch.save({"model": mnist.network.state_dict(), "best": value}, tmp_path / "in.pth")
    with pytest.raises(ModelFileError):
        load_model(tmp_path / "in.pth")


@pytest.mark.parametrize("value", [np.array([1.0]), Reduced(np.load, ("x.npy",))], ids=["an array", "a call"])
def test_no_other_name_of_numpy_comes_in(tmp_path, mnist, value):
    torch.save({"model": mnist.network.state_dict(), "best": value}, tmp_path / "in.pth")
    with pytest.raises(UnsafeFileError, match="numpy"):
        load_model(tmp_path / "in.pth")
