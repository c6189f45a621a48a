import pytest

from gifthorse.report import words


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (None, "–"),
        (0.0, "0 %"),
        (0.0004, "< 0.1 %"),
        (0.5, "50.0 %"),
        (0.9785, "97.9 %"),
        (0.9999, "99.9 %"),
        (1.0, "100 %"),
    ],
)
def test_percent_is_never_rounded_to_certainty(rate, text):
    assert words.percent(rate).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (True, "yes"), (61440, "61,440"), (2.0, "2"), (0.01, "0.01"), ("a", "a")]
)
def test_number(value, text):
    assert words.number(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.0131, "= 0.013"), (1e-7, "< 0.0001")])
def test_probability(value, text):
    assert words.probability(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.21, "3.2 s"), (59.97, "1 min 0 s"), (75, "1 min 15 s"), (7300, "2 h 1 min")]
)
def test_duration(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(None, "–"), (12, "12 bytes"), (1_500_000, "1.5 MB")])
def test_bytes(size, text):
    assert words.bytes_of(size) == text
