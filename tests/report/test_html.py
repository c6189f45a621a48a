import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import report_fakes as fakes

from gifthorse.report import from_vetting, to_html

EVIL = '<script>alert("1")</script>\' onload=x'
VOID = {"meta", "img", "br", "link", "input", "hr"}
COMMAND = {"whole": "gifthorse vet signs.pt --data clean/ --seed 3", "evil": EVIL}
EVERY = {
    "found": fakes.vetting(),
    "whole": fakes.whole_vetting(),
    "nothing": fakes.vetting(fakes.verdict(targets=())),
    "inconclusive": fakes.vetting(fakes.inconclusive()),
    "no-evidence": fakes.vetting(replace(fakes.inconclusive(), labels=())),
    "two-labels": fakes.vetting(fakes.verdict(2, (1,))),
    "many": fakes.vetting(fakes.verdict(1283, (0, 4, 9, 11, 13, 600))),
    "in-memory": replace(fakes.vetting(), origin=None),
    "evil": replace(fakes.vetting(names=(EVIL,) * 12, path=f"{EVIL}.pt"), samples_source=EVIL, guard_reason=EVIL),
}


class Page(HTMLParser):
    """Collects tags, and fails where they are not balanced."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.references = [], set(), []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.references += [value for name, value in attrs if name in {"src", "href", "xlink:href", "srcset", "data"}]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def pages():
    return {name: to_html(from_vetting(vetting, command=COMMAND.get(name))) for name, vetting in EVERY.items()}


@pytest.mark.parametrize("name", EVERY)
def test_page_is_balanced_and_self_contained(pages, name):
    text = pages[name]
    page = Page(text)
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "form", "base"}
    assert all(reference.startswith(("data:image/png;base64,", "#")) for reference in page.references)
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert len(text) < 400_000


@pytest.mark.parametrize("name", EVERY)
def test_headings_and_alternative_texts(pages, name):
    assert pages[name].count("<h1>") == 1
    assert all('alt="' in image for image in re.findall(r"<img [^>]*>", pages[name]))
    assert re.search(r"\bclean model\b|>Clean<", pages[name]) is None


def test_every_hash_reference_has_its_anchor(pages):
    for text in pages.values():
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(re.findall(r'id="([^"]+)"', text))


def test_names_of_others_are_escaped(pages):
    assert "<script" not in pages["evil"]
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;" in pages["evil"]


def test_same_document_same_page():
    document = from_vetting(fakes.whole_vetting())
    assert to_html(document) == to_html(document)


@pytest.mark.parametrize(
    ("name", "headline"),
    [("found", "Backdoor found"), ("nothing", "No backdoor found"), ("inconclusive", "Cannot tell")],
)
def test_verdict_in_words(pages, name, headline):
    assert f"<h1>{headline}</h1>" in pages[name]


def test_page_says_what_was_measured(pages):
    text = pages["whole"].replace("\N{NO-BREAK SPACE}", " ")
    for part in ("0.00038", "turn right", "15.2 pixels", "99.2 %", "97.9–99.8 %", "Repair accepted", "-0.2183"):
        assert part in text
    assert COMMAND["whole"] in text


def test_many_labels_are_folded(pages):
    before, after = pages["many"].split("The other 1,263 labels")
    assert before.count('<tr class="hit">') == 6
    assert after.count('<tr><th scope="row">') == 1263
