"""Connections that take more than their share, over bare sockets."""

import re
import socket
import time
from contextlib import contextmanager

import pytest

from tests.support.limited_server import LIMITS, impatient, limited_server, still_right
from tfdlrm.serving.http import protocol as http_protocol

HEAD = b"GET /v1/models/scores HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/models/scores:predict HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def server(saved_models):
    with limited_server(saved_models) as running:
        yield running


@contextmanager
def connect(server):
    with socket.create_connection(("127.0.0.1", server.http.port), 20) as connection:
        yield connection


def send(connection, data):
    try:
        connection.sendall(data)
    except OSError:  # the server has closed the connection
        return False
    return True


def answer_of(connection):
    """Return all that comes until the server closes the connection."""
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionResetError:
        pass
    return answer


def statuses(answer):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@pytest.mark.parametrize(
    "block",
    [b"X: " + b"a" * 10_000 + b"\r\n", b"a" * 10_000, b"X: y\r\n" * 1000],
    ids=["long fields", "one field without an end", "many fields"],
)
def test_an_endless_head_is_refused(server, block):
    with connect(server) as connection:
        send(connection, HEAD + b"X: ")
        sent = 0
        while sent < 50_000_000 and send(connection, block):
            sent += len(block)
        assert sent < 20_000_000
        answer = answer_of(connection)
    assert statuses(answer) in ([431], [])  # a reset may lose it
    still_right(server)


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
        HEAD + b"X: y\r\n" * 300 + b"\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["one field", "many fields", "the target"],
)
def test_a_head_that_is_too_large_is_431(server, head):
    with connect(server) as connection:
        send(connection, head)
        answer = answer_of(connection)
    assert statuses(answer) == [431] and b"larger than 65536 bytes" in answer


def test_a_head_just_below_the_limit_is_read(server):
    head = HEAD + b"".join(b"X-%d: %s\r\n" % (i, b"a" * 1000) for i in range(60))
    with connect(server) as connection:
        send(connection, head + b"Connection: close\r\n\r\n")
        assert statuses(answer_of(connection)) == [200]


@pytest.mark.parametrize(
    "endless",
    [
        b"0\r\n" + b"X: " + b"a" * 900_000,
        b"1;x=" + b"a" * 900_000,
        b"0\r\n" + b"X: y\r\n" * 999,
    ],
    ids=["a trailer", "a chunk's extension", "many trailers"],
)
def test_what_stands_around_chunks_is_limited_too(server, endless):
    with connect(server) as connection:
        send(connection, POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
        for begin in range(0, len(endless), 10_000):
            if not send(connection, endless[begin : begin + 10_000]):
                break
        assert statuses(answer_of(connection)) == [431]
    still_right(server)


def test_trailers_are_no_headers(server):
    body = b"2\r\n{}\r\n0\r\nContent-Encoding: br\r\n\r\n"
    with connect(server) as connection:
        send(connection, POST + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        answer = answer_of(connection)
    assert statuses(answer) == [400] and b"'inputs' and 'instances'" in answer


def test_requests_in_a_row_are_answered_in_a_row_up_to_a_limit(server):
    with connect(server) as connection:
        send(connection, (HEAD + b"\r\n") * 20)
        connection.shutdown(socket.SHUT_WR)
        assert statuses(answer_of(connection)) == [200] * 20
    with connect(server) as connection:
        send(connection, (HEAD + b"\r\n") * 1000)
        answers = statuses(answer_of(connection))
    assert set(answers) == {200} and 0 < len(answers) <= 300
    still_right(server)


def test_nonsense_behind_a_good_request_does_not_spoil_its_answer(server):
    with connect(server) as connection:
        send(connection, HEAD + b"\r\nnonsense\r\n\r\n")
        assert statuses(answer_of(connection)) == [200]


def test_a_client_that_sends_no_more_gets_its_answer(server):
    body = b'{"instances": []}'
    with connect(server) as connection:
        head = POST + b"Content-Length: %d\r\n\r\n" % len(body)
        send(connection, head + body)
        connection.shutdown(socket.SHUT_WR)
        answer = answer_of(connection)
    assert statuses(answer) == [400] and b"No values" in answer
    with connect(server) as connection:
        send(connection, head + body[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert answer_of(connection) == b""


def test_the_rest_of_a_body_after_an_early_answer_is_not_waited_for(
    server, monkeypatch
):
    monkeypatch.setattr(http_protocol, "LINGER_SECONDS", 0.5)
    with connect(server) as connection:
        length = LIMITS.message_bytes + 1
        send(connection, POST + b"Content-Length: %d\r\n\r\n" % length)
        deadline = time.monotonic() + 30
        while send(connection, b" ") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert time.monotonic() < deadline
    still_right(server)


def test_a_whole_body_after_an_early_answer_leaves_the_connection_usable(server):
    length = LIMITS.message_bytes + 1
    with connect(server) as connection:
        send(connection, POST + b"Content-Length: %d\r\n\r\n" % length)
        assert statuses(connection.recv(65536)) == [413]
        send(connection, b" " * length + HEAD + b"Connection: close\r\n\r\n")
        assert statuses(answer_of(connection)) == [200]


def test_a_client_that_does_not_read_is_sent_away(server):
    with impatient(server), connect(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        page = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        deadline = time.monotonic() + 60
        # Answers pile up until the server stops reading, and then closes.
        while send(connection, page) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert time.monotonic() < deadline
    still_right(server)


def test_clients_that_do_wrong_fill_no_log(server, caplog):
    for data in (b"nonsense\r\n\r\n", HEAD + b"X: " + b"a" * 70_000, HEAD + b"\r\n"):
        with connect(server) as connection:
            send(connection, data)
    with connect(server) as connection:
        send(connection, HEAD + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert statuses(connection.recv(65536)) == [200]
    still_right(server)
    assert not caplog.records
