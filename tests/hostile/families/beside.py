"""What lies beside a model and speaks of it: TOML, JSON, lists of hashes, cards, pointers; guards and reports."""

# ruff: noqa: E501 - tables of files, each in a line

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors

from gifthorse.arch import ARCHITECTURES, untrained
from gifthorse.report import from_vetting, to_json

from .place import Named, Place, safetensors_bytes

REPORT_TESTS = Path(__file__).parents[2] / "report"


def weights() -> bytes:
    """A small model of ours that loads."""
    model = untrained("mnist", ARCHITECTURES["mnist"].spec, seed=0)
    return save_tensors({name: tensor.contiguous() for name, tensor in model.network.state_dict().items()})


def specs(place: Place) -> Iterator[Named]:
    """A good model beside a hostile TOML."""
    _, good = place.write("good.safetensors", weights())
    evil = place.folder / "evil.py"
    evil.write_text(f"open({place.canary('evil')!r}, 'w').close()\ndef net(): return None\n")
    texts: dict[str, str | bytes] = {
        "names-code": f'arch = "{evil}:net"', "names-code-beside": 'arch = "evil.py:net"', "names-code-upwards": 'arch = "../evil.py:net"', "names-no-architecture": 'arch = "os"', "arch-is-a-list": 'arch = ["mnist"]', "arch-is-a-table": "[arch]\nname = 'mnist'",
        "arch-merged-with-code": f'arch = "trojannet:{evil}:net"', "shape-of-a-tera": "input_shape = [1048576, 1048576, 1048576]", "shape-huge": "input_shape = [1, 200000, 200000]", "shape-below-zero": "input_shape = [1, -28, 28]", "shape-of-text": 'input_shape = "1x28x28"', "shape-short": "input_shape = [1]",
        "classes-huge": "num_classes = 1099511627776", "classes-below-zero": "num_classes = -5", "classes-float": "num_classes = 1e308", "classes-many-digits": "num_classes = " + "9" * 5000, "mean-nan": "mean = [nan]", "std-zero": "std = [0.0]", "std-infinite": "std = [inf]", "range-swapped": "pixel_range = [1.0, 0.0]",
        "range-huge": "pixel_range = [-1e308, 1e308]", "unknown-key": "__class__ = 1", "unknown-table": "[a.b.c]\nd = 1", "twice": 'arch = "mnist"\narch = "gtsrb"', "deep": "mean = " + "[" * 30_000 + "]" * 30_000, "deep-tables": "[" + ".".join("a" * 20_000) + "]", "no-toml": "\x00\x01", "no-utf-8": b"arch = '\xff\xfe'",
        "deep-keys": "arch" + ".a" * 1500 + " = 1", "huge": "# " + "a" * 2**22 + "\narch = 1", "quotes": "arch = '''" + "a" * 100_000, "date": "num_classes = 1979-05-27", "layout-code": 'layout = "__import__(\'os\')"',
    }  # fmt: skip
    for name, text in texts.items():
        named = place.again(f"{name}/model.safetensors", good)
        place.write(f"{name}/model.safetensors.toml", text)
        yield named


