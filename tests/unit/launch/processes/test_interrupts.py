"""Signals that end a session: the first raises, later ones are recorded, ignored ones stay ignored.

pytest tests/unit/launch/processes/test_interrupts.py
"""

from __future__ import annotations

import subprocess
import sys

from tinyworlds_gate.launch.processes.end import EndedProcess
from tinyworlds_gate.launch.processes.interrupts import attach_ended, ended_by

RECORD = EndedProcess(7, 1.0, "python x", "SIGTERM", "ended")


def said(code: str) -> list[str]:
    """Run code in a new process with the default handlers, and return the lines it prints."""
    head = "import os, signal, sys\nfrom tinyworlds_gate.launch.processes.interrupts import *\nme = os.getpid()\n"
    done = subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_first_signal_raises_and_later_ones_are_recorded() -> None:
    code = """
signals = SessionInterrupts()
signals.install()
try:
    os.kill(me, signal.SIGTERM)
    print("not reached")
except KeyboardInterrupt as interrupt:
    print(interrupt)
for number in (signal.SIGINT, signal.SIGHUP):
    os.kill(me, number)
print(*signals.came)
signals.restore()
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    assert said(code) == ["the harness received SIGTERM", "SIGTERM SIGINT SIGHUP", "True True"]


def test_after_hold_no_signal_raises() -> None:
    code = """
signals = SessionInterrupts()
signals.install()
signals.hold()
os.kill(me, signal.SIGINT)
print(*signals.came)
"""
    assert said(code) == ["SIGINT"]


def test_ignored_signals_and_handlers_of_others_stay() -> None:
    code = """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *_: print("theirs"))
signals = SessionInterrupts()
signals.install()
os.kill(me, signal.SIGHUP)
os.kill(me, signal.SIGTERM)
print(len(signals.came))
"""
    assert said(code) == ["theirs", "0"]


def test_no_signal_interrupts_the_ending_of_children_not_even_the_alarm_of_a_timeout() -> None:
    code = """
def fail(*_): raise TimeoutError("the test took too long")
signal.signal(signal.SIGALRM, fail)
try:
    with defer_interrupts():
        os.kill(me, signal.SIGALRM)
        os.kill(me, signal.SIGINT)
        print("the children are ended")
except TimeoutError as error:
    print(error)
"""
    assert said(code) == ["the children are ended", "the test took too long"]


def test_an_interrupt_carries_what_was_ended_because_of_it() -> None:
    first = KeyboardInterrupt()
    attach_ended(first, [RECORD])
    assert ended_by(first) == (RECORD,)
    second = KeyboardInterrupt()
    second.__context__ = first
    assert ended_by(second) == (RECORD,), "a second signal hides nothing"
    assert ended_by(None) == ended_by(KeyboardInterrupt()) == ()
    attach_ended(RuntimeError(), [RECORD])


def test_a_deferred_signal_is_raised_where_the_caller_chooses() -> None:
    code = """
done = []
try:
    with defer_interrupts() as raise_pending:
        os.kill(me, signal.SIGINT)
        done.append("the line was finished")
        try:
            raise_pending()
            done.append("not reached")
        finally:
            os.kill(me, signal.SIGINT)
            done.append("and the ending too")
except KeyboardInterrupt:
    print(*done)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    assert said(code) == ["the line was finished and the ending too", "True"]


def test_a_signal_that_came_before_an_error_is_not_lost() -> None:
    code = """
try:
    with defer_interrupts():
        os.kill(me, signal.SIGINT)
        raise RuntimeError("an error of another kind")
except KeyboardInterrupt as interrupt:
    print(interrupt.__context__)
"""
    assert said(code) == ["an error of another kind"]


def test_a_file_left_open_by_an_interrupt_fails_no_session_and_other_faults_are_reported() -> None:
    code = """
import warnings
warnings.simplefilter("error")
reported = []
sys.unraisablehook = lambda unraisable: reported.append(str(unraisable.exc_value))
signals = SessionInterrupts()
signals.install()
try:
    os.kill(me, signal.SIGTERM)
except KeyboardInterrupt:
    pass
file = open(os.devnull)
del file

class Broken:
    def __del__(self):
        raise ValueError("a defect")

broken = Broken()
del broken
print(*reported)
signals.restore()
file = open(os.devnull)
del file
print(len(reported))
"""
    assert said(code) == ["a defect", "2"]
