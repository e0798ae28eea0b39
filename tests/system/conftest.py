"""Fixtures of the system tests. Each test gets folders, agents and observers
of its own, and a time limit; all of it is cleaned up however the test ends."""

import contextlib
import faulthandler
import signal
import sys

import pytest

import support
from commands import Reporter
from lanes import LaneAgent, Memory, hand_over
from sealing import Sealed

LIMIT_S = 60


def pytest_configure(config):
    config.addinivalue_line(
        "markers", f"limit(seconds): time limit of a test, else {LIMIT_S} s"
    )


@pytest.fixture(autouse=True)
def time_limit(request):
    """Fail a test that hangs, with its stack. Should even that not help, all
    stacks are written and the run is ended."""
    marker = request.node.get_closest_marker("limit")
    seconds = marker.args[0] if marker else LIMIT_S

    def over(_number, _frame):
        pytest.fail(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(
        seconds + support.DEADLINE_S, exit=True, file=sys.__stderr__
    )
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder():
    """A folder with a short path."""
    with support.short_folder() as path:
        yield path


@pytest.fixture
def spaced_folder(folder):
    """A folder whose path holds spaces."""
    path = folder / "a b  c"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def receiver(folder):
    """A socket in place of the observer."""
    with support.Receiver(folder / "varta.sock") as bound:
        yield bound


@pytest.fixture
def hanging_disk(folder):
    """The environment of an observer whose every sync takes two seconds."""
    module = support.BUILD / "bench" / "slowdisk.so"
    if not module.exists():
        pytest.skip("needs bench/slowdisk.so")
    # What is loaded before a program can have no space in its path.
    link = folder / module.name
    link.symlink_to(module)
    return {"LD_PRELOAD": str(link)}


@pytest.fixture
def observer(folder):
    """observer(*options, **settings) starts one, ready when it returns."""
    with contextlib.ExitStack() as stack:

        def start(*options, where=folder, **settings):
            made = support.Observer(where, *options, **settings)
            stack.callback(_close_and_show, made)
            return made.start()

        yield start


def _close_and_show(made):
    try:
        made.close()
    finally:
        # Captured: shown when the test has failed.
        print(f"--- {made.log_path}\n{made.log()}")


@pytest.fixture
def agent():
    """agent(address, **settings) starts an agent process."""
    with contextlib.ExitStack() as stack:

        def start(address, **settings):
            return stack.enter_context(support.Agent(address, **settings))

        yield start


@pytest.fixture
def sealed(folder, observer):
    """An observer of sealed beats, not started yet, and a socket to it."""
    made = Sealed(folder, observer)
    yield made
    made.close()


@pytest.fixture
def lane_agent():
    """lane_agent(watch) starts an agent with lanes."""
    with contextlib.ExitStack() as stack:

        def start(watch, **settings):
            return stack.enter_context(
                LaneAgent(watch.socket_path, **settings)
            )

        yield start


@pytest.fixture
def reporter(folder):
    """A recovery command that writes down what it was told."""
    return Reporter(folder)


@pytest.fixture
def memory():
    """memory(**head) makes one, freed at the end."""
    with contextlib.ExitStack() as stack:

        def make(*args, **settings):
            made = Memory(*args, **settings)
            stack.callback(made.free)
            return made

        yield make


@pytest.fixture
def attach():
    """attach(watch, memory): the test itself is an agent with lanes."""
    with contextlib.ExitStack() as stack:

        def hand(watch, memory):
            return stack.enter_context(
                hand_over(watch.socket_path, [memory.fd])
            )

        yield hand
