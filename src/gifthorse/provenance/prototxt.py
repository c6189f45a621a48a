"""The text form of Protocol Buffers, in which Caffe's networks are written: ``layer { name: "conv1" }``.

Source: https://protobuf.dev/reference/protobuf/textformat-spec. Values are kept as they are written: a number, a text,
or a word.
"""

import re
from typing import Any, Final

from ..errors import ModelFileError

Message = dict[str, list[Any]]
"""Values by name, in order: texts, words, numbers, and messages."""

MOST_BYTES = 2**22  # the largest networks have some hundred kilobytes
DEEPEST = 32
SHOWN = 40  # characters of a token, in messages
_TOKEN: Final = re.compile(
    r"""\s+|\#[^\n]*|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<mark>[{}<>\[\]:;,])"""
    r"""|(?P<number>[-+]?(?:0[xX][0-9a-fA-F]{1,16}|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)[fF]?)(?![\w.])"""
    r"""|(?P<word>-?[A-Za-z_][\w./]*)"""
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}


class Word(str):
    """A value that is written without quotes, such as ``MAX`` or ``true``."""

    __slots__ = ()


def parsed(content: bytes) -> Message:
    """The message that a text is.

    Raises:
        ModelFileError: it is none; says in which line.
    """
    if len(content) > MOST_BYTES:
        raise ModelFileError(f"the text has {len(content):,} bytes; at most {MOST_BYTES:,} are read")
    return _Parser(_tokens(content.decode("utf-8", "replace").removeprefix("\ufeff"))).whole()


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """Kind, text and line of each."""
    found, at, line = [], 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ModelFileError(f"line {line}: {text[at : at + 20]!r} is none of the text form of a network")
        if match.lastgroup:
            found.append((match.lastgroup, match[0], line))
        line += match[0].count("\n")
        at = match.end()
    return found


class _Parser:
    def __init__(self, tokens: list[tuple[str, str, int]]) -> None:
        self.tokens = tokens
        self.at = 0

    def whole(self) -> Message:
        """Goes by a list of open messages, so that deep ones take no stack."""
        whole: Message = {}
        opened: list[tuple[Message, str]] = [(whole, "")]
        while self.at < len(self.tokens):
            message, closing = opened[-1]
            if closing and self.take("mark", closing):
                opened.pop()
            else:
                name = self.name()
                colon = self.take("mark", ":")
                start = next((mark for mark in "{<" if self.take("mark", mark)), "")
                if start:
                    if len(opened) > DEEPEST:
                        raise self.refused(f"messages are nested more than {DEEPEST} deep")
                    inner: Message = {}
                    message.setdefault(name, []).append(inner)
                    opened.append((inner, "}" if start == "{" else ">"))
                    continue
                if not colon:
                    raise self.refused(f"a value of {name[:SHOWN]!r} is expected")
                if values := self.values():  # an empty list is as if it were not there
                    message.setdefault(name, []).extend(values)
            _ = self.take("mark", ";") or self.take("mark", ",")
        if len(opened) > 1:
            raise self.refused("a message is not closed")
        return whole

    def take(self, kind: str, text: str = "") -> bool:
        """Whether the next token is this one; goes behind it, if so."""
        found = self.at < len(self.tokens) and self.tokens[self.at][0] == kind
        found = found and text in ("", self.tokens[self.at][1])
        self.at += found
        return found

    def name(self) -> str:
        if not self.take("word"):
            raise self.refused("a name of a field is expected")
        return self.tokens[self.at - 1][1]

    def values(self) -> list[Any]:
        """One value, or a list of them."""
        if not self.take("mark", "["):
            return [self.value()]
        found: list[Any] = []
        while not self.take("mark", "]"):
            if found and not self.take("mark", ","):
                raise self.refused("a comma is expected")
            found.append(self.value())
        return found

    def value(self) -> Any:  # noqa: ANN401 - of any kind
        kind, text, _ = self.tokens[self.at] if self.at < len(self.tokens) else ("", "", 0)
        self.at += 1
        if kind == "text":
            whole = _unquoted(text)
            while self.take("text"):  # texts side by side are one
                whole += _unquoted(self.tokens[self.at - 1][1])
            return whole
        if kind == "word":
            lower = text.lower()
            return float(lower) if lower.lstrip("-") in ("inf", "infinity", "nan") else Word(text)
        if kind == "number":
            if "x" in text.lower():
                return int(text, 16)
            return int(text) if re.fullmatch(r"[-+]?\d{1,20}", text) else float(text.rstrip("fF"))
        self.at -= 1
        raise self.refused("a value is expected")

    def refused(self, what: str) -> ModelFileError:
        if self.at >= len(self.tokens):
            return ModelFileError(f"the text ends where {what}" if "expected" in what else f"the text ends, and {what}")
        return ModelFileError(f"line {self.tokens[self.at][2]}: {what}, not {self.tokens[self.at][1][:SHOWN]!r}")


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), text[1:-1])
