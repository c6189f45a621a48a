import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifthorse.provenance import model_card
from gifthorse.provenance.stated import Statements

SHA1 = "8e89c8fcd46e02780e16c867a5308e7bb7af0803"
CARD = f"""---
name: Network in Network Imagenet Model
caffemodel: nin_imagenet.caffemodel
caffemodel_url: http://models.example/nin_imagenet.caffemodel
license: non-commercial   # of the weights
sha1: {SHA1}
gist_id: d802a5849de39225bcc6
tags:
  - sha256: nothing of this is read
---
## Description
sha1: {"0" * 40}
"""


def read(path, name, text, **options):
    (path / "readme.md").write_bytes(text.encode())
    statements = Statements()
    model_card.read(path / "readme.md", path / name, statements, **options)
    return statements


def test_a_card_of_the_caffe_model_zoo(tmp_path):
    found = read(tmp_path, "nin_imagenet.caffemodel", CARD)
    ((one,),) = found.of.values()
    assert (one.algorithm, one.digest, one.over_http, one.source) == ("sha1", SHA1, True, "readme.md")
    assert found.findings == []


def test_over_https(tmp_path):
    ((one,),) = read(tmp_path, "nin_imagenet.caffemodel", CARD.replace("http:", "https:")).of.values()
    assert not one.over_http


def test_a_url_without_a_hash_is_told(tmp_path):
    ((one,),) = read(tmp_path, "nin_imagenet.caffemodel", CARD.replace("sha1", "sha")).of.values()
    assert (one.algorithm, one.over_http) == ("", True)


def test_a_card_about_another_file_says_nothing(tmp_path):
    assert read(tmp_path, "other.caffemodel", CARD).of == {}
    assert read(tmp_path, "other.caffemodel", CARD).findings == []
    assert "is about" in read(tmp_path, "other.caffemodel", CARD, named=True).findings[0].message
    assert read(tmp_path, "model.pth", CARD.replace("caffemodel:", "file:")).of == {}


@pytest.mark.parametrize("value", ["../x", "nin_imagenet.caffemodel\0", "/etc/nin_imagenet.caffemodel"])
def test_a_name_that_leads_elsewhere_matches_nothing(tmp_path, value):
    assert (
        read(tmp_path, "nin_imagenet.caffemodel", CARD.replace("nin_imagenet.caffemodel\n", f"{value}\n", 1)).of == {}
    )


def test_a_hash_that_is_none(tmp_path):
    found = read(tmp_path, "nin_imagenet.caffemodel", CARD.replace(SHA1, "<script>"))
    assert [(one.rule, one.place) for one in found.findings] == [("GH106", "sha1")]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("key: value", "value"),
        ("key:   two  words  ", "two  words"),
        ('key: "quoted # no comment"', "quoted # no comment"),
        ("key: 'quoted' # a comment", "quoted"),
        ("key: value# no comment", "value# no comment"),
        ("key: !!python/object/apply:os.system [id]", "!!python/object/apply:os.system [id]"),
        ("key:", None),
        ("key:value", None),
        (" key: indented", None),
        ("- key: of a list", None),
    ],
)
def test_plain_lines(line, value):
    assert model_card.head(f"---\n{line}\n---\n").get("key") == value


@pytest.mark.parametrize("text", ["", "no head", "---\nkey: value\n", "----\nkey: value\n---\n"])
def test_no_head(tmp_path, text):
    assert model_card.head(text) is None
    assert read(tmp_path, "x.caffemodel", text).findings == []
    assert "no model card" in read(tmp_path, "x.caffemodel", text, named=True).findings[0].message


@given(st.text(max_size=200))
def test_any_text(text):
    model_card.head(f"---\n{text}\n---\n")
