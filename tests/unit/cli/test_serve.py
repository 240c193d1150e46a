"""`tcptrace serve` and `tcptrace listeners`, from the command line."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from tcptrace import exporting
from tcptrace.cli import main
from tcptrace.sinks.recording import RecordingWriter
from tcptrace.wire.events import Stage
from unit import samples, slots
from unit.otlp.endpoints import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.watching import Watch

WAIT_S = 60


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and the one line on stderr."""
    code = main.run(arguments)
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("tcptrace: ")
    assert output.err.count("\n") == 1
    assert output.err.rstrip("\n").isprintable()
    return code, output.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--listen", "9436"], "no address to listen on"),
        (["serve", "--listen", "127.0.0.1:99999"], "no address to listen on"),
        (["serve", "--listen", "::1:9436"], "[::1]:9100"),
        (["serve", "--ring-size", "100k"], "power of two"),
        (["serve", "--ring-size", "2k"], "power of two"),
        (["serve", "--max-listeners", "0"], "--max-listeners"),
        (["serve", "--speed", "0"], "no speed"),
        (["serve", "--web-config", "/nowhere/web.yml"], "No such file"),
        (["serve", "--web-config", "/"], "directory"),
        (["serve", "--textfile", "/etc", "--web-config", "/nowhere"], "exclude each other"),
        (["serve", "--textfile", "/etc/passwd"], "--textfile"),
        (["serve", "--listen", "127.0.0.1:0", "--replay", "/nowhere/t.rec"], "No such file"),
        (["serve", "--listen", "127.0.0.1:0", "--user", "root"], "root"),
        (["serve", "--listen", "127.0.0.1:0", "--user", "no-such-user"], "no-such-user"),
        (["serve", "--otlp", "collector:4318"], "is no URL"),
        (["serve", "--otlp", "http://user:secret@h"], "OTEL_EXPORTER_OTLP_HEADERS"),
        (["listeners", "--sort", "name"], "--sort"),
        (["listeners", "--interval", "0"], "no duration"),
        (["listeners", "--ring-size", "big"], "power of two"),
        (["listeners", "--user", "no-such-user"], "no-such-user"),
        (["listeners", "--netns", "/nowhere"], "no network namespace"),
        (["listeners", "80", "81"], "81"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = complaint(arguments, capsys)
    assert code == 2
    assert words in line


def test_without_the_library_there_is_no_otlp(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    code, line = complaint(["serve", "--otlp", "http://127.0.0.1:4318"], capsys)
    assert code == 2
    assert "pip install 'tcptrace[otlp]'; " in line
    assert "Debian package: pip install --break-system-packages opentelemetry-proto" in line


def test_a_port_in_use_is_5(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        code, line = complaint(["serve", "--listen", where], capsys)
    assert code == 5
    assert where in line


def test_an_address_that_may_come_is_8(capsys: pytest.CaptureFixture[str]) -> None:
    code, line = complaint(["serve", "--listen", "192.0.2.1:0"], capsys)
    assert code == 8
    assert "192.0.2.1" in line


def test_a_certificate_that_can_not_be_read_is_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "web.yml"
    config.write_text("tls_server_config:\n  cert_file: no.pem\n  key_file: no.key\n")
    code, line = complaint(["serve", "--web-config", str(config)], capsys)
    assert code == 2
    assert "no.pem" in line


@pytest.mark.parametrize("content", [b"", b"\x7fELF" + bytes(99), b"# TYPE x counter\n"])
def test_what_is_no_recording_is_4(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "foreign\x1b[2J.rec"
    foreign.write_bytes(content)
    arguments = ["serve", "--listen", "127.0.0.1:0", "--replay", str(foreign)]
    code, line = complaint(arguments, capsys)
    assert code == 4
    assert "not a recording" in line


def recording(path: Path) -> Path:
    with path.open("wb", buffering=0) as file:
        writer = RecordingWriter(file, str(path), samples.head(what="everything"))
        one = slots.slot(counts={Stage.OTHER: 3})
        writer.write_ledger(slots.reading(1, {1: one}, namespaces=(slots.figures(),)))
        writer.write(samples.batch(samples.record(samples.START + samples.S)))
        writer.finish(samples.NO_LOSSES, samples.START + 2 * samples.S)
    return path


class Serving:
    """A running `tcptrace serve` of a recording."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stderr is not None
        self.opening = process.stderr.readline()

    def scrape(self) -> str:
        found = re.search(r"http://\S+/metrics", self.opening)
        assert found is not None, self.opening
        with urllib.request.urlopen(found[0], timeout=WAIT_S) as answer:  # noqa: S310 - ours
            body: bytes = answer.read()
            return body.decode()

    def ask(self, path: str) -> int:
        """The status of another path's answer."""
        found = re.search(r"http://\S+/(?=metrics)", self.opening)
        assert found is not None, self.opening
        try:
            with urllib.request.urlopen(f"{found[0]}{path}", timeout=WAIT_S) as answer:  # noqa: S310
                status: int = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
        return status

    def end(self) -> tuple[int, str]:
        """The exit code, and what else it said."""
        self.process.send_signal(signal.SIGTERM)
        _, told = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, told


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[Serving]:
    command = [sys.executable, "-W", "error", "-m", "tcptrace.cli.main", "serve", *arguments]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        try:
            yield Serving(process)
        finally:
            process.kill()


def test_a_recording_is_served_until_it_is_told_to_end(tmp_path: Path) -> None:
    path = recording(tmp_path / "t.rec")
    with serving("--listen", "127.0.0.1:0", "--replay", str(path), "--speed", "max") as served:
        assert served.opening.startswith("serving http://127.0.0.1:")
        assert re.match(r"serving (http://\S+/)metrics, a page at \1: replaying ", served.opening)
        assert f": replaying {path}: everything, recorded 2025-11-" in served.opening
        # It answers before it has come to the recording's end.
        until_s = time.monotonic() + WAIT_S
        while 'tcptrace_events_total{kind="state_changed"} 1.0' not in (text := served.scrape()):
            assert time.monotonic() < until_s, text
        assert served.end() == (0, "")
    assert 'tcptrace_listener_drops_total{address="0.0.0.0",' in text


def test_a_recording_without_an_end_says_so(tmp_path: Path) -> None:
    path = recording(tmp_path / "t.rec")
    path.write_bytes(path.read_bytes()[:-1])
    with serving("--listen", "127.0.0.1:0", "--replay", str(path), "--speed", "max") as served:
        assert served.process.stderr is not None
        assert "the recording has no end" in served.process.stderr.readline()
        assert served.end() == (0, "")


@pytest.mark.parametrize(("options", "status"), [((), 200), (("--no-ui",), 404)])
def test_a_page_unless_it_is_unwanted(
    tmp_path: Path, options: tuple[str, ...], status: int
) -> None:
    path = recording(tmp_path / "t.rec")
    with serving("--listen", "127.0.0.1:0", "--replay", str(path), *options) as served:
        assert served.ask("") == 200
        assert [served.ask(name) for name in ("page.js", "now.json")] == [status] * 2
        assert (", a page at " in served.opening) == (status == 200)
        assert served.end() == (0, "")


@pytest.mark.parametrize(("options", "asks"), [((), True), (("--no-ui",), False)])
def test_without_a_page_nobody_asks_for_verdicts(
    tmp_path: Path, options: tuple[str, ...], asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Watch] = []
    monkeypatch.setattr(exporting, "serve", lambda watch, *_: served.append(watch))
    path = recording(tmp_path / "t.rec")
    assert main.run(["serve", "--listen", "127.0.0.1:0", "--replay", str(path), *options]) == 0
    (watch,) = served
    assert (watch._inquest is not None) == asks


def test_a_sender_without_a_seccomp_filter_is_told_once(tmp_path: Path) -> None:
    path = recording(tmp_path / "t.rec")
    options = ("--listen", "127.0.0.1:0", "--replay", str(path))
    with Endpoint() as endpoint, TemporaryDirectory() as damaged:
        Path(damaged).chmod(0o755)  # the child is nobody by then
        (Path(damaged) / "libseccomp.so.2").touch()
        for libraries, weakness in (
            ("", ""),
            (damaged, " (no seccomp filter there: libseccomp.so.2 is missing)"),
        ):
            otlp = ("--otlp", endpoint.url)
            with serving(*options, *otlp, LD_LIBRARY_PATH=libraries) as served:
                assert f", sending to {endpoint.url}{weakness}: replaying " in served.opening
                assert served.end() == (0, "")


def test_a_damaged_recording_is_served_and_then_4(tmp_path: Path) -> None:
    path = recording(tmp_path / "t.rec")
    path.write_bytes(path.read_bytes() + b"x")
    with serving("--listen", "127.0.0.1:0", "--replay", str(path)) as served:
        assert "tcptrace_listener_drops_total{" in served.scrape()
        assert served.process.stderr is not None
        when_it_came = served.process.stderr.readline()
        code, at_the_end = served.end()
    assert code == 4
    assert when_it_came.startswith("tcptrace: the recording is damaged: ")
    assert at_the_end.endswith(when_it_came.rpartition(": ")[2])


def test_into_a_textfile_and_systemd_is_told(tmp_path: Path) -> None:
    path = recording(tmp_path / "t.rec")
    directory = tmp_path / "textfile"
    directory.mkdir()
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(WAIT_S)
        with serving(
            "--textfile", str(directory), "--replay", str(path), NOTIFY_SOCKET=address
        ) as served:
            assert served.opening.startswith(f"serving {directory}/tcptrace.prom: replaying ")
            ready = manager.recv(1000).decode()
            text = (directory / "tcptrace.prom").read_text()
            assert served.end() == (0, "")
            assert manager.recv(1000) == b"STOPPING=1"
    assert ready == f"READY=1\nSTATUS={served.opening.rstrip()}"
    assert "tcptrace_listener_sockets{" in text
    assert not list(directory.iterdir())


def test_a_textfile_that_can_not_be_written_is_5(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path / "t.rec")
    arguments = ["serve", "--textfile", str(tmp_path / "none"), "--replay", str(path)]
    code, line = complaint(arguments, capsys)
    assert code == 5
    assert "must be writable for --user" in line
