"""Changes of JSON: still JSON, of another value, and with its right length in front."""

import json
from random import Random

import pytest
from scripts import script

json_mutator = script("json_mutator")
VALUE = {"a": [1, 2.5, {"b": "c"}], "d": None, "e": {"f": [True]}}
TEXT = json.dumps(VALUE).encode()


def changed(data):
    """What a hundred seeds make of it, but for those that leave JSON alone."""
    made = [json_mutator.mutated(data, seed, lambda data: b"") for seed in range(100)]
    return [one for one in made if one]


def test_what_is_found_of_json():
    assert json_mutator.found(b'ab{"a": 1}\xff') == (b"ab", {"a": 1}, b"\xff")
    assert json_mutator.found(b"[1]") is None
    assert json_mutator.found(b"{") is None
    assert json_mutator.found(b'{"a":' * 10**5) is None


def test_half_of_the_changes_are_of_values_and_these_are_json_still():
    made = changed(TEXT)
    assert 30 < len(made) < 70
    values = [json.dumps(json.loads(one)) for one in made]
    assert len(set(values)) > 20


@pytest.mark.parametrize("front", [b"%d\n" % len(TEXT), len(TEXT).to_bytes(8, "little")])
def test_the_length_in_front_is_of_the_json_behind_it(front):
    made = changed(front + TEXT + b"numbers")
    still = [(one, parts) for one in made if (parts := json_mutator.found(one))]
    assert len(still) > 20  # of others, the whole object is another value
    for one, (before, _, behind) in still:
        length = len(one) - len(before) - len(behind)
        assert before in {b"%d\n" % length, length.to_bytes(8, "little")}
        assert behind == b"numbers"


@pytest.mark.parametrize("front", [b"", b"7\n", b"x" * 8])
def test_what_is_no_length_stays(front):
    assert all(one.startswith(front + b"{") or b"{" not in one for one in changed(front + TEXT))


def test_where_there_is_no_json_bytes_are_changed():
    assert {json_mutator.mutated(b"\x80\x04.", seed, lambda data: data + b"!") for seed in range(9)} == {b"\x80\x04.!"}


def test_every_kind_of_change_happens():
    kinds = set()
    for seed in range(500):
        whole = [json.loads(TEXT)]
        json_mutator.change(whole, Random(seed))
        assert len(whole) == 1
        now = whole[0]
        if now == VALUE or not isinstance(now, dict):
            continue
        kinds.add("removed" if len(now) < 3 else "added" if len(now) > 3 else "replaced")
        kinds |= {"repeated"} if isinstance(now.get("a"), list) and len(now["a"]) > 3 else set()
    assert kinds == {"removed", "added", "replaced", "repeated"}


def test_no_value_is_in_two_places():
    odd = repr(json_mutator.ODD)
    for seed in range(500):
        whole = [json.loads(TEXT)]
        for _ in range(3):
            if isinstance(whole[0], dict) and whole[0]:
                json_mutator.change(whole, Random(seed))
        waiting, seen = [whole], set()
        while waiting:
            one = waiting.pop()
            if isinstance(one, dict | list):
                assert id(one) not in seen
                seen.add(id(one))
                waiting += one.values() if isinstance(one, dict) else one
    assert repr(json_mutator.ODD) == odd


def test_changes_do_not_fill_the_memory():
    text = json.dumps({"a": [[["b" * 200] * 20]]}).encode()
    made = [json_mutator.mutated(text, seed, lambda data: b"") for seed in range(2000)]
    assert max(map(len, made)) < 20 * len(text)
