"""What hubs state: Git LFS pointers, and the notes and the cache of the Hugging Face hub's own client.

The client keeps ``.cache/huggingface/download/NAME.metadata`` (revision, hash, time) in a folder that it has
downloaded to; in its cache, ``snapshots/REVISION/NAME`` is a link to ``blobs/HASH``. A large file's hash is its
SHA-256, a small one's that of Git. Nothing is fetched.
"""

import re
from pathlib import Path

from .hashes import GIT_SHA1
from .stated import Statement, Statements, plain_text

POINTER = b"version https://git-lfs.github.com/spec/"
MOST_BYTES = 4096  # a pointer has less than 1024, by its specification
NOTES = Path(".cache", "huggingface", "download")
DEEPEST = 16  # folders in a repository
_KINDS = {64: "sha256", 40: GIT_SHA1}
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_OID = re.compile(r"^oid sha256:([0-9a-f]{64})$", re.MULTILINE)
_SIZE = re.compile(r"^size ([0-9]{1,18})$", re.MULTILINE)


def is_pointer(start: bytes) -> bool:
    """Whether a file that begins so is a Git LFS pointer."""
    return start.startswith(POINTER)


def read_pointer(path: Path, model: Path, statements: Statements) -> None:
    """Add what the pointer at ``path``, which the user has named, states about ``model``."""
    text = plain_text(path, statements, most=MOST_BYTES, follow=True)
    if text is None:
        return
    oid, size = _OID.search(text), _SIZE.search(text)
    if oid is None or size is None:
        statements.refuse(path, "this Git LFS pointer states no SHA-256 and size")
        return
    statements.add(model, Statement(f"the Git LFS pointer {path.name}", "sha256", oid[1], int(size[1])))


def read_notes(model: Path, statements: Statements) -> None:
    """Add what the hub's client has noted of ``model``."""
    blob = model.readlink() if model.is_symlink() else model
    if blob.parent.name == "blobs" and _HASH.fullmatch(blob.name):
        statements.add(model, Statement("the hub's cache", _KINDS[len(blob.name)], blob.name))
    absolute = model.absolute()
    for folder in absolute.parents[:DEEPEST]:
        name = absolute.relative_to(folder).as_posix()
        notes = folder / NOTES / f"{name}.metadata"
        if not notes.is_file():
            continue
        text = plain_text(notes, statements, most=MOST_BYTES, follow=False)
        if text is None:
            return
        lines = text.split("\n")
        tag = lines[1].strip().strip('"') if len(lines) > 1 else ""
        if _HASH.fullmatch(tag):
            statements.add(model, Statement("the notes of the hub's client", _KINDS[len(tag)], tag))
        else:
            statements.refuse(notes, f"what it has for the hash of {name} is none: {tag[:80]!r}")
        return


def stays_inside(link: Path, folder: Path) -> bool:
    """Whether a link stays in the folder, or leads to where the hub's cache keeps the files of its snapshots."""
    target, root = link.resolve(), folder.resolve()
    snapshots = next((one for one in (root, *root.parents) if one.name == "snapshots"), None)
    return target.is_relative_to(root) or (snapshots is not None and target.parent == snapshots.parent / "blobs")
