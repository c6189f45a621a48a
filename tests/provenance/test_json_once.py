"""JSON with a key twice."""

import pytest

from gifthorse.provenance.json_once import loads


def test_a_key_twice_is_found_among_very_many():
    keys = ", ".join(f'"{number}": 0' for number in range(200_000))
    assert len(loads(f"{{{keys}}}")) == 200_000
    with pytest.raises(ValueError, match="'twice' is there twice"):
        loads(f'{{{keys}, "twice": 1, "twice": 2}}')
