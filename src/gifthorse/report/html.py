"""``report.html``: one page that opens anywhere, offline, and asks nothing of anyone.

A pure function of the document. File and class names are an attacker's, so everything is escaped; the plot
alone goes in as it is, and it holds numbers only.
"""

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from . import words
from .document import ReportDocument
from .plot import norms_svg

MOST_ROWS = 20

FILTERS: dict[str, Callable[..., Any]] = {
    "percent": words.percent,
    "interval": words.interval,
    "pixels": words.pixels,
    "number": words.number,
    "probability": words.probability,
    "pvalue": words.p_value,
    "short": words.short,
    "duration": words.duration,
    "bytes_of": words.bytes_of,
    "plain": words.plain,
}


def page_template(package: str) -> Template:
    """The template of ``package``; whatever is put in is escaped, as names of files are an attacker's."""
    environment = Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment.get_template("template.html.j2")


def to_html(document: ReportDocument) -> str:
    """The page."""
    return page_template("gifthorse.report").render(
        report=document,
        headline=words.HEADLINES[document.outcome],
        headlines=words.HEADLINES,
        plot=norms_svg(document.labels, document.targets),
        most_rows=MOST_ROWS,
        area=document.model.input_shape[1] * document.model.input_shape[2],
    )
