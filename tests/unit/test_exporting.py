from __future__ import annotations

import io
import os
import signal
import socket
import threading
import urllib.request
from typing import TYPE_CHECKING, cast

import pytest

from tcptrace import exporting
from tcptrace.errors import BadRecording, OutputFailed
from tcptrace.exporting import Exporter, Outlets, serve
from tcptrace.notify import Notifier
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.sinks.textfile import NAME, Textfile
from tcptrace.sinks.web.server import MetricsServer
from tcptrace.watching import Watch
from tcptrace.wire.events import Kind
from unit import samples
from unit.hosts import DEADLINE_S, FakeHost
from unit.scraping import scrape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OPENING = "serving …"


class Manager:
    """systemd's end of sd_notify."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        self.notifier = Notifier()

    @property
    def heard(self) -> list[str]:
        told = []
        self._socket.setblocking(False)  # noqa: FBT003 - as the socket has it
        while True:
            try:
                told.append(self._socket.recv(1000).decode())
            except BlockingIOError:
                return told

    def close(self) -> None:
        self._socket.close()
        self.notifier.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify", monkeypatch)
    yield manager
    manager.close()


class Service:
    """An exporter in the main thread, as the command has it; what happens is done by its source.

    Attributes:
        host: the source; `meanwhile` are called one by one, each between two steps.
    """

    def __init__(self, manager: Manager, host: FakeHost | None = None) -> None:
        self.host = host or FakeHost(step_ms=1000)
        self.manager = manager
        self.exporter = Exporter()
        self.server: MetricsServer | None = None
        self.web_config: Path | None = None
        self.textfile: Path | None = None
        self.notes = io.StringIO()
        self.meanwhile: list[Callable[[], object]] = []
        self._deadline = threading.Timer(DEADLINE_S, self._give_up)
        read = self.host.read

        def read_between(timeout_s: float) -> bytes | None:
            batch = read(timeout_s)
            if timeout_s and self.host.reads > 2 and self.meanwhile:
                self.meanwhile.pop(0)()
            return batch

        self.host.read = read_between  # type: ignore[method-assign]

    def serve_here(self) -> None:
        self.server = MetricsServer(("127.0.0.1", 0), self.exporter.render)

    def _give_up(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def run(self) -> None:
        file = Textfile(self.textfile) if self.textfile else None
        outlets = Outlets(
            self.server, self.web_config, file, None, self.manager.notifier, self.notes
        )
        self._deadline.start()
        try:
            serve(Watch(self.host, new_tally(), 10), self.exporter, outlets, OPENING)
        finally:
            self._deadline.cancel()
        assert self.host.closed

    def get(self, path: str = "/metrics") -> str:
        assert self.server is not None
        url = self.server.url.removesuffix("/metrics") + path
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:  # noqa: S310 - ours
            body: bytes = answer.read()
            return body.decode()


@pytest.fixture
def service(manager: Manager) -> Service:
    return Service(manager)


def end() -> None:
    signal.raise_signal(signal.SIGTERM)


def test_a_trouble_is_told_once(service: Service) -> None:
    def lose() -> None:
        service.host.trouble = "the runtime is gone"

    service.meanwhile = [lose, str, str, str, end]
    service.run()
    assert service.notes.getvalue() == f"{OPENING}\ntcptrace: the runtime is gone\n"


def test_it_serves_until_a_signal(service: Service) -> None:
    service.serve_here()
    got: list[str] = []
    service.meanwhile = [lambda: got.append(service.get()), end]
    service.run()
    assert "tcptrace_listener_sockets{" in got[0]
    assert service.notes.getvalue() == f"{OPENING}\n"
    assert service.manager.heard == [f"READY=1\nSTATUS={OPENING}", "STOPPING=1"]
    assert service.server is not None
    with pytest.raises(OSError, match="refused"):
        service.get()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_either_signal_ends_it_and_handlers_are_put_back(
    service: Service, number: signal.Signals
) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(one) for one in numbers]
    service.meanwhile = [lambda: signal.raise_signal(number)]
    service.run()
    assert [signal.getsignal(one) for one in numbers] == before


def test_the_first_metrics_are_whole(service: Service) -> None:
    """Nothing is served before the first snapshot and reading."""
    service.serve_here()
    served: list[bool] = []
    assert service.server is not None
    start = service.server.start

    def note() -> None:
        served.append(len(service.host.snapshots_ns) == 1 and bool(service.host.readings_ns))
        start()

    service.server.start = note  # type: ignore[method-assign]
    service.meanwhile = [end]
    service.run()
    assert served == [True]


def test_a_recordings_end_stays_in_view(manager: Manager) -> None:
    host = FakeHost(samples.batch(samples.record()), endless=False)
    service = Service(manager, host)
    service.serve_here()
    got: list[str] = []
    stop = threading.Event()

    def scrape_after_the_end() -> None:
        while len(got) < 3 and not stop.is_set():
            got.append(service.get())
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=scrape_after_the_end)
    assert service.server is not None
    start = service.server.start

    def start_both() -> None:
        start()
        thread.start()

    service.server.start = start_both  # type: ignore[method-assign]
    try:
        service.run()
    finally:
        stop.set()
        thread.join()
    assert len(got) == 3
    assert all('tcptrace_events_total{kind="state_changed"} 1.0' in text for text in got)


def test_a_damaged_recording_is_served_and_told_at_the_end(manager: Manager) -> None:
    host = FakeHost(samples.batch(samples.record()), BadRecording("damaged"))
    service = Service(manager, host)
    service.serve_here()
    assert service.server is not None
    start = service.server.start
    got: list[str] = []

    def scrape_and_end() -> None:
        try:
            got.append(service.get())
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=scrape_and_end)

    def start_both() -> None:
        start()
        thread.start()

    service.server.start = start_both  # type: ignore[method-assign]
    with pytest.raises(BadRecording, match="damaged"):
        service.run()
    thread.join()
    assert 'tcptrace_events_total{kind="state_changed"} 1.0' in got[0]
    assert f"{OPENING}\ntcptrace: the recording is damaged: damaged\n" == service.notes.getvalue()
    assert host.closed
    assert service.manager.heard[-1] == "STOPPING=1"


class TestReload:
    @pytest.fixture
    def served(self, service: Service, tmp_path: Path) -> Service:
        service.serve_here()
        service.web_config = tmp_path / "web.yml"
        return service

    def configure(self, service: Service, text: str) -> None:
        assert service.web_config is not None
        service.web_config.write_text(text)
        signal.raise_signal(signal.SIGHUP)

    def test_sighup_reads_the_web_configuration_again(self, served: Service) -> None:
        headers: list[str | None] = []

        def ask() -> None:
            assert served.server is not None
            with urllib.request.urlopen(served.server.url, timeout=DEADLINE_S) as answer:  # noqa: S310
                headers.append(answer.headers.get("X-Frame-Options"))

        good = 'http_server_config:\n  headers:\n    X-Frame-Options: "deny"\n'
        served.meanwhile = [
            ask,
            lambda: self.configure(served, good),
            lambda: None,
            ask,
            lambda: self.configure(served, "nonsense: 1\n"),
            lambda: None,
            ask,
            end,
        ]
        served.run()
        assert headers == [None, "deny", "deny"]
        first, second, third = served.notes.getvalue().splitlines()
        assert first == OPENING
        assert second == "tcptrace: the web configuration was read again"
        assert "nonsense" in third
        assert third.endswith("; the former configuration stays")

    def test_a_file_that_is_gone_changes_nothing(self, served: Service) -> None:
        served.meanwhile = [lambda: signal.raise_signal(signal.SIGHUP), lambda: None, end]
        served.run()
        told = served.notes.getvalue().splitlines()[-1]
        assert "No such file" in told
        assert told.endswith("stays")

    def test_without_a_configuration_it_does_nothing(self, service: Service) -> None:
        service.serve_here()
        service.meanwhile = [lambda: signal.raise_signal(signal.SIGHUP), lambda: None, end]
        service.run()
        assert service.notes.getvalue() == f"{OPENING}\n"

    def test_the_handler_itself_does_nothing_but_note_it(
        self, served: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may come at any moment, in the midst of another note too."""
        calls: list[str] = []
        monkeypatch.setattr(exporting, "_reload", lambda _: calls.append("reload"))

        def hang_up() -> None:
            signal.raise_signal(signal.SIGHUP)
            calls.append("handled")

        served.meanwhile = [hang_up, lambda: None, end]
        served.run()
        assert calls == ["handled", "reload"]