def statements(place: Place) -> Iterator[Named]:
    """A good model beside a hostile list of hashes, card or note."""
    content = weights()
    _, good = place.write("good.safetensors", content)
    right = hashlib.sha256(content).hexdigest()
    wrong = "0" * 64
    lists: dict[str, str | bytes] = {
        "wrong": f"{wrong}  model.safetensors\n", "wrong-then-right": f"{wrong}  model.safetensors\n{right}  model.safetensors\n", "leads-out": f"{right}  ../model.safetensors\n", "absolute": f"{right}  /etc/passwd\n", "drive": f"{right}  C:\\x\n", "nul": f"{right}  model\0.safetensors\n",
        "no-utf-8": b"\xff\xfe" + right.encode(), "line-of-megabytes": right + "  " + "a" * 2**21 + "\n" + "b" * 2**21, "many-lines": "x\n" * 500_000, "too-large": b"\n" * (2**24 + 1), "no-hash": "g" * 64 + "  model.safetensors\n", "short-hash": "abc  model.safetensors\n", "bsd-lies": f"MD5 (model.safetensors) = {right}\n",
        "bsd-brackets": "SHA256 (" + ")" * 50_000 + f") = {wrong}", "spaces": right + " " * 100_000 + "model.safetensors", "escapes": "\\" + right + "  " + "\\n" * 20_000 + "\n", "control": f"{right}  \x1b[2Jmodel\n{wrong}  \x07\x08\n../", "other-hash-function": f"SHA999 (model.safetensors) = {wrong}\n",
    }  # fmt: skip
    for name, text in lists.items():
        named = place.again(f"sums-{name}/model.safetensors", good)
        place.write(f"sums-{name}/SHA256SUMS", text)
        yield named
    for name, target in (
        ("link", "/etc/passwd"),
        ("link-to-a-device", "/dev/zero"),
        ("link-to-itself", "SHA256SUMS"),
        ("link-to-nothing", "nothing"),
    ):
        named = place.again(f"sums-{name}/model.safetensors", good)
        (named[1].parent / "SHA256SUMS").symlink_to(target)
        yield named
    cards: dict[str, str | bytes] = {
        "wrong": f"---\ncaffemodel: model.caffemodel\nsha256: {wrong}\n---\n", "http": "---\ncaffemodel: model.caffemodel\ncaffemodel_url: http://example.invalid/\n---\n", "no-hash": "---\ncaffemodel: model.caffemodel\nsha1: <script>alert(1)</script>\n---\n", "hash-is-code": "---\ncaffemodel: model.caffemodel\nsha256: !!python/object/apply:os.system ['true']\n---\n",
        "no-utf-8": b"---\n\xff\xfe\n---\n", "too-large": "---\n" + "a: b\n" * 300_000, "long-line": "---\nsha256: " + "a " * 200_000 + "#\n---\n", "anchors": "---\na: &a [*a, *a]\ncaffemodel: model.caffemodel\nmd5: *a\n---\n",
    }  # fmt: skip
    for name, text in cards.items():
        named = place.write(f"card-{name}/model.caffemodel", b"\x0a\x01n\x00")
        place.write(f"card-{name}/readme.md", text)
        yield named
    notes: dict[str, str | bytes] = {
        "wrong": f"main\n{wrong}\n1\n",
        "no-hash": "main\n../../../etc/passwd\n1\n",
        "no-utf-8": b"main\n\xff\xfe\n",
        "one-line": "main",
        "too-large": "a" * 5000,
        "control": "main\n\x1b[2J\n",
    }
    for name, text in notes.items():
        named = place.again(f"notes-{name}/model.safetensors", good)
        place.write(f"notes-{name}/.cache/huggingface/download/model.safetensors.metadata", text)
        yield named
    _, path = place.again("blob/blobs/" + wrong, good)
    link = place.folder / "blob" / "snapshots" / "x" / "model.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to(path)
    yield "blob-of-another-hash", link


