"""Requests to stop, and signals that repeat one."""

import signal

import pytest

from tfdlrm.base import signals


def test_a_signal_is_held():
    with signals.stop_requests() as request:
        signal.raise_signal(signal.SIGTERM)
        assert request.signal == signal.SIGTERM


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_that_repeats_a_request_is_held_too(number):
    with signals.stop_requests() as request:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(number)
    assert request.signal == signal.SIGTERM


def test_a_second_request_ends_the_program(monkeypatch):
    monkeypatch.setattr(signals, "ONE_REQUEST", -1.0)
    with pytest.raises(KeyboardInterrupt), signals.stop_requests():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_the_former_handlers_are_back_afterwards():
    handler = signal.getsignal(signal.SIGINT)
    with signals.stop_requests():
        assert signal.getsignal(signal.SIGINT) != handler
    assert signal.getsignal(signal.SIGINT) == handler