class TestTextfile:
    @pytest.fixture
    def written(self, service: Service, tmp_path: Path) -> Service:
        service.textfile = tmp_path / "metrics"
        service.textfile.mkdir()
        return service

    def path(self, service: Service) -> Path:
        assert service.textfile is not None
        return service.textfile / NAME

    def test_it_is_there_before_anything_is_said(self, written: Service) -> None:
        texts: list[str] = []
        written.meanwhile = [lambda: texts.append(self.path(written).read_text()), end]
        written.run()
        (text,) = texts
        assert "tcptrace_listener_sockets{" in text
        assert "# EOF" not in text
        assert written.manager.heard[0].startswith("READY=1")

    def test_nothing_stays_to_be_served_for_ever(self, written: Service) -> None:
        there: list[bool] = []
        written.meanwhile = [lambda: there.append(self.path(written).exists()), end]
        written.run()
        assert there == [True]
        assert not self.path(written).exists()

    def test_it_is_written_again(self, written: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(exporting, "TEXTFILE_PERIOD_S", 0)
        inodes: list[int] = []
        written.meanwhile = [
            *[lambda: inodes.append(self.path(written).stat().st_mtime_ns)] * 5,
            end,
        ]
        written.run()
        assert len(set(inodes)) > 1

    def test_a_directory_that_is_not_there_ends_it(self, written: Service) -> None:
        assert written.textfile is not None
        written.textfile.rmdir()
        with pytest.raises(OutputFailed, match="No such file"):
            written.run()
        assert written.manager.heard == ["STOPPING=1"]
        assert written.notes.getvalue() == ""

    def test_one_that_goes_away_later_is_told_and_waited_for(
        self, written: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exporting, "TEXTFILE_PERIOD_S", 0)
        path = self.path(written)

        def remove() -> None:
            path.unlink()
            path.parent.rmdir()

        there: list[bool] = []

        def look() -> None:
            there.append(path.exists())

        written.meanwhile = [remove, lambda: None, path.parent.mkdir, lambda: None, look, end]
        written.run()
        told = written.notes.getvalue().splitlines()
        assert "must be writable for --user" in told[1]
        assert there == [True]


def test_an_exporter_without_a_watch_has_its_own_process_alone() -> None:
    text, _ = Exporter().render("")
    assert b"process_" in text
    assert b"tcptrace_" not in text


def test_before_the_first_reading_there_is_no_reconciliation() -> None:
    exporter = Exporter()
    host = FakeHost()
    host.slots = None
    exporter.watch = Watch(host, new_tally(), 10)
    told = scrape(exporter)
    assert told.value("tcptrace_listeners_folded") == 0
    assert "tcptrace_reconciliation_difference" not in told.text
    assert told.value("tcptrace_events_total", kind=Kind.ACCEPTED.name.lower()) == 0


class AskedLock:
    """Says when it is asked for."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked = threading.Event()

    def __enter__(self) -> None:
        self.asked.set()
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_the_lock_is_held_while_metrics_are_made() -> None:
    exporter, lock = Exporter(), AskedLock()
    exporter.watch = watch = Watch(FakeHost(), new_tally(), 10)
    watch.lock = cast("threading.Lock", lock)
    rendered: list[tuple[bytes, str]] = []
    with lock.lock:
        thread = threading.Thread(target=lambda: rendered.append(exporter.render("")))
        thread.start()
        assert lock.asked.wait(DEADLINE_S)
        assert not rendered
    thread.join(DEADLINE_S)
    assert rendered
