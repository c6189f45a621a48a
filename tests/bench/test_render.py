"""What is written is escaped wherever it goes, and numbers stay numbers."""

import base64
import csv
import hashlib
import io
from html.parser import HTMLParser

from gifthorse.bench.render import Table, Value, to_csv, to_html, to_latex, to_markdown

EVIL = '<script>alert("1")</script>|_&%'


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts = [], 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name in {"src", "href"}]


def test_the_page_escapes_and_sorts():
    made = [Table("T", EVIL, ("a", EVIL), ((Value(EVIL), Value("x", 0.5)),))]
    text = to_html(EVIL, made)
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "alert(&#34;1" in text
    assert 'data-number="0.5"' in text
    script = text[text.index("<script>") + 8 : text.index("</script>")]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in text


def test_markdown_latex_and_csv():
    made = Table("T", "N", ("a", "b"), ((Value(EVIL), Value("50 % (1–2)", 0.5, (0.01, 0.02))),))
    assert '| <script>alert("1")</script>\\|_&% | 50 % (1–2) |' in to_markdown("x", [made])
    latex = to_latex("x", [made])
    assert r"\_\&\%" in latex
    assert r"50 \% (1--2) \\" in latex
    assert list(csv.reader(io.StringIO(to_csv(made)))) == [
        ["a", "b", "b low", "b high"],
        [EVIL, "0.5", "0.01", "0.02"],
    ]
