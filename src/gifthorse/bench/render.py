"""Tables as Markdown, LaTeX, CSV, and a page to sort."""

import base64
import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from markupsafe import Markup

from ..report import words
from ..report.html import page_template


@final
@dataclass(frozen=True)
class Value:
    """What stands in a table.

    Attributes:
        text: as people read it.
        number: to sort by, and for programs; None where there is none.
        interval: of the number.
    """

    text: str = words.UNKNOWN
    number: float | None = None
    interval: tuple[float, float] | None = None


@final
@dataclass(frozen=True)
class Table:
    """Rows under headings, with a title and what has to be known to read them."""

    title: str
    note: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def filled(self) -> "Table":
        """Without the columns that hold nothing."""
        kept = [place for place in range(len(self.headings)) if any(row[place] != Value() for row in self.rows)]
        rows = tuple(tuple(row[place] for place in kept) for row in self.rows)
        return Table(self.title, self.note, tuple(self.headings[place] for place in kept), rows)


def to_markdown(title: str, tables: Sequence[Table], origin: str = "") -> str:
    """A page of all tables."""
    parts = [f"# {_one_line(title)}", *([origin] if origin else [])]
    for table in tables:
        lines = [f"| {' | '.join(table.headings)} |", "|---" * len(table.headings) + "|"]
        lines += [
            f"| {' | '.join(_one_line(value.text).replace('|', chr(92) + '|') for value in row)} |"
            for row in table.rows
        ]
        parts += [f"## {table.title}", table.note, "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split(" ")).replace("\n", " ")


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\N{NO-BREAK SPACE}": "~", "–": "--", "†": r"\dag{}",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def to_latex(title: str, tables: Sequence[Table]) -> str:
    """A LaTeX ``table`` for each, to be put into a paper."""
    parts = [f"% {_one_line(title)}"]
    for table in tables:
        lines = [" & ".join(map(_latex, table.headings)) + r" \\ \hline"]
        lines += [" & ".join(_latex(value.text) for value in row) + r" \\" for row in table.rows]
        begun = [r"\begin{table}", rf"\caption{{{_latex(table.title)}. {_latex(table.note)}}}"]
        begun.append(rf"\begin{{tabular}}{{{'l' * len(table.headings)}}}")
        parts.append("\n".join([*begun, *lines, r"\end{tabular}", r"\end{table}"]))
    return "\n\n".join(parts) + "\n"


def _latex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in _one_line(text))


def to_csv(table: Table) -> str:
    """Numbers as they are; where they have an interval, its bounds in two further columns."""
    bounded = [any(row[place].interval for row in table.rows) for place in range(len(table.headings))]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    headings = []
    for name, both in zip(table.headings, bounded, strict=True):
        headings += [name, f"{name} low", f"{name} high"] if both else [name]
    writer.writerow(headings)
    for row in table.rows:
        cells: list[Any] = []
        for value, both in zip(row, bounded, strict=True):
            cells.append(value.text.replace(words.UNKNOWN, "") if value.number is None else value.number)
            cells += list(value.interval or ("", "")) if both else []
        writer.writerow(cells)
    return buffer.getvalue()


SCRIPT = """
for (const head of document.querySelectorAll("th")) head.addEventListener("click", () => {
  const body = head.closest("table").tBodies[0], place = head.cellIndex, up = head.dataset.up !== "1";
  head.dataset.up = up ? "1" : "0";
  const key = row => row.cells[place].dataset.number ?? row.cells[place].textContent;
  const order = (a, b) => key(a).localeCompare(key(b), undefined, {numeric: true});
  const number = (a, b) => Number(key(a)) - Number(key(b));
  const rows = [...body.rows], all = rows.every(row => key(row) !== "" && !isNaN(key(row)));
  body.append(...rows.sort((a, b) => (up ? 1 : -1) * (all ? number(a, b) : order(a, b))));
});
"""


def to_html(title: str, tables: Sequence[Table], pictures: Sequence[Markup] = (), origin: str = "") -> str:
    """One page without anything from elsewhere; a click on a heading sorts."""
    hashed = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return page_template("gifthorse.bench").render(
        title=title,
        tables=tables,
        pictures=pictures,
        origin=origin,
        script=Markup(SCRIPT),  # noqa: S704 - our own, and the only one that the page may run
        hashed=hashed,
    )
