"""``python docs/make_schema.py`` writes ``docs/report-schema.md`` from the schema that reports are checked against."""

from pathlib import Path
from typing import Any

from gifthorse.provenance.record import MOST
from gifthorse.report import schema

PAGE = Path(__file__).with_name("report-schema.md")
TOP = """\
# report.json

Made by `python docs/make_schema.py`; `gifthorse.report.schema()` gives the same as a JSON schema (draft 2020-12).

Every command that examines a model writes `report.json`, and the page and the SARIF file are made from it. Numbers are
finite: one that could not be computed is null. Rates are in [0, 1], and higher scores are more suspicious. No field is
ever left out.
"""


def markdown() -> str:
    """The whole page."""
    described = schema()
    parts = [_table("The document", described)]
    parts += [_table(name, part) for name, part in described["$defs"].items() if "properties" in part]
    return "\n".join([TOP, *parts])


def _table(heading: str, part: dict[str, Any]) -> str:
    assert set(part["required"]) == set(part["properties"])
    rows = [
        f"| `{name}` | {_kind(field)} | {_described(field['description'])} |"
        for name, field in part["properties"].items()
    ]
    return "\n".join(
        [f"## {heading}", "", part["description"], "", "| field | type | what |", "|---|---|---|", *rows, ""]
    )


def _described(text: str) -> str:
    return text.replace("|", "\\|")


def _kind(field: dict[str, Any]) -> str:
    """A field's type in a few words; a part of the document is a link to its table."""
    if "anyOf" in field:
        return " or ".join(map(_kind, field["anyOf"]))
    if "$ref" in field:
        return _named(field["$ref"].rpartition("/")[2])
    if "const" in field:
        return f"`{field['const']}`"
    if field["type"] == "array":
        return _array(field)
    if field["type"] == "object":
        return "object of any JSON values"
    form = f", {field['format']}" if "format" in field else ", base64" if "pattern" in field else ""
    return field["type"] + form + _range(field)


def _named(name: str) -> str:
    part = schema()["$defs"][name]
    if "enum" in part:
        return " or ".join(f"`{value}`" for value in part["enum"])
    return f"[{name}](#{name.lower()})"


def _array(field: dict[str, Any]) -> str:
    if "prefixItems" not in field:
        return f"array of {_kind(field['items'])}"
    inner = {_kind(item) for item in field["prefixItems"]}
    return f"array of {len(field['prefixItems'])}: {' or '.join(sorted(inner))}"


def _range(field: dict[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high not in {None, MOST}:
        return f" in [{low:g}, {high:g}]"
    return "" if low is None else f" from {low:g}"


if __name__ == "__main__":
    PAGE.write_text(markdown(), encoding="utf-8", newline="\n")
