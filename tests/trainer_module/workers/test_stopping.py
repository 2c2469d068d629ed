"""Signals to a training: before its first step they end it at once, then they wait for the step."""

import os
import signal

import pytest

from trainer_module.workers.stopping import stop_asked


@pytest.fixture(autouse=True)
def _as_a_shell_starts_it():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_before_the_first_step_is_done_nothing_is_waited_for():
    with pytest.raises(KeyboardInterrupt), stop_asked(listen=True):
        _interrupt()
        pytest.fail("expected the end at once")


def test_the_step_ends_and_then_the_signal_is_sent_again(capsys):
    went_on = False
    with pytest.raises(KeyboardInterrupt), stop_asked(listen=True) as stops:
        assert not stops()
        _interrupt()
        went_on = stops()
    assert went_on
    assert "stopping after a step, with a checkpoint; once more stops at once" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_signal_does_not_wait():
    with pytest.raises(KeyboardInterrupt), stop_asked(listen=True) as stops:
        stops()
        _interrupt()
        assert stops()
        _interrupt()
        pytest.fail("expected the end at once")


def test_who_does_not_listen_is_ended_at_once():
    with pytest.raises(KeyboardInterrupt), stop_asked(listen=False) as stops:
        assert not stops()
        _interrupt()
        pytest.fail("expected the end at once")


def test_a_terminal_that_closes_is_heard_unless_nohup_is_before_it():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_asked(listen=True) as stops:
            assert not stops()
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stops()
        signal.signal(signal.SIGHUP, lambda number, frame: None)
        with pytest.raises(KeyboardInterrupt), stop_asked(listen=True) as stops:
            assert not stops()
            os.kill(os.getpid(), signal.SIGHUP)
            assert stops()
    finally:
        signal.signal(signal.SIGHUP, before)
