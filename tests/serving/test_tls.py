"""TLS and mutual TLS, with certificates that the tests make."""

import datetime
import ipaddress
import ssl
import urllib.error

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.served_model import save_scores
from tests.support.serving_thread import embedded, get
from tfdlrm.base.errors import InputError
from tfdlrm.client import ClientCommand, score_file
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings
from tfdlrm.serving.tls import load_tls


def certificate(name, issuer=None):
    """Return a key and a certificate, signed by `issuer` or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signer_name = issuer or (key, subject)
    now = datetime.datetime.now(datetime.UTC)
    local = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
        .add_extension(local, critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return (key, subject), pem, signed.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """PEM files, and TF Serving's configuration with them."""
    directory = tmp_path_factory.mktemp("tls")
    authority, _, ca = certificate("an authority")
    _, server_key, server_cert = certificate("localhost", authority)
    _, client_key, client_cert = certificate("a client", authority)
    _, stranger_key, stranger_cert = certificate("a stranger")
    contents = {
        "ca": ca,
        "client.key": client_key,
        "client.crt": client_cert,
        "stranger.key": stranger_key,
        "stranger.crt": stranger_cert,
        "encrypted.key": serialization.load_pem_private_key(
            client_key, None
        ).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        ),
        "no.pem": b"no PEM",
    }
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    texts = {"server_key": server_key, "server_cert": server_cert, "custom_ca": ca}
    lines = [f"{name}: {text.decode()!r}" for name, text in texts.items()]
    (directory / "tls.txt").write_text("\n".join(lines[:2]))
    (directory / "mutual.txt").write_text("\n".join([*lines, "client_verify: true"]))
    return directory


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("scores")
    save_scores(base / "1")
    return base


def tls_server(base, config):
    grpc_tls, http_tls = load_tls(config)
    settings = ServerSettings(
        [ModelSettings("scores", base)],
        poll_seconds=0,
        grpc_tls=grpc_tls,
        http_tls=http_tls,
    )
    return embedded(settings)


def score(server, files, tmp_path, protocol, **tls):
    rows = tmp_path / "rows.tsv"
    rows.write_text("1\t2\tabc\n")
    port = server.grpc.port if protocol == "grpc" else server.http.port
    command = ClientCommand(
        rows,
        tmp_path / "out.csv",
        server=f"localhost:{port}",
        protocol=protocol,
        model_name="scores",
        retries=0,
        timeout=5,
        **{name: files / value for name, value in tls.items()},
    )
    return score_file(command)


MUTUAL = {"ca_file": "ca", "cert_file": "client.crt", "key_file": "client.key"}
STRANGER = {"ca_file": "ca", "cert_file": "stranger.crt", "key_file": "stranger.key"}


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_tls_is_spoken_and_nothing_else(base, files, tmp_path, protocol):
    with tls_server(base, files / "tls.txt") as server:
        assert score(server, files, tmp_path, protocol, ca_file="ca") == 1
        with pytest.raises(InputError, match="no answer"):
            score(server, files, tmp_path, protocol)
        with pytest.raises(InputError, match="no answer"):
            score(server, files, tmp_path, protocol, ca_file="stranger.crt")


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_mutual_tls_wants_a_certificate_of_its_authority(
    base, files, tmp_path, protocol
):
    with tls_server(base, files / "mutual.txt") as server:
        assert score(server, files, tmp_path, protocol, **MUTUAL) == 1
        for tls in ({"ca_file": "ca"}, STRANGER):
            with pytest.raises(InputError, match="no answer"):
                score(server, files, tmp_path, protocol, **tls)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
@pytest.mark.parametrize(
    "tls",
    [
        {"ca_file": "no.pem"},
        {**MUTUAL, "cert_file": "no.pem"},
        {**MUTUAL, "key_file": "no.pem"},
        {**MUTUAL, "key_file": "stranger.key"},
        {**MUTUAL, "key_file": "encrypted.key"},
    ],
)
def test_tls_files_that_cannot_be_used_are_said(files, tmp_path, protocol, tls):
    path = tmp_path / "rows.tsv"
    path.write_text("1\t2\tabc\n")
    paths = {name: files / value for name, value in tls.items()}
    command = ClientCommand(
        path, tmp_path / "out.csv", "localhost:1", protocol, retries=0, **paths
    )
    with pytest.raises(InputError, match=r"TLS files .* cannot be used: .*passphrase"):
        score_file(command)


def test_an_encrypted_key_of_the_server_is_refused_not_asked_for(files, tmp_path):
    config = tmp_path / "tls.txt"
    texts = {"server_key": "encrypted.key", "server_cert": "client.crt"}
    config.write_text(
        "\n".join(
            f"{field}: {(files / name).read_text()!r}" for field, name in texts.items()
        )
    )
    with pytest.raises(InputError, match="PEM of a key without a passphrase"):
        load_tls(config)


def test_old_tls_is_refused(base, files):
    with tls_server(base, files / "tls.txt") as server:
        context = ssl.create_default_context(cafile=files / "ca")
        url = f"https://localhost:{server.http.port}/v1/models/scores"
        assert get(url, context)[0] == 200
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(urllib.error.URLError):
            get(url, context)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server_key: 'x'", "lacks server_key or server_cert"),
        ("server_key: 'x' server_cert: 'y'", "has no PEM"),
        ("server_key: 'x' server_cert: 'y' client_verify: true", "wants a custom_ca"),
        ("key: 'x'", "is no SSLConfig"),
    ],
)
def test_a_configuration_that_is_none_is_refused(tmp_path, text, message):
    (tmp_path / "tls.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        load_tls(tmp_path / "tls.txt")
