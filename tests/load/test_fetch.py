"""Files from an address: what comes is what was meant, or nothing is kept."""

import datetime
import hashlib
import ssl
import time

import pytest
from safetensors.torch import save

from gifthorse.arch import ARCHITECTURES, untrained
from gifthorse.errors import FetchError, OptionError
from gifthorse.load import fetch, load_model
from gifthorse.load.fetch import Fetched, cache_folder, fetch_url
from gifthorse.load.http import Patience
from gifthorse.provenance.verify import verify

from .conftest import serving

QUICK = Patience(seconds=2.0, tries=2, pause=0.01)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GIFTHORSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def weights() -> bytes:
    return save(untrained("mnist", ARCHITECTURES["mnist"].spec, seed=0).network.state_dict())


@pytest.fixture
def address(local, weights) -> str:
    local.pages["/m/model.safetensors"] = (200, {}, weights)
    return f"{local.url}/m/model.safetensors"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def rules(fetched: Fetched) -> list[str]:
    return [one.rule for one in verify(fetched.path, fetched=fetched.statements).findings]


def left(cache) -> list[str]:
    return [path.name for path in cache.rglob("*") if path.is_file()]


def test_a_file_with_its_hash(address, weights, local, cache):
    fetched = fetch_url(address, stated_sha256=digest(weights).upper(), plain_http=True)
    assert fetched.path.read_bytes() == weights
    assert fetched.path.is_relative_to(cache)
    assert fetched.path.name == "model.safetensors"
    assert load_model(fetched.path).origin.arch == "mnist"
    (one,) = verify(fetched.path, fetched=fetched.statements).files
    assert [(check.statement.source, check.statement.algorithm, check.holds) for check in one.checks] == [
        (address, "", True),
        ("--sha256", "sha256", True),
    ]
    assert rules(fetched) == []  # the hash did not come over HTTP
    # It is there now, and is what is meant: nobody is asked again.
    count = len(local.asked)
    assert fetch_url(f"{address}#sha256={digest(weights)}", plain_http=True).path == fetched.path
    assert len(local.asked) == count


def test_without_a_hash_it_is_fetched_anew_and_that_is_a_finding(address, local):
    assert sorted(rules(fetch_url(address, plain_http=True))) == ["GH103", "GH105"]
    local.pages["/m/model.safetensors"] = (200, {}, b"another")
    assert fetch_url(address, plain_http=True).path.read_bytes() == b"another"


def test_another_hash_is_refused_and_nothing_is_kept(address, cache):
    with pytest.raises(FetchError, match=r"is not what was stated: its SHA-256 is .* nothing was kept"):
        fetch_url(address, stated_sha256="0" * 64, plain_http=True)
    assert left(cache) == []


