import io
import struct
import zipfile

import pytest

from gifthorse import zips


def packed(content: bytes, how: int) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", how) as archive:
        archive.writestr("a", content)
    return stream


@pytest.mark.parametrize("how", zips.PACKINGS)
def test_members(how):
    with zips.opened(packed(b"abc" * 1000, how)) as archive:
        assert zips.content(archive, archive.getinfo("a")) == b"abc" * 1000


def test_no_more_than_a_member_says(tmp_path):
    """The sizes in both heads are three bytes, and there is a megabyte; what is read has the checksum of all of it."""
    stream = packed(bytes(2**20), zipfile.ZIP_DEFLATED)
    lying = stream.getvalue().replace(struct.pack("<I", 2**20), struct.pack("<I", 3))
    path = tmp_path / "a.zip"
    path.write_bytes(lying)
    with zips.opened(path) as archive, pytest.raises(zipfile.BadZipFile, match="CRC"):
        zips.content(archive, archive.getinfo("a"))


def test_what_is_unpacked_whole_is_not_read():
    with zips.opened(packed(b"abc", zipfile.ZIP_BZIP2)) as archive, pytest.raises(zipfile.BadZipFile, match="packed"):
        zips.content(archive, archive.getinfo("a"))


@pytest.mark.parametrize("comment", [b"", b"of an archive"])
@pytest.mark.parametrize("new", [False, True])
def test_large_directories(monkeypatch, comment, new):
    monkeypatch.setattr(zips, "MOST_DIRECTORY", 10_000)
    if new:  # with the records of large archives
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    for members, fine in ((100, True), (300, False)):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.comment = comment
            for number in range(members):
                archive.writestr(f"{number:04}", b"")
        assert (b"PK\6\6" in stream.getvalue()) == new
        if fine:
            assert len(zips.opened(stream).namelist()) == members
        else:
            with pytest.raises(zipfile.BadZipFile, match="directory has"):
                zips.opened(stream)


@pytest.mark.parametrize("content", [b"", b"PK\5\6", b"x" * 100])
def test_what_is_no_archive(content):
    with pytest.raises(zipfile.BadZipFile):
        zips.opened(io.BytesIO(content))
