from __future__ import annotations

import os
from pathlib import Path

import pytest

from tcptrace.cli.record import open_output
from tcptrace.errors import OutputFailed
from tcptrace.sinks.recording.layout import MAGIC


def test_an_older_recording_stays_until_tracing_begins(tmp_path: Path) -> None:
    path = tmp_path / "t.rec"
    path.write_bytes(MAGIC + b"older")
    with open_output(path):
        assert path.read_bytes() == MAGIC + b"older"
    assert path.read_bytes() == MAGIC + b"older"


def test_a_file_that_is_no_recording_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(b"127.0.0.1 localhost")
    with pytest.raises(OutputFailed, match="is no recording"), open_output(path):
        pass
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OutputFailed), open_output(tmp_path / "link"):
        pass
    assert path.read_bytes() == b"127.0.0.1 localhost"


def test_a_new_file_is_gone_again_if_nothing_was_written(tmp_path: Path) -> None:
    path = tmp_path / "t.rec"
    with pytest.raises(ZeroDivisionError), open_output(path):
        raise ZeroDivisionError
    assert not path.exists()
    with open_output(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (Path("/dev/full"), Path("/dev/null"), pipe, tmp_path, tmp_path / "no/such"):
        with pytest.raises(OutputFailed), open_output(path):
            pass
