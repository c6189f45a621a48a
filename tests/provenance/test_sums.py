import hashlib
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifthorse.provenance import sums
from gifthorse.provenance.stated import Statements

A, B = hashlib.sha256(b"abc").hexdigest(), hashlib.sha1(b"abc").hexdigest()


def read(path, **options):
    statements = Statements()
    sums.read(path, statements, **options)
    return statements


def stated(path):
    found = read(path)
    return {about.name: [(one.algorithm, one.digest) for one in said] for about, said in found.of.items()}


@pytest.mark.parametrize(
    ("line", "name", "algorithm"),
    [
        (f"{A}  model.pth", "model.pth", "sha256"),
        (f"{A} *model.pth", "model.pth", "sha256"),
        (f"{A.upper()}  model.pth\r", "model.pth", "sha256"),
        (f"{B}  ./model.pth", "model.pth", "sha1"),
        (f"{A}   two  spaces ", " two  spaces ", "sha256"),
        (f"\\{A}  line\\nfeed\\\\", "line\nfeed\\", "sha256"),
        (f"SHA256 (model.pth) = {A}", "model.pth", "sha256"),
        (f"SHA1(a (b).pth)= {B}", "a (b).pth", "sha1"),
        (f"\\SHA256 (line\\nfeed) = {A}", "line\nfeed", "sha256"),
        (f"{A}  <b>&\u2028.pth", "<b>&\u2028.pth", "sha256"),
    ],
)
def test_lines(tmp_path, line, name, algorithm):
    (tmp_path / "SHA256SUMS").write_bytes(f"# of today\n\n{line}\n".encode())
    found = read(tmp_path / "SHA256SUMS")
    assert found.findings == []
    ((about, (one,)),) = found.of.items()
    assert (about, one.algorithm) == (tmp_path / name, algorithm)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
@pytest.mark.parametrize("option", ["--tag", "--binary", "--text"])
def test_what_the_tool_writes(tmp_path, option):
    names = ["model.pth", "a b", "line\nfeed", "back\\slash"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    written = subprocess.run(["sha256sum", option, *names], cwd=tmp_path, capture_output=True, check=True)
    (tmp_path / "SHA256SUMS").write_bytes(written.stdout)
    assert stated(tmp_path / "SHA256SUMS") == {
        name: [("sha256", hashlib.sha256(name.encode()).hexdigest())] for name in names
    }


def test_a_file_of_its_own(tmp_path):
    (tmp_path / "model.pth.sha256").write_text(f"{A}\n")
    assert stated(tmp_path / "model.pth.sha256") == {"model.pth": [("sha256", A)]}
    assert sums.beside(tmp_path / "model.pth") == [tmp_path / "model.pth.sha256"]


def test_a_bare_hash_under_the_name_without_its_ending(tmp_path, monkeypatch):
    (tmp_path / "model.sha256").write_text(f"{A}\n")
    assert stated(tmp_path / "model.sha256") == {"model": [("sha256", A)]}
    (tmp_path / "model.pth").write_bytes(b"")
    assert stated(tmp_path / "model.sha256") == {"model.pth": [("sha256", A)]}
    assert sums.beside(tmp_path / "model.pth") == [tmp_path / "model.sha256"]
    (tmp_path / "model.sha256").write_text(f"{A}\n" * 100)
    looked, glob = [], type(tmp_path).glob
    monkeypatch.setattr(type(tmp_path), "glob", lambda self, pattern: looked.append(pattern) or glob(self, pattern))
    assert len(stated(tmp_path / "model.sha256")["model.pth"]) == 100
    assert looked == ["*"]  # once, and not for each line
    (tmp_path / "model.sha256").write_text(f"{A}\n")
    (tmp_path / "model.onnx").write_bytes(b"")  # of which of the two it is, it does not say
    assert stated(tmp_path / "model.sha256") == {"model": [("sha256", A)]}


@pytest.mark.parametrize(
    "name", ["../model.pth", "/etc/passwd", "a/../../b", "..", "C:model.pth", "\\\\host\\share", "\\etc", "a\0b"]
)
def test_names_that_lead_out_are_not_used(tmp_path, name):
    (tmp_path / "SHA256SUMS").write_bytes(f"{A}  {name}\n".encode())
    found = read(tmp_path / "SHA256SUMS")
    assert found.of == {}
    assert [(one.rule, one.place) for one in found.findings] == [("GH106", "line 1")]


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        f"{A[:63]}  x",
        f"{A}",
        f"{A}x  model",
        f"SHA1 (model.pth) = {A}",
        f"SHA256 (x) = {A}0",
        "zz" * 32 + "  x",
    ],
)
def test_other_lines_are_said_not_to_be_read(tmp_path, line):
    (tmp_path / "SHA256SUMS").write_text(f"{A}  good\n{line}\n")
    found = read(tmp_path / "SHA256SUMS")
    assert [about.name for about in found.of] == ["good"]
    (finding,) = found.findings
    assert (finding.rule, finding.place) == ("GH106", "line 2")


def test_links_too_large_and_no_text(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").write_text(f"{A}  model.pth\n")
    link = tmp_path / "SHA256SUMS"
    link.symlink_to(tmp_path / "elsewhere")
    assert sums.beside(tmp_path / "model.pth") == [link]
    assert [one.rule for one in read(link).findings] == ["GH106"]
    assert read(link, named=True).of
    (tmp_path / "SHA1SUMS").write_bytes(b"\xff\xfe")
    assert "no text" in read(tmp_path / "SHA1SUMS").findings[0].message
    monkeypatch.setattr(sums, "MOST_BYTES", 10)
    assert "too large" in read(tmp_path / "elsewhere").findings[0].message


@given(st.binary(max_size=200))
def test_any_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "SHA256SUMS"
    path.write_bytes(content)
    read(path)
