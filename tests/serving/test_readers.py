"""The processes that read large requests: slow, killed, too many at a time."""

import os
import signal
import socket
import threading
import time

import ml_dtypes
import numpy as np
import pytest

from tests.support.large_requests import LIMITS, as_json, columns
from tests.support.limited_server import impatient, limited_server, still_right
from tests.support.processes import run_command_line
from tests.support.serving_thread import post
from tfdlrm.serving.reader_channel import Channel


@pytest.fixture(scope="module")
def server(saved_models):
    with limited_server(saved_models, LIMITS) as running:
        yield running


def reader(server):
    """Return the process that reads large requests."""
    process = server._readers._processes[0]._process
    assert process is not None and process.poll() is None
    return process


def test_small_requests_are_answered_while_a_large_one_is_read(server, table):
    dense, ids, right = table
    body = as_json({"inputs": columns(dense, ids)})
    url = f"{server.url}/v1/models/scores:predict"
    assert post(url, body)[0] == 200  # so that there is a process
    process, answers = reader(server), []
    os.kill(process.pid, signal.SIGSTOP)
    try:
        asking = threading.Thread(target=lambda: answers.append(post(url, body)))
        asking.start()
        for _ in range(20):
            still_right(server)
        assert not answers
    finally:
        os.kill(process.pid, signal.SIGCONT)
    asking.join(60)
    np.testing.assert_allclose(answers[0][1]["outputs"], right, atol=1e-5)


def test_a_reader_that_is_killed_is_replaced(server, table):
    dense, ids, right = table
    url = f"{server.url}/v1/models/scores:predict"
    body = as_json({"inputs": columns(dense, ids)})
    assert post(url, body)[0] == 200
    process = reader(server)
    process.kill()
    process.wait()
    np.testing.assert_allclose(post(url, body)[1]["outputs"], right, atol=1e-5)
    assert reader(server).pid != process.pid


def test_what_arrives_at_a_time_is_limited(server, table):
    dense, ids, _ = table
    url = f"{server.url}/v1/models/scores:predict"
    body = as_json({"inputs": columns(dense, ids)})
    size = LIMITS.message_bytes
    head = b"POST /v1/models/scores:predict HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Length: %d\r\n\r\n" % size
    address = ("127.0.0.1", server.http.port)
    connections = [socket.create_connection(address, 60) for _ in range(8)]
    try:
        for connection in connections:
            connection.sendall(head + b" " * (size - 1))
        while server._readers.held_bytes < len(connections) * (size - 1):
            time.sleep(0.05)
        status, answer = post(url, body)
        assert status == 503 and "too many large requests" in answer["error"]
        still_right(server)
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.slow
def test_a_reader_that_takes_too_long_is_ended(saved_models, table):
    dense, ids, right = table
    with limited_server(saved_models, LIMITS) as server:
        url = f"{server.url}/v1/models/scores:predict"
        body = as_json({"inputs": columns(dense, ids)})
        assert post(url, body)[0] == 200  # so that there is a process
        first_process = reader(server)
        os.kill(first_process.pid, signal.SIGSTOP)
        with impatient(server):
            assert post(url, body)[0] == 504
        status, answer = post(url, body)
        assert status == 200
        np.testing.assert_allclose(answer["outputs"], right, atol=1e-5)
        last_process = reader(server)
    assert first_process.poll() is not None and last_process.poll() is not None


def test_arrays_go_through_the_channel_as_they_are():
    texts = np.array([[b"", b"a\0"], [b"\0", b"bc"]], object)
    arrays = {
        "texts": texts,
        "floats": np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1],
        "short": np.array([1.5, -2], ml_dtypes.bfloat16),
        "same": np.broadcast_to(np.int64(7), (1000, 1000)),
        "none": np.zeros((0, 2), np.int64),
        "scalar": np.array(3, np.uint8),
    }
    sender, receiver = map(Channel, socket.socketpair())
    sender.send((True, arrays))
    is_good, received = receiver.receive()
    assert is_good is True and received.keys() == arrays.keys()
    for name, array in arrays.items():
        assert received[name].dtype == array.dtype
        np.testing.assert_array_equal(received[name], array)
    assert received["same"].strides == (0, 0)


def test_the_process_that_reads_loads_no_tensorflow():
    program = "import sys, tfdlrm.serving.reader_process as _; print(*sys.modules)"
    process = run_command_line(f'python -c "{program}"')
    assert process.returncode == 0, process.stderr
    assert "tfdlrm.serving.http.json_requests" in process.stdout.split()
    assert "tensorflow" not in process.stdout.split()
