import io
import os
import pickle
from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gifthorse.provenance.pickles import (
    ALLOWED,
    LONGEST_NAME,
    MOST_LETTERS,
    MOST_NAMES,
    UNKNOWN,
    PickleScan,
    scan_pickle,
)


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def scan(content: bytes) -> PickleScan:
    return scan_pickle(io.BytesIO(content))


@pytest.mark.parametrize("protocol", range(6))
def test_names_in_every_protocol(protocol):
    content = pickle.dumps([OrderedDict(a=1), Call(os.getcwd), OrderedDict(), Call(os.getcwd)], protocol)
    found = scan(content)
    assert found.names == ("collections.OrderedDict", f"{os.getcwd.__module__}.getcwd")
    assert found.forbidden == (f"{os.getcwd.__module__}.getcwd",)
    assert found.complete


def test_the_list_is_what_torch_accepts():
    from torch._weights_only_unpickler import _get_allowed_globals

    accepted = set(_get_allowed_globals())
    old_names = {name for name in ALLOWED if name.startswith("__builtin__.") or ".cuda." in name}
    assert ALLOWED - old_names <= accepted


def test_dangerous_names_come_first():
    content = pickle.dumps([Call(torch.hub.load, "x"), Call(os.system, "true")])
    assert scan(content).forbidden == (f"{os.system.__module__}.system", "torch.hub.load")
    assert scan(content).dangerous == (f"{os.system.__module__}.system",)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8c\x02os\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93.",  # pushed, popped again
        b"\x80\x04\x8c\x06system\x94\x8c\x02os0\x8c\x0bcollections\x8c\x0bOrderedDict0h\x00\x93.",
        b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict2\x93.",
    ],
)
def test_names_that_are_put_together_are_never_guessed_to_be_harmless(content):
    found = scan(content).forbidden
    assert UNKNOWN in found or any("system" in name for name in found)


def test_extensions_are_forbidden():
    assert scan(b"\x80\x02\x82\x05.").forbidden == ("copyreg extension 5",)


def test_a_name_of_no_module_is_not_the_harmless_one():
    for content in (b"c\ncollections.OrderedDict\n.", b"\x80\x04\x8c\x00\x8c\x17collections.OrderedDict\x93."):
        assert scan(content).forbidden == (".collections.OrderedDict",)


def test_names_without_end_are_cut_and_forbidden():
    found = scan(b"c" + b"a." * 10_000 + b"\nb\n.")
    assert not found.complete
    assert [len(name) for name in found.forbidden] == [LONGEST_NAME + len(".b")]
    found = scan(b"".join(b"ca\n%d\n" % number for number in range(2 * MOST_NAMES)) + b".")
    assert (len(found.names), found.complete) == (MOST_NAMES + 1, False)
    found = scan(b"".join(b"ca%s\n%d\n" % (b".a" * 400, number) for number in range(MOST_NAMES)) + b".")
    assert len(found.names) < MOST_LETTERS / 800
    assert not found.complete


def test_a_network_of_thousands_of_parts_is_looked_through():
    names = [b"c__torch__.layers.___torch_mangle_%d\nBlock\n" % number for number in range(5000)]
    found = scan(b"".join(names) + b".")
    assert (len(found.names), found.complete) == (5000, True)


def test_what_is_dangerous_is_so_by_its_first_parts():
    assert scan(b"cos" + b".a" * 300 + b"\nsystem\n.").dangerous


def test_only_so_many_operations_are_followed():
    content = b"N0" * 10 + b"N."
    assert scan_pickle(io.BytesIO(content), 22).complete
    found = scan_pickle(io.BytesIO(content), 21)
    assert (found.complete, found.operations) == (False, 21)


def test_the_stream_is_left_behind_the_pickle():
    stream = io.BytesIO(pickle.dumps([1], 2) + pickle.dumps(Call(os.getcwd), 2))
    assert scan_pickle(stream).names == ()
    assert scan_pickle(stream).names != ()
    assert not scan_pickle(stream).complete


@given(st.binary(max_size=60))
def test_any_bytes(content):
    scan(content)


def test_nothing_is_logged(caplog):
    scan(pickle.dumps(Call(os.system, "true")))
    assert caplog.text == ""
