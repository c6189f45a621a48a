"""Inputs that fuzzing has found: each raised what is no error of ours, until the parser was mended."""

import pytest
from scripts import script

FINDINGS = {
    # A member of a zip archive without a name: IndexError in zipfile.
    "any-file": [
        b"PK\x03\x04"
        + bytes(26)
        + b"PK\x01\x02"
        + bytes(42)
        + b"PK\x05\x06"
        + bytes(4)
        + b"\1\0\1\0\x2e\0\0\0\x1e\0\0\0\0\0"
    ],
}


@pytest.mark.parametrize(("target", "data"), [(name, one) for name, found in FINDINGS.items() for one in found])
def test_what_was_found_is_mended(target, data):
    script("fuzz_parsers").run(target, data)
