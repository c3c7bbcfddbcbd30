"""Ctrl-C is raised where it is safe, and at once when it is pressed again."""

import signal
import threading

import pytest

from agents.interrupt import Interrupt


def press():
    signal.raise_signal(signal.SIGINT)


def test_one_press_waits_for_the_check_and_is_then_spent():
    with Interrupt() as interrupt:
        press()
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
        interrupt.check()


def test_a_second_press_before_the_check_is_raised_at_once():
    with Interrupt():
        press()
        with pytest.raises(KeyboardInterrupt):
            press()


def test_afterwards_ctrl_c_means_what_it_meant_before():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_in_another_thread_it_leaves_signals_alone():
    seen = []

    def enter():
        with Interrupt() as interrupt:
            interrupt.check()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
