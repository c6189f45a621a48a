"""Models of a hub at one commit, by its own client, from a server on this machine that plays the hub."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save

from gifthorse.arch import ARCHITECTURES, untrained
from gifthorse.errors import FetchError, OptionError
from gifthorse.load import load_model
from gifthorse.load.hub import fetch_hub
from gifthorse.provenance.verify import verify

pytest.importorskip("huggingface_hub")

COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "f" * 40
PINNED = f"hf://some/model@{COMMIT}"


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub:
    """The pages of one repository, as the hub's client asks for them."""

    def __init__(self, local):
        self.local = local
        self.files: dict[str, bytes] = {}

    def put(self, name: str, content: bytes, *, sent: bytes | None = None, listed: str | None = None) -> None:
        """List ``name`` with ``content``; with ``sent``, something else comes when it is asked for."""
        self.files[name] = content
        large = name.endswith((".safetensors", ".bin"))
        tag = listed or (hashlib.sha256(content).hexdigest() if large else git_sha1(content))
        sent = content if sent is None else sent
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{tag}"', "Content-Length": str(len(content))}
        self.local.pages[f"/some/model/resolve/{COMMIT}/{name}"] = (200, headers, sent)
        siblings = []
        for one, its in self.files.items():
            entry = {"rfilename": one, "size": len(its), "blobId": git_sha1(its)}
            if one.endswith((".safetensors", ".bin")):
                its_tag = listed if one == name and listed else hashlib.sha256(its).hexdigest()
                entry["lfs"] = {"sha256": its_tag, "size": len(its), "pointerSize": 134}
            siblings.append(entry)
        info = json.dumps({"id": "some/model", "modelId": "some/model", "sha": COMMIT, "siblings": siblings}).encode()
        for revision in (COMMIT, "main", "v1", COMMIT[:7]):
            self.local.pages[f"/api/models/some/model/revision/{revision}"] = (200, {}, info)

    def fetched(self) -> list[str]:
        """The files that were asked for, beyond their heads."""
        return [path.rpartition("/")[2] for verb, path in self.local.asked if verb == "GET" and "/resolve/" in path]


@pytest.fixture
def hub(local, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", local.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", local.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return Hub(local)


@pytest.fixture(scope="module")
def weights() -> bytes:
    return save(untrained("mnist", ARCHITECTURES["mnist"].spec, seed=0).network.state_dict())


def test_a_file_at_a_commit(hub, weights, local):
    hub.put("README.md", b"words")
    hub.put("weights.safetensors", weights)
    hub.put("modeling.py", b"raise SystemExit")
    fetched = fetch_hub(PINNED)
    assert fetched.path.read_bytes() == weights
    assert (fetched.path.name, fetched.path.parent.name) == ("weights.safetensors", COMMIT)
    assert hub.fetched() == ["weights.safetensors"]
    assert load_model(fetched.path).origin.arch == "mnist"
    examination = verify(fetched.path, fetched=fetched.statements)
    checks = [check for one in examination.files for check in one.checks if check.statement.source == PINNED]
    assert [(check.statement.algorithm, check.statement.digest, check.holds) for check in checks] == [
        ("sha256", hashlib.sha256(weights).hexdigest(), True)
    ]
    found = {one.rule: one.message for one in examination.findings}
    assert "modeling.py; it was not fetched" in found["GH112"]
    assert "GH103" not in found
    # Once more: the list is asked for, the file is there.
    fetch_hub(PINNED)
    assert hub.fetched() == ["weights.safetensors"]


def test_a_folder_of_transformers(hub, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=3)
    torch.manual_seed(0)
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path / "made")
    (tmp_path / "made" / "preprocessor_config.json").write_text('{"size": 32, "image_mean": [0.5], "image_std": [0.5]}')
    for path in sorted((tmp_path / "made").iterdir()):
        hub.put(path.name, path.read_bytes())
    hub.put("pytorch_model.bin", b"a pickle")
    fetched = fetch_hub(PINNED)
    assert sorted(hub.fetched()) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    model = load_model(fetched.path)
    assert (model.spec.input_shape, model.spec.mean) == ((3, 32, 32), (0.5,))
    assert {one.rule for one in verify(fetched.path, fetched=fetched.statements).findings} <= {"GH104", "GH105"}


def test_weights_in_several_files(hub):
    hub.put("config.json", b"{}")
    hub.put("model.safetensors.index.json", b'{"weight_map": {}}')
    hub.put("model-00001-of-00002.safetensors", b"a")
    hub.put("model-00002-of-00002.safetensors", b"b")
    hub.put("model-extra.safetensors", b"c")
    fetch_hub(PINNED)
    assert sorted(hub.fetched()) == [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]


def test_a_pickle_is_fetched_only_if_asked_for(hub):
    hub.put("pytorch_model.bin", b"a pickle")
    with pytest.raises(FetchError, match=r"as a pickle only, pytorch_model\.bin, .* --pickle"):
        fetch_hub(PINNED)
    with pytest.raises(OptionError, match="may hold a pickle"):
        fetch_hub(f"{PINNED}/pytorch_model.bin")
    assert hub.fetched() == []
    assert fetch_hub(PINNED, pickle=True).path.name == "pytorch_model.bin"


