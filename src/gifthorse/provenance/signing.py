"""OpenSSF model signatures: made and verified with keys or certificates, without a network.

A signature holds the hash of every file that was signed; the library model-signing reads and writes it.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, final

from ..errors import GiftHorseError, OptionError
from .findings import Finding

SUFFIX = ".sig"
MOST_BYTES = 2**24  # of a signature, which has some hundred bytes for each file that it is of


@final
@dataclass(frozen=True)
class Signature:
    """A signature that was held against a file or a folder.

    Attributes:
        file: with the signature.
        by: whose it has to be: the public key's or the certificates' file.
        holds: whether it was made with that key, and of these very bytes.
        covers: the files that it vouches for.
    """

    file: str
    by: str
    holds: bool
    covers: frozenset[Path] = frozenset()


@final
@dataclass(frozen=True)
class Signer:
    """A private key in a PEM file, and the certificates for it, the signer's own first, where there are any."""

    key: Path
    certificates: tuple[Path, ...] = ()

    def check(self) -> None:
        """Fail before the work rather than after it.

        Raises:
            OptionError: model-signing is not installed, or the key or a certificate cannot be read.
        """
        self._configured()

    def sign(self, path: Path, signature: Path) -> None:
        """Write the signature of a file.

        Raises:
            OptionError: as ``check``.
            GiftHorseError: it cannot be made.
        """
        config = self._configured()
        try:
            config.sign(path, signature)
        except Exception as error:
            raise GiftHorseError(f"{path} cannot be signed with {self.key}: {_said(error)}") from error

    def _configured(self) -> Any:  # noqa: ANN401 - a configuration of model-signing, which is an extra
        config = _library("signing").Config()
        try:
            if not self.certificates:
                return config.use_elliptic_key_signer(private_key=self.key)
            own, *chain = self.certificates
            return config.use_certificate_signer(private_key=self.key, signing_certificate=own, certificate_chain=chain)
        except Exception as error:
            raise OptionError(
                f"{self.key} cannot be used to sign: {_said(error)}; give the PEM file of an elliptic-curve key "
                "(P-256, P-384 or P-521) without a password, and certificates that belong to it"
            ) from error


def verified(
    path: Path, signature: Path, *, public_key: Path | None = None, certificates: Sequence[Path] = ()
) -> tuple[Signature, list[Finding]]:
    """Hold a signature against a file or a folder.

    Args:
        path: what was signed; of a folder, every file but the signature itself.
        signature: its file.
        public_key: the signer's, a PEM file; or else
        certificates: those that the signer's certificate has to lead to, PEM files.

    Raises:
        OptionError: model-signing is not installed, a key or certificate cannot be read, or the signature is too
            large to be one.
    """
    library = _library("verifying")
    for one in (signature, *([public_key] if public_key else certificates)):
        if not one.is_file():
            raise OptionError(f"there is no file {one}; give the signature, and the key or certificate of its signer")
    if (size := signature.stat().st_size) > MOST_BYTES:
        raise OptionError(
            f"{signature} has {size:,} bytes, and a signature has no more than {MOST_BYTES:,}; give the signature"
        )
    by = ", ".join(map(str, [public_key] if public_key else certificates))
    config = library.Config()
    try:
        if public_key:
            config.use_elliptic_key_verifier(public_key=public_key)
        else:
            config.use_certificate_verifier(certificate_chain=list(certificates))
    except Exception as error:
        raise OptionError(
            f"{by} cannot be used to verify: {_said(error)}; give the signer's public key or certificate, a PEM file"
        ) from error
    if path.is_dir():
        inside = [one for one in [signature.absolute()] if one.is_relative_to(path.absolute())]
        ignored = [one.relative_to(path.absolute()) for one in inside]
        config.set_hashing_config(_library("hashing").Config().set_ignored_paths(paths=ignored, ignore_git_paths=True))
    try:
        _verify(config, path, signature)
    except _DoesNotHoldError as error:
        said = str(error) or "it was not made with that key"
        finding = Finding("GH102", f"{signature} is no signature of {path} by {by}: {said}", str(path))
        return Signature(str(signature), by, holds=False), [finding]
    return Signature(str(signature), by, holds=True, covers=_covered(path, signature)), []


class _DoesNotHoldError(Exception):
    """A signature that was not made with the key, or not of these files."""


def _verify(config: Any, path: Path, signature: Path) -> None:  # noqa: ANN401
    try:
        config.verify(path, signature)
    except Exception as error:  # the library, and each one that it is built on, raises errors of its own
        raise _DoesNotHoldError(_said(error)) from error


def _covered(path: Path, signature: Path) -> frozenset[Path]:
    """The files that a signature which holds is about; its maker may have left some out."""
    if path.is_file():
        return frozenset([path])
    payload = base64.b64decode(json.loads(signature.read_bytes())["dsseEnvelope"]["payload"])
    return frozenset(path / one["name"] for one in json.loads(payload)["predicate"]["resources"])


def _library(part: str) -> ModuleType:
    try:
        import model_signing.hashing  # noqa: PLC0415 - an extra
        import model_signing.signing  # noqa: PLC0415
        import model_signing.verifying  # noqa: PLC0415
    except ImportError as error:
        raise OptionError(
            f"signatures need model-signing and pyopenssl: pip install 'gifthorse[sign]' ({error})"
        ) from error
    module: ModuleType = getattr(model_signing, part)
    return module


def _said(error: Exception) -> str:
    said = " ".join(str(error).split())
    return said if len(said) <= 300 else f"{said[:300]}…"
