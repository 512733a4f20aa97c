"""Host names that requests over HTTP may use."""

from dataclasses import replace

import pytest

from tests.serving.http.test_http import answer_of, connect, send, statuses
from tests.support.served_model import save_scores
from tests.support.serving_thread import embedded
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.http.hosts import AllowedHosts
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings


def is_allowed(host, listening="127.0.0.1", names=()):
    headers = [(b"accept", b"*/*"), (b"host", host.encode())]
    try:
        AllowedHosts(listening, names).check(headers)
    except ServingError as error:
        assert error.http_status == 403 and repr(host) in error.message
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8501",
        "localhost.",
        "me.localhost:1",
        "127.0.0.1:8501",
        "192.168.1.7",
        "[::1]:8501",
        "[fe80::1]",
        "scorer:8501",
        "",
    ],
)
def test_what_no_site_can_call_itself_is_answered(host):
    assert is_allowed(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8501",
        "127.0.0.1.evil.example",
        "localhost.evil.io",
    ],
)
@pytest.mark.parametrize("listening", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_other_sites_names_are_refused_on_this_machine(host, listening):
    assert not is_allowed(host, listening)


def test_names_may_be_allowed_and_any_is_answered_on_a_network():
    assert is_allowed("shop.example:443", names=["Shop.example"])
    assert not is_allowed("evil.example", names=["shop.example"])
    assert is_allowed("evil.example", names=["*"])
    assert is_allowed("models.example", "0.0.0.0")
    assert not is_allowed("evil.example", "0.0.0.0", ["models.example"])
    assert is_allowed("models.example", "models.example", ["other.example"])


def test_the_page_and_the_interface_look_at_the_host(tmp_path):
    save_scores(tmp_path / "1")
    settings = ServerSettings([ModelSettings("m", tmp_path)], poll_seconds=0)
    allowed = replace(settings, allowed_hosts=("shop.example",))
    for server_settings, status in ((settings, 403), (allowed, 200)):
        with embedded(server_settings) as server:
            for path in (b"/", b"/v1/models/m", b"/openapi.json"):
                with connect(server) as connection:
                    head = b"GET " + path + b" HTTP/1.1\r\nHost: shop.example\r\n"
                    send(connection, head + b"Connection: close\r\n\r\n")
                    assert statuses(answer_of(connection)) == [status]
