"""What all system tests share: where the programs are, folders, and an observer
that is started and stopped. Agents and frames come from agents.py, waiting from
processes.py; tests import this module alone.

Everything waits for an event with a deadline; nothing sleeps and hopes.
"""

import contextlib
import os
import pathlib
import selectors
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from typing import NamedTuple

from agents import *  # noqa: F401,F403
from processes import *  # noqa: F401,F403
from processes import DEADLINE_S, Late, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VARTA_BUILD", ROOT / "build")).resolve()
VARTA = BUILD / "src" / "tool" / "varta"
WATCH = BUILD / "src" / "watch" / "varta-watch"


# ---- folders --------------------------------------------------------------


@contextlib.contextmanager
def short_folder():
    """A folder of our own whose path leaves room for a socket's name (a
    socket path holds at most 107 bytes)."""
    path = tempfile.mkdtemp(prefix="varta-", dir="/tmp")
    try:
        yield pathlib.Path(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def write_secret(path, text):
    """A file that only its owner may read, as key and token files must be."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as f:
        f.write(text)
    os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
    return path


# ---- the observer ---------------------------------------------------------


class EventRow(NamedTuple):
    """A line of the event file; nonce and payload as text, since they may be
    a hyphen."""

    observer_ns: int
    kind: str
    pid: str
    nonce: str
    status: str
    payload: str


def read_events(path):
    """Whole lines of an event file; a line being written is left out."""
    try:
        text = pathlib.Path(path).read_text()
    except FileNotFoundError:
        return []
    rows = []
    for line in text[: text.rfind("\n") + 1].splitlines():
        columns = line.split("\t")
        assert len(columns) == 6, line
        rows.append(EventRow(int(columns[0]), *columns[1:]))
    return rows


class Metrics:
    """A scrape, as prometheus_client reads it."""

    def __init__(self, text):
        from prometheus_client.parser import text_string_to_metric_families

        self.families = list(text_string_to_metric_families(text))
        self._values = {
            (s.name, frozenset(s.labels.items())): s.value
            for family in self.families
            for s in family.samples
        }

    def value(self, name, **labels):
        """The sample with exactly these labels; None when there is none."""
        labels = {key: str(value) for key, value in labels.items()}
        return self._values.get((name, frozenset(labels.items())))

    def names(self):
        return {name for name, _ in self._values}


class Response(NamedTuple):
    status: int
    headers: dict
    body: bytes


class Observer:
    """varta-watch in a folder, ready once start() returns.

    options are words of the command line. threshold_ms=None leaves the
    threshold to them.
    Standard error goes to a file in the folder, so that a full pipe can never
    hold the observer up.
    """

    def __init__(
        self,
        folder,
        *options,
        threshold_ms=500,
        socket_name="varta.sock",
        token=None,
        environment=None,
        program=WATCH,
        events=True,
    ):
        self.folder = pathlib.Path(folder)
        self.socket_path = self.folder / socket_name
        self.events_path = self.folder / "events.tsv"
        self.log_path = self.folder / "stderr.txt"
        self.stdout_path = self.folder / "stdout.txt"
        self.token = token
        self.environment = environment or {}
        self.argv = [
            *(program if isinstance(program, list) else [program]),
            "--socket",
            self.socket_path,
            *map(str, options),
        ]
        if threshold_ms is not None:
            self.argv += ["--threshold-ms", str(threshold_ms)]
        if events:
            self.argv += ["--export-file", self.events_path]
        self.process = None
        self.exit_code = None
        self._notify = None
        self._pidfd = -1

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *_):
        self.close()

    # -- start and end

    def launch(self):
        """Start the program and do not wait. For tests of failing starts."""
        notify_path = self.folder / "notify"
        notify_path.unlink(missing_ok=True)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(os.fspath(notify_path))
        notify_path.chmod(0o666)  # the observer may be another user
        with open(self.log_path, "ab") as log, open(
            self.stdout_path, "wb"
        ) as out:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={
                    **os.environ,
                    "NOTIFY_SOCKET": os.fspath(notify_path),
                    **self.environment,
                },
            )
        self._pidfd = os.pidfd_open(self.process.pid)
        self.exit_code = None
        return self

    def start(self):
        self.launch()
        try:
            self.wait_notice("READY=1")
        except BaseException:
            self.close(expect=None)
            raise
        return self

    def wait_notice(self, line, deadline_s=DEADLINE_S):
        """Until the observer tells the service manager this line."""
        end = time.monotonic() + deadline_s
        while True:
            notice = self._take_notice(end - time.monotonic())
            if notice is None:
                raise Late(
                    f"no {line} (exit code {self.process.poll()}):\n"
                    + self.log()
                )
            if line in notice.splitlines():
                return

    def _take_notice(self, wait_s):
        """The next notice; None when time is up or the observer has ended
        without another."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._notify, selectors.EVENT_READ)
            selector.register(self._pidfd, selectors.EVENT_READ)
            selector.select(max(wait_s, 0))
        self._notify.setblocking(False)
        try:
            return self._notify.recv(4096).decode()
        except BlockingIOError:
            return None

    def wait_end(self, deadline_s=DEADLINE_S):
        """The exit code of an observer that ends by itself."""
        try:
            self.exit_code = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise Late(f"varta-watch still runs:\n{self.log()}") from None
        return self.exit_code

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.wait_end()

    def restart(self):
        """The same command line once more."""
        if self.exit_code is None:
            self.stop()
        self._forget()
        return self.start()

    def close(self, expect=0):
        """End it if it runs; then its exit code must be expect."""
        if self.process is None:
            return
        try:
            if self.process.poll() is None and self.exit_code is None:
                self.process.send_signal(signal.SIGCONT)
                self.process.terminate()
                code = self.wait_end()
                assert expect is None or code == expect, self.log()
            assert "Sanitizer" not in self.log(), self.log()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._forget()

    def _forget(self):
        self._notify.close()
        os.close(self._pidfd)
        self.process = None

    # -- what it says

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def stdout(self):
        return self.stdout_path.read_text()

    def events(self, kind=None, pid=None):
        """Rows of the event file, of one kind or one pid if given."""
        return [
            row
            for row in read_events(self.events_path)
            if kind in (None, row.kind) and str(pid) in ("None", row.pid)
        ]

    def wait_event(self, kind, pid=None, count=1, deadline_s=DEADLINE_S):
        """At least count rows of this kind; all of them."""

        def enough():
            rows = self.events(kind, pid)
            return rows if len(rows) >= count else None

        try:
            return wait_for(enough, deadline_s, f"{count} {kind} of {pid}")
        except Late as late:
            raise Late(f"{late}\n{self.events()}\n{self.log()}") from None

    def metrics_address(self):
        """HOST:PORT as printed on standard output before READY."""
        line = self.stdout().split("\n", 1)[0]
        assert line, f"nothing on standard output:\n{self.log()}"
        return line.split()[-1]

    def get(self, path="/metrics", headers=None, method="GET"):
        """One HTTP request; also of statuses that are errors."""
        request = urllib.request.Request(
            f"http://{self.metrics_address()}{path}", method=method
        )
        if self.token is not None:
            request.add_header("Authorization", f"Bearer {self.token}")
        for key, value in (headers or {}).items():
            request.add_header(key, value)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
                return Response(
                    answer.status, dict(answer.headers), answer.read()
                )
        except urllib.error.HTTPError as error:
            with error:
                return Response(
                    error.code, dict(error.headers), error.read()
                )

    def metrics(self):
        response = self.get()
        assert response.status == 200, response
        return Metrics(response.body.decode())
