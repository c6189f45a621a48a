"""A model of the Hugging Face hub, or one that speaks as it does, at one commit: by the hub's own client.

Only what a network is read from is fetched: a configuration, and weights that are numbers. A pickle is fetched if that
is asked for, code never. The client keeps the files in its cache.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Final, final

from ..errors import FetchError, GiftHorseError, OptionError
from ..provenance.findings import Finding
from ..provenance.hashes import GIT_SHA1, digests
from ..provenance.stated import Statement, Statements
from .fetch import MOST_BYTES, Fetched, dropped

ADDRESS: Final = re.compile(
    r"hf://(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[^/@#]+))?(?:/(?P<file>[^@#]+))?"
)
COMMIT: Final = re.compile(r"[0-9a-f]{40}")
FORM: Final = "hf://OWNER/NAME@REVISION, REVISION being the 40 digits of a commit"
SECONDS: Final = 30.0
SHOWN: Final = 5
CONFIGURATION: Final = ("config.json", "preprocessor_config.json")
WEIGHTS: Final = "model.safetensors"
PICKLE: Final = "pytorch_model.bin"


@final
@dataclass(frozen=True)
class Listed:
    """A file as the hub lists it.

    Attributes:
        name: its path in the repository.
        size: in bytes, where it is told.
        algorithm: of its hash, a key of ``provenance.hashes.SHOWN``; empty if none is told.
        digest: hexadecimal.
    """

    name: str
    size: int | None
    algorithm: str
    digest: str


def fetch_hub(address: str, *, pickle: bool = False, most: int = MOST_BYTES) -> Fetched:
    """Fetch a model at one commit; each file is held against the hash that the hub lists for it.

    Args:
        address: ``hf://OWNER/NAME@REVISION``, with ``/FILE`` behind it for one file of several.
        pickle: whether ``pytorch_model.bin`` may be fetched where there are no safetensors.
        most: bytes that all files together may have.

    Raises:
        OptionError: it is no such address, the revision is no commit, or the hub's client is missing.
        FetchError: the hub is not reached or refuses, holds no such model, or sends other bytes than it lists.
    """
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise OptionError(f"{address!r} must be {FORM}")
    try:
        import huggingface_hub  # noqa: PLC0415 - an extra
        from huggingface_hub import constants  # noqa: PLC0415
    except ImportError as error:
        raise OptionError(f"{address} needs the hub's client: pip install 'gifthorse[hub]'") from error
    name, revision = found["name"], found["revision"] or "main"
    endpoint = constants.ENDPOINT
    with _hub(address, endpoint):
        info = huggingface_hub.HfApi(endpoint=endpoint).model_info(
            name, revision=revision, files_metadata=True, timeout=SECONDS
        )
        listed = _listed(info.siblings)
    commit = str(info.sha)
    if not COMMIT.fullmatch(revision):
        now = f"; it is at hf://{name}@{commit} now" if COMMIT.fullmatch(commit) else ""
        raise OptionError(
            f"{address}: {revision!r} is no commit, and may be another model tomorrow{now}. Give the commit "
            "that is meant"
        )
    if commit != revision:
        raise FetchError(f"{address}: the hub answers with another commit, {commit[:60]!r}")
    chosen = _chosen(listed, found["file"], pickle=pickle, address=address)
    _check_size(chosen, most, address)
    where = f"hf://{name}@{commit}"
    statements = Statements()
    paths = []
    for one in chosen:
        with _hub(address, endpoint):
            got = huggingface_hub.hf_hub_download(name, one.name, revision=commit, endpoint=endpoint)
        paths.append(Path(got))
        _check(one, paths[-1], where)
        over_http = endpoint.startswith("http://")
        statements.add(paths[-1], Statement(where, one.algorithm, one.digest, one.size, over_http=over_http))
    code = [one.name for one in listed if one.name.endswith(".py")]
    if code:
        names = ", ".join(code[:SHOWN]) + (f" and {len(code) - SHOWN} more" if len(code) > SHOWN else "")
        statements.findings.append(
            Finding("GH112", f"{where} holds code beside the model, {names}; it was not fetched", where)
        )
    folder = next((path.parent for one, path in zip(chosen, paths, strict=True) if one.name == CONFIGURATION[0]), None)
    return Fetched(folder or paths[-1], statements)


def _listed(siblings: Sequence[Any] | None) -> list[Listed]:
    """Names, sizes and hashes: the SHA-256 of large files, Git's of small ones."""
    said = []
    for one in siblings or ():
        name, size = str(one.rfilename), one.size if isinstance(one.size, int) else None
        large = getattr(one.lfs, "sha256", None)
        if isinstance(large, str) and re.fullmatch(r"[0-9a-f]{64}", large):
            said.append(Listed(name, size, "sha256", large))
        elif isinstance(one.blob_id, str) and COMMIT.fullmatch(one.blob_id):
            said.append(Listed(name, size, GIT_SHA1, one.blob_id))
        else:
            said.append(Listed(name, size, "", ""))
    return said


