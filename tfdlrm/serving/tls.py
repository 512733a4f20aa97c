"""TLS, and mutual TLS, for both protocols from one `--ssl_config_file`."""

import ssl
import tempfile
from pathlib import Path

import grpc

from tfdlrm.base.errors import InputError
from tfdlrm.serving.text_protos import read_ssl


def load_tls(path: Path) -> tuple[grpc.ServerCredentials, ssl.SSLContext]:
    """Return the credentials for gRPC and the context for HTTP.

    Args:
        path: TF Serving's `SSLConfig`: `server_key`, `server_cert`, `custom_ca` and
            `client_verify`, the texts of PEM files.

    Raises:
        InputError: If the file lacks something, or a text is no key or certificate.
    """
    config = read_ssl(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # The ssl module reads a key from files only.
        with tempfile.TemporaryDirectory() as directory:
            pem = Path(directory) / "server.pem"
            pem.touch(mode=0o600)
            pem.write_text(f"{config.server_key}\n{config.server_cert}\n")
            context.load_cert_chain(pem, password="")  # otherwise it asks for one
        if config.custom_ca:
            context.load_verify_locations(cadata=config.custom_ca)
    except (ssl.SSLError, ValueError) as error:
        raise InputError(
            f"{path} has no PEM of a key without a passphrase, its certificate and "
            f"authority: {error}"
        ) from None
    if config.client_verify:
        context.verify_mode = ssl.CERT_REQUIRED
    credentials = grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        config.custom_ca.encode() or None,
        config.client_verify,
    )
    return credentials, context