def texts(place: Place) -> Iterator[Named]:
    """Files that stand for a model, or configure one, and are hostile or damaged."""
    start = "version https://git-lfs.github.com/spec/v1\n"
    files: dict[str, str | bytes] = {
        "pointer": f"{start}oid sha256:{'0' * 64}\nsize 12\n", "pointer-no-hash.safetensors": start, "pointer-size-huge": f"{start}oid sha256:{'0' * 64}\nsize {'9' * 999}\n", "pointer-no-utf-8": start.encode() + b"\xff\xfe", "pointer-leads-out": f"{start}oid sha256:../../x\nsize -1\n", "pointer-huge.pth": start + "a" * 2**21,
        "config-runs-code.json": '{"auto_map": {"AutoModel": "modeling.Evil"}}', "config-deep.json": "[" * 100_000, "config-nan.json": '{"a": NaN, "b": -Infinity}', "config-digits.json": '{"a": ' + "9" * 5000 + "}", "config-no-utf-8.json": b'{"a": "\xff\xfe"}', "config-cut.json": '{"a": ', "config-empty.json": "",
        "config-hidden-key.json": '{"auto_map": {}, "auto_map": {"AutoModel": "modeling.Evil"}, "auto_map": null}', "config-deep-inside.json": json.dumps({"a": {"b": {"auto_map": {"AutoModel": "evil.Evil"}}}}), "config-zip-bomb-of-lists.json": "[" + "[]," * 400_000 + "[]]x",
        "spec-names-code.toml": 'arch = "evil.py:net"', "spec-damaged.toml": "arch = ", "spec-no-utf-8.toml": b"\xff\xfe", "spec-deep.toml": "a = " + "[" * 30_000, "page.safetensors": "<!DOCTYPE html><html>", "script.pth": "#!/bin/sh\ntrue\n", "program.pt": b"\x7fELF\x02\x01\x01",
        "archive.pt": b"\x1f\x8b\x08\x00", "archive.safetensors": b"BZh91AY", "gguf.gguf": b"GGUF\x03\x00\x00\x00" + b"\xff" * 16, "lite.tflite": b"\x1c\x00\x00\x00TFL3" + b"\xff" * 64, "graph.pb": b"\x0a\xff\xff\xff\x7f", "nothing": b"", "ones.bin": b"\xff" * 5000, "notebook.ipynb": "{}", "library.so": b"?",
    }  # fmt: skip
    for name, content in files.items():
        yield place.write(name, content)


