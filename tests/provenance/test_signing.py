"""Signatures made and verified in both directions, with keys made here."""

import base64
import datetime
import json
import sys

import pytest

from gifthorse.errors import GiftHorseError, OptionError
from gifthorse.provenance.signing import Signer
from gifthorse.provenance.verify import verify

pytest.importorskip("model_signing")
pytest.importorskip("OpenSSL")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def write_key(folder, name, *, password=None):
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    secret = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, secret))
    public.write_bytes(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
    return key, private, public


def write_certificate(path, subject, key, issuer, issuer_key, *, authority):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives import serialization as form

    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.UTC)
    uses = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    uses += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    wanted = {"key_cert_sign", "crl_sign"} if authority else {"digital_signature"}
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=10))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{use: use in wanted for use in uses}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(form.Encoding.PEM))
    return path


@pytest.fixture
def signed(tmp_path):
    (tmp_path / "model.txt").write_text("weights")
    _, private, public = write_key(tmp_path, "key")
    Signer(private).sign(tmp_path / "model.txt", tmp_path / "model.txt.sig")
    return tmp_path, public


def outcome(folder, key, name="model.txt"):
    return verify(folder / name, signature=folder / "model.txt.sig", public_key=key)


def test_a_signature_vouches_for_the_file(signed):
    folder, public = signed
    examination = outcome(folder, public)
    assert (examination.outcome, examination.signature.holds) == ("nothing-found", True)


def test_another_file_another_key_another_signature(signed, tmp_path):
    folder, public = signed
    (folder / "other.txt").write_text("other")
    _, _, other_key = write_key(folder, "other")
    text = (folder / "model.txt.sig").read_text()
    for examination in (outcome(folder, public, "other.txt"), outcome(folder, other_key)):
        assert (examination.outcome, examination.signature.holds) == ("found", False)
        assert "GH102" in [one.rule for one in examination.findings]
        assert not examination.is_as_stated
    bundle = json.loads(text)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(b'{"predicate": {"resources": []}}').decode()
    for damaged in ("", "{}", text[:200], json.dumps(bundle), "[" * 10_000):
        (folder / "model.txt.sig").write_text(damaged)
        assert "GH102" in [one.rule for one in outcome(folder, public).findings]


def test_a_whole_folder(signed, tmp_path):
    import model_signing.hashing
    import model_signing.signing

    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "left.txt"):
        (folder / name).write_text(name)
    ignored = model_signing.hashing.Config().set_ignored_paths(paths=["model.sig", "left.txt"])
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=tmp_path / "key.pem")
    config.set_hashing_config(ignored).sign(folder, folder / "model.sig")

    def examined():
        return verify(folder, signature=folder / "model.sig", public_key=signed[1])

    (unstated,) = examined().findings
    assert (unstated.rule, "left.txt" in unstated.message, "a.txt" in unstated.message) == ("GH103", True, False)
    (folder / "more.txt").write_text("not signed")
    assert "GH102" in [one.rule for one in examined().findings]


def test_certificates(signed, tmp_path):
    root_key, _, _ = write_key(tmp_path, "root")
    other_key, _, _ = write_key(tmp_path, "other")
    key, private, _ = write_key(tmp_path, "signer")
    root = write_certificate(tmp_path / "root.crt", "root", root_key, "root", root_key, authority=True)
    other = write_certificate(tmp_path / "other.crt", "root", other_key, "root", other_key, authority=True)
    own = write_certificate(tmp_path / "own.crt", "signer", key, "root", root_key, authority=False)
    Signer(private, (own, root)).sign(tmp_path / "model.txt", tmp_path / "chain.sig")
    for certificate, holds in ((root, True), (other, False)):
        found = verify(tmp_path / "model.txt", signature=tmp_path / "chain.sig", certificates=[certificate])
        assert found.signature.holds is holds
        assert ("GH102" in [one.rule for one in found.findings]) is not holds


def test_keys_that_cannot_be_used(signed, tmp_path):
    _, locked, _ = write_key(tmp_path, "locked", password=b"secret")
    (tmp_path / "text.pem").write_text("no key")
    for key in (locked, tmp_path / "text.pem", tmp_path / "nothing.pem"):
        with pytest.raises(OptionError, match="cannot be used to sign"):
            Signer(key).check()
    with pytest.raises(OptionError, match="cannot be used to verify"):
        outcome(tmp_path, tmp_path / "text.pem")
    with pytest.raises(OptionError, match="there is no file"):
        outcome(tmp_path, tmp_path / "nothing.pub")
    with pytest.raises(GiftHorseError, match="cannot be signed"):
        Signer(tmp_path / "key.pem").sign(tmp_path / "nothing", tmp_path / "nothing.sig")


def test_without_the_library_the_extra_is_named(signed, monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing.hashing", None)
    with pytest.raises(OptionError, match=r"pip install 'gifthorse\[sign\]'"):
        outcome(*signed)


def test_what_is_too_large_for_a_signature_is_not_read(signed):
    folder, public = signed
    with (folder / "model.txt.sig").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(OptionError, match="a signature has no more than"):
        outcome(folder, public)
