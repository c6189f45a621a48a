"""NumPy scalars in a checkpoint, such as the best accuracy so far, made from their bytes without NumPy's unpickling.

A pickle makes one by ``numpy.core.multiarray.scalar(dtype, bytes)``, and the dtype by ``numpy.dtype``, which is then
given a state of eight values that NumPy takes on trust. Here both names stand for functions that know plain numbers
only.
"""

import pickle
import re
from collections.abc import Callable
from typing import Any, final

import numpy as np

NUMBERS = re.compile(r"b1|[iu][1248]|f[248]|c(8|16)")
ORDERS = ("<", ">", "|", "=")


@final
class PlainDtype:
    """What a pickle calls ``numpy.dtype``, if it is that of plain numbers."""

    def __init__(self, code: Any, *_: Any) -> None:  # noqa: ANN401 - whatever the pickle says
        """As ``numpy.dtype(code, align, copy)`` is called.

        Raises:
            pickle.UnpicklingError: it is no dtype of plain numbers.
        """
        if not isinstance(code, str) or not NUMBERS.fullmatch(code):
            raise pickle.UnpicklingError(f"a NumPy scalar of type {str(code)[:20]!r} is no plain number")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        """Take the order of the bytes from NumPy's state; all else in it is for types that are no numbers."""
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ORDERS:
            raise pickle.UnpicklingError("the type of a NumPy scalar has a state that NumPy does not write")
        self.dtype = self.dtype.newbyteorder(state[1])

    def __reduce__(self) -> tuple[Any, ...]:
        """As NumPy's own, for the file that is written."""
        return self.dtype.__reduce__()  # type: ignore[return-value]


def plain_scalar(kind: Any, raw: Any) -> Any:  # noqa: ANN401
    """The number in the bytes ``raw``.

    Raises:
        pickle.UnpicklingError: there are more or fewer bytes than the number has.
    """
    if not isinstance(kind, PlainDtype) or not isinstance(raw, bytes) or len(raw) != kind.dtype.itemsize:
        raise pickle.UnpicklingError("a NumPy scalar is not made from its type and its bytes")
    return np.frombuffer(raw, kind.dtype)[0]


NAMES: dict[str, Callable[..., Any]] = {
    "numpy.dtype": PlainDtype,
    "numpy.core.multiarray.scalar": plain_scalar,  # until NumPy 1
    "numpy._core.multiarray.scalar": plain_scalar,
}
"""What stands for which name of a pickle."""