def _chosen(listed: Sequence[Listed], file: str | None, *, pickle: bool, address: str) -> list[Listed]:
    """What is fetched of all that there is; the weights are the last."""
    there = {one.name: one for one in listed if _is_plain(one.name)}
    if file is not None:
        if file not in there:
            raise FetchError(f"{address}: there is no {file}; there are {_few(there)}")
        if not file.endswith(".safetensors") and not pickle:
            raise OptionError(f"{address}: {file} may hold a pickle, which can run code; say --pickle if you mean it")
        return [there[file]]
    for kind in (WEIGHTS, *([PICKLE] if pickle else [])):
        stem, _, suffix = kind.rpartition(".")
        index = f"{kind}.index.json"
        shards = [name for name in there if re.fullmatch(rf"{stem}-\d{{5}}-of-\d{{5}}\.{suffix}", name)]
        weights = [kind] if kind in there else [index, *shards] if index in there and shards else []
        if weights:
            return [there[name] for name in (*CONFIGURATION, *weights) if name in there]
    alone = [name for name in there if "/" not in name and name.endswith(".safetensors")]
    if len(alone) == 1:
        return [there[alone[0]]]
    if PICKLE in there and not pickle:
        raise FetchError(
            f"{address} holds its weights as a pickle only, {PICKLE}, which can run code; ask its owner for "
            "safetensors, or say --pickle"
        )
    raise FetchError(f"{address} holds no {WEIGHTS}; name the file that is meant, {address}/FILE: {_few(there)}")


def _is_plain(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and "\\" not in name


def _few(names: Sequence[str] | dict[str, Listed]) -> str:
    shown = list(names)[:SHOWN]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "") or "no files"


def _check_size(chosen: Sequence[Listed], most: int, address: str) -> None:
    size = sum(one.size or 0 for one in chosen)
    if size > most:
        raise FetchError(f"{address} has {size:,} bytes, and at most {most:,} are fetched; allow more with --most-gib")


def _check(one: Listed, path: Path, where: str) -> None:
    """Hold a file against the list; the client itself looks at sizes only."""
    if not one.algorithm:
        return
    found = digests(path, [one.algorithm])[one.algorithm]
    if found != one.digest:
        dropped(path)
        raise FetchError(
            f"{where}/{one.name} is not what the hub lists: its hash is {found}, and {one.digest} is listed; it was "
            "not kept. Fetch it again, and if it stays so, do not use it"
        )


@contextmanager
def _hub(address: str, endpoint: str) -> Iterator[None]:
    """In the block, the client draws no bars of its own, and whatever it raises is an error of ours."""
    from huggingface_hub import errors  # noqa: PLC0415 - an extra

    bars: Any = import_module("huggingface_hub.utils")  # which is typed without what it imports
    shown = not bars.are_progress_bars_disabled()
    bars.disable_progress_bars()
    try:
        yield
    except GiftHorseError:
        raise
    except errors.GatedRepoError as error:
        raise FetchError(
            f"{address} is given to those only who have agreed to its terms; agree to them at {endpoint}, and log in "
            "with `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FetchError(f"{address}: {endpoint} has no such model, or hides it; check the name, or log in") from error
    except errors.RevisionNotFoundError as error:
        raise FetchError(f"{address}: the model has no such revision; check the commit") from error
    except errors.EntryNotFoundError as error:
        raise FetchError(f"{address}: a file that the hub lists is not there; try again, or ask its owner") from error
    except errors.OfflineModeIsEnabled as error:
        raise FetchError(f"{address}: HF_HUB_OFFLINE is set, so nothing is fetched; give the folder itself") from error
    except Exception as error:  # the client and what it sends requests with each raise errors of their own
        said = " ".join(str(error).split())[:300]
        raise FetchError(f"{address} could not be fetched from {endpoint}: {type(error).__name__}: {said}") from error
    finally:
        if shown:
            bars.enable_progress_bars()