def test_a_file_in_the_cache_that_was_exchanged_is_fetched_again(address, weights):
    fetched = fetch_url(address, stated_sha256=digest(weights), plain_http=True)
    fetched.path.write_bytes(b"exchanged")
    assert fetch_url(address, stated_sha256=digest(weights), plain_http=True).path.read_bytes() == weights


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ((404, {}, b""), "is not there .HTTP status 404"),
        ((403, {}, b""), "not given to everybody"),
        ((200, {"Content-Encoding": "gzip"}, b"x"), "comes packed"),
        ((200, {"Content-Length": "5000"}, b"x"), "has 5,000 bytes, and at most 1,000"),
        ((200, {"Transfer-Encoding": "identity", "Content-Length": "x"}, b"x" * 1001), "goes on, and at most 1,000"),
        ((302, {"Location": "/elsewhere/a"}, b""), "is not there .HTTP status 404"),
        ((302, {"Location": "/m/a"}, b""), "sends on more than 5 times"),
        ((302, {"Location": "ftp://127.0.0.1/a"}, b""), "must begin with http:// or https://"),
        ((302, {"Location": "file:///etc/passwd"}, b""), "must begin with http:// or https://"),
        ((302, {}, b""), "sends on more than 5 times"),
        ((503, {}, b""), "in 2 tries: HTTP status 503"),
        ((200, {"Content-Length": "900"}, b"x" * 100), "in 2 tries: it broke off 800 bytes before the end"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_is_not_fetched(local, cache, page, message):
    local.pages["/m/a"] = page
    with pytest.raises(FetchError, match=message):
        fetch_url(f"{local.url}/m/a", plain_http=True, most=1000, patience=QUICK)
    assert left(cache) == []


def test_a_redirect_is_followed(address, local, weights):
    local.pages["/r/model.safetensors"] = (302, {"Location": address}, b"")
    assert fetch_url(f"{local.url}/r/model.safetensors", plain_http=True).path.read_bytes() == weights


def test_a_second_try_may_do(local):
    seen = []

    def page(handler):
        seen.append(handler)
        return (200, {}, b"whole") if len(seen) > 1 else (200, {"Content-Length": "50"}, b"part")

    local.pages["/m/a"] = page
    assert fetch_url(f"{local.url}/m/a", plain_http=True, patience=QUICK).path.read_bytes() == b"whole"


def test_a_server_that_drips_is_left(local, cache):
    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(2000):
            time.sleep(0.02)
            try:
                handler.wfile.write(b"x")
            except OSError:
                return

    local.pages["/m/a"] = drip
    started = time.monotonic()
    with pytest.raises(FetchError, match=r"still sending after 0\.2 seconds"):
        fetch_url(f"{local.url}/m/a", plain_http=True, patience=Patience(0.2, 1))
    assert time.monotonic() - started < 20
    assert left(cache) == []


def test_a_server_that_never_comes_to_its_headers_is_left(local, cache, monkeypatch):
    monkeypatch.setattr(fetch, "CONNECTING", 0.2)

    def on_and_on(handler):
        for _ in range(2000):
            time.sleep(0.02)
            try:
                handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            except OSError:
                return

    local.pages["/m/a"] = on_and_on
    with pytest.raises(FetchError, match=r"no answer came in 0\.2 seconds"):
        fetch_url(f"{local.url}/m/a", plain_http=True, patience=Patience(0.2, 1))
    assert left(cache) == []


def test_nobody_there(cache):
    with pytest.raises(FetchError, match="could not be fetched, in 2 tries: Connection"):
        fetch_url("http://127.0.0.1:1/a", plain_http=True, patience=QUICK)
    assert left(cache) == []


@pytest.mark.parametrize(
    ("address", "options", "message"),
    [
        ("http://127.0.0.1/a", {}, "is not encrypted.*--plain-http"),
        ("https://user:word@127.0.0.1/a", {}, "holds a name or a password"),
        ("https://127.0.0.1/", {}, "does not end in the name of a file"),
        ("https://127.0.0.1/..", {}, "does not end in the name of a file"),
        ("https:///a", {}, "name a host"),
        ("https://[::1/a", {}, "is no address"),
        ("https://127.0.0.1:port/a", {}, "is no address"),
        ("https://127.0.0.1/a b", {}, "must not hold spaces"),
        ("ftp://127.0.0.1/a", {}, "must begin with http"),
        ("https://127.0.0.1/a#sha1=00", {}, "sha256=HEX only"),
        ("https://127.0.0.1/a#sha256=00", {}, "SHA-256 of 64 hexadecimal digits"),
        ("https://127.0.0.1/a#sha256=" + "0" * 64, {"stated_sha256": "1" * 64}, "state two hashes"),
    ],
)
def test_what_cannot_be_meant(address, options, message):
    with pytest.raises(OptionError, match=message):
        fetch_url(address, **options)


def test_the_name_of_a_file_leads_nowhere_else(local, cache):
    local.pages["/m/%2e%2e%2f%2e%2e%2fa%00.pth"] = (200, {}, b"x")
    path = fetch_url(f"{local.url}/m/%2e%2e%2f%2e%2e%2fa%00.pth", plain_http=True).path
    assert (path.name, path.parent.parent) == ("a_.pth", cache / "fetched")


def test_where_files_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("GIFTHORSE_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "gifthorse"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Of 127.0.0.1, signed by itself; key and certificate in one file."""
    x509 = pytest.importorskip("cryptography.x509")
    import ipaddress

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_an_encrypted_connection_is_checked_and_not_left(certificate, local, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(context) as encrypted:
        encrypted.pages["/m/a"] = (200, {}, b"secret")
        encrypted.pages["/m/down"] = (302, {"Location": f"{local.url}/m/a"}, b"")
        local.pages["/m/a"] = (200, {}, b"plain")
        with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch_url(f"{encrypted.url}/m/a", patience=QUICK)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        fetched = fetch_url(f"{encrypted.url}/m/a", patience=QUICK)
        assert fetched.path.read_bytes() == b"secret"
        assert "GH105" not in rules(fetched)
        with pytest.raises(FetchError, match=r"which is not followed: .* is not encrypted"):
            fetch_url(f"{encrypted.url}/m/down", patience=QUICK)
        assert local.asked == []