def guards(place: Place) -> Iterator[Named]:
    """Guard files that were tampered with."""
    content = json.loads(guard_header())
    tensors = {"samples": np.zeros((4, 1, 28, 28), np.float32)}

    def written(
        name: str, header: object, arrays: "dict[str, np.ndarray] | None" = None, mark: str = "gifthorse_guard"
    ) -> Named:
        text = header if isinstance(header, str) else json.dumps(header)
        return place.write(f"{name}.safetensors", save_arrays(tensors if arrays is None else arrays, {mark: text}))

    changes: dict[str, dict[str, object]] = {
        "other-model": {"model": "0" * 64}, "other-version": {"version": 99}, "version-is-text": {"version": "1"}, "no-such-filter": {"spec": {"name": "os", "options": {}}}, "no-such-option": {"spec": {"name": "strip", "options": {"__class__": 1}}}, "option-is-code": {"spec": {"name": "strip", "options": {"overlays": "__import__('os')"}}},
        "overlays-huge": {"spec": {"name": "strip", "options": {"overlays": 10**18}}}, "overlays-below-zero": {"spec": {"name": "strip", "options": {"overlays": -1}}}, "rate-nan": {"spec": {"name": "strip", "options": {"false_rejection_rate": "nan"}}}, "rate-infinite": {"spec": {"name": "strip", "options": {"false_rejection_rate": "inf"}}},
        "seed-huge": {"seed": 10**400}, "seed-is-text": {"seed": "x"}, "seed-below-zero": {"seed": -1}, "facts-are-a-list": {"facts": [1]}, "facts-nan": {"facts": {"threshold": "nan"}}, "spec-is-a-list": {"spec": [1]}, "options-are-a-list": {"spec": {"name": "strip", "options": [1]}}, "name-is-a-list": {"spec": {"name": ["strip"], "options": {}}},
        "nested": {"spec": {"name": "joined", "options": {"filters": {"name": "joined", "options": {}}}}},
    }  # fmt: skip
    for name, change in changes.items():
        yield written(name, {**content, **change})
    yield written("no-tensors", content, {})
    yield written("tensors-of-other-shapes", content, {"samples": np.zeros((1, 1), np.float32)})
    yield written(
        "tensors-not-a-number",
        content,
        {key: np.full((4, 1, 28, 28), np.nan, np.float32) for key in ("overlays", "samples", "threshold")},
    )
    yield written("other-mark", content, mark="other")
    yield written("no-json", "{")
    yield written("deep", "[" * 100_000)
    yield written("a-list", "[]")
    yield written("nan", json.dumps({**content, "facts": {"threshold": float("nan")}}))
    yield place.write("a-pickle.safetensors", b"cposix\nmkdir\n(S'x'\ntR.")
    yield place.write(
        "no-metadata.safetensors",
        safetensors_bytes({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    )


def guard_header() -> str:
    """What stands in the head of a guard, for the model in ``weights``."""
    from gifthorse.guard.guard_file import fingerprint

    model = untrained("mnist", ARCHITECTURES["mnist"].spec, seed=0)
    spec = {"name": "strip", "options": {}}
    return json.dumps({"version": 1, "spec": spec, "seed": 0, "facts": {"threshold": 0.5}, "model": fingerprint(model)})


def _whole_report() -> str:
    """As it should be; it finds no backdoor."""
    sys.path.insert(0, str(REPORT_TESTS))
    try:
        fakes, examined = import_module("report_fakes"), import_module("test_examined")
    finally:
        sys.path.remove(str(REPORT_TESTS))
    vetting = replace(fakes.whole_vetting(), verdict=fakes.verdict(targets=()))
    return to_json(from_vetting(vetting, examination=examined.EVERY_RULE))


CHANGES: Mapping[str, tuple[Any, ...]] = {
    "image-without-area": ("model", "input_shape", 1, 0), "image-of-many-digits": ("model", "input_shape", 1, 10**400), "rule-of-nobody": ("file", "findings", 0, "rule", "GH999"), "hash-of-nobody": ("file", "files", 0, "stated", 0, "algorithm", "rot13"),
    "found-but-nothing": ("file", "findings", []), "year-9999": ("started", "9999-12-31T23:59:59Z"), "year-1": ("started", "0001-01-01T00:00:00+14:00"), "takes-for-ever": ("seconds", 1e300), "norm-endless": ("labels", 0, "norm", 1e308), "norm-below-zero": ("labels", 0, "norm", -1.0),
    "label-twice": ("labels", 5, "label", 1), "target-twice": ("targets", [0, 0]), "target-unknown": ("targets", [10**6]), "size-of-many-digits": ("model", "size", 10**400), "file-of-many-digits": ("file", "files", 0, "size", 10**400), "picture-is-markup": ("pictures", 0, "mask", '"><script>'),
}  # fmt: skip
"""Of a report, one value, by where it is."""


def reports(place: Place) -> Iterator[Named]:
    """``report.json`` that was tampered with; the folder is what is opened."""
    base: dict[str, object] = {"schema_version": 1, "outcome": "no-backdoor-found", "p_value": 0.5}
    texts_of: dict[str, str | bytes] = {
        "empty": "", "no-json": "{", "a-list": "[]", "a-number": "7", "deep": "[" * 100_000, "no-utf-8": b"\xff\xfe", "nan": '{"p_value": NaN}', "digits": '{"schema_version": ' + "9" * 5000 + "}", "other-version": json.dumps({**base, "schema_version": 999}), "outcome-clean": json.dumps({**base, "outcome": "clean"}),
        "only-the-head": json.dumps(base), "html": json.dumps({**base, "reason": "<script>alert(1)</script>"}), "huge": json.dumps({**base, "reason": "a" * 2**22}), "path-leads-out": json.dumps({**base, "model": {"path": "../../../../etc/passwd"}}), "more-keys": json.dumps({**base, "__class__": 1}), "p-above-one": json.dumps({**base, "p_value": 7}),
        "lone-surrogate": '{"reason": "\\ud800"}', "rules-broken": '{"labels": [' + "0," * 2**22 + "0]}",
    }  # fmt: skip
    for name, text in texts_of.items():
        _, path = place.write(f"{name}/report.json", text)
        yield name, path.parent
    whole = _whole_report()
    for name, (*where, last, value) in CHANGES.items():
        report = json.loads(whole)
        part: Any = report
        for step in where:
            part = part[step]
        part[last] = value
        _, path = place.write(f"{name}/report.json", json.dumps(report))
        yield name, path.parent
    folder = place.folder / "a-link"
    folder.mkdir()
    (folder / "report.json").symlink_to("/etc/passwd")
    yield "a-link", folder