def test_one_file_of_several(hub, weights):
    hub.put("a.safetensors", weights)
    hub.put("b.safetensors", weights)
    hub.put("sub/c.safetensors", weights)
    with pytest.raises(FetchError, match=r"name the file that is meant, .*/FILE: a\.safetensors, b\.safetensors"):
        fetch_hub(PINNED)
    with pytest.raises(FetchError, match=r"there is no d\.safetensors; there are a\.safetensors"):
        fetch_hub(f"{PINNED}/d.safetensors")
    assert hub.fetched() == []
    assert fetch_hub(f"{PINNED}/sub/c.safetensors").path.name == "c.safetensors"


@pytest.mark.parametrize("revision", ["", "@main", "@v1", "@" + COMMIT[:7]])
def test_a_revision_that_may_change_is_refused_with_the_commit_it_is_now(hub, weights, revision):
    hub.put("model.safetensors", weights)
    with pytest.raises(OptionError, match=rf"is no commit, .* it is at hf://some/model@{COMMIT} now"):
        fetch_hub(f"hf://some/model{revision}")
    assert hub.fetched() == []


def test_a_branch_that_is_called_like_a_commit(hub, weights, local):
    hub.put("model.safetensors", weights)
    local.pages[f"/api/models/some/model/revision/{OTHER}"] = local.pages[f"/api/models/some/model/revision/{COMMIT}"]
    with pytest.raises(FetchError, match=f"answers with another commit, '{COMMIT}'"):
        fetch_hub(f"hf://some/model@{OTHER}")


@pytest.mark.parametrize(
    "address", ["hf://model", "hf://a/b/../c@" + COMMIT + "@x", "hf://../b@" + COMMIT, "hf://a/b@"]
)
def test_what_is_no_address(address):
    with pytest.raises(OptionError, match="must be hf://OWNER/NAME@REVISION"):
        fetch_hub(address)


def test_other_bytes_than_are_listed_are_not_kept(hub, weights, tmp_path):
    changed = bytearray(weights)
    changed[-1] ^= 1
    hub.put("model.safetensors", weights, sent=bytes(changed))
    with pytest.raises(FetchError, match=r"model\.safetensors is not what the hub lists"):
        fetch_hub(PINNED)
    assert not [
        path for path in (tmp_path / "hub").rglob("*") if path.is_file() and path.read_bytes() == bytes(changed)
    ]
    hub.put("model.safetensors", weights)
    assert fetch_hub(PINNED).path.read_bytes() == weights


def test_a_file_that_breaks_off(hub, weights):
    hub.put("model.safetensors", weights, sent=weights[:100])
    with pytest.raises(FetchError, match="could not be fetched"):
        fetch_hub(PINNED)


def test_too_large(hub, weights):
    hub.put("model.safetensors", weights)
    with pytest.raises(FetchError, match=r"and at most 1,000 are fetched"):
        fetch_hub(PINNED, most=1000)
    assert hub.fetched() == []


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "RepoNotFound", "has no such model, or hides it"),
        (404, "RevisionNotFound", "no such revision"),
        (403, "GatedRepo", "who have agreed to its terms"),
        (400, "", "could not be fetched from http://127"),
    ],
)
def test_what_the_hub_refuses(hub, local, status, code, message):
    local.pages[f"/api/models/some/model/revision/{COMMIT}"] = (status, {"X-Error-Code": code} if code else {}, b"{}")
    with pytest.raises(FetchError, match=message):
        fetch_hub(PINNED)


def test_a_file_that_is_gated_or_gone(hub, local, weights):
    hub.put("model.safetensors", weights)
    place = f"/some/model/resolve/{COMMIT}/model.safetensors"
    local.pages[place] = (403, {"X-Error-Code": "GatedRepo"}, b"")
    with pytest.raises(FetchError, match="agreed to its terms"):
        fetch_hub(PINNED)
    local.pages[place] = (404, {"X-Error-Code": "EntryNotFound"}, b"")
    with pytest.raises(FetchError, match="a file that the hub lists is not there"):
        fetch_hub(PINNED)


def test_names_that_lead_out_of_the_repository(hub, weights):
    hub.put("../../evil.safetensors", weights)
    hub.put("/evil.safetensors", weights)
    with pytest.raises(FetchError, match=r"holds no model\.safetensors"):
        fetch_hub(PINNED)


def test_offline_and_without_the_client(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FetchError, match="HF_HUB_OFFLINE is set"):
        fetch_hub(PINNED)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(OptionError, match=r"pip install 'gifthorse\[hub\]'"):
        fetch_hub(PINNED)


def test_the_client_draws_no_bars(hub, weights, capfd):
    from huggingface_hub import utils

    hub.put("model.safetensors", weights)
    before = utils.are_progress_bars_disabled()
    fetch_hub(PINNED)
    assert utils.are_progress_bars_disabled() is before
    assert capfd.readouterr() == ("", "")


def test_the_endpoint_of_the_environment(local, tmp_path, weights):
    """As the client reads it when it is imported."""
    Hub(local).put("model.safetensors", weights)
    script = f"from gifthorse.load.hub import fetch_hub; print(fetch_hub({PINNED!r}).path)"
    environment = {"HF_ENDPOINT": local.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(f"snapshots/{COMMIT}/model.safetensors")
