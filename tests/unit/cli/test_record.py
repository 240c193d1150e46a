from __future__ import annotations

import os
from pathlib import Path

import pytest

from tcptrace.cli.record import open_output
from tcptrace.errors import OutputFailed


def test_an_older_recording_stays_until_tracing_begins(tmp_path: Path) -> None:
    path = tmp_path / "t.rec"
    path.write_bytes(b"older")
    with open_output(path):
        assert path.read_bytes() == b"older"
    assert path.read_bytes() == b"older"


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
