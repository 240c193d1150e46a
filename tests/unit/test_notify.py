"""sd_notify, to a socket where systemd's would be."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tcptrace.notify import Notifier

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_what_is_said_arrives(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(tmp_path / "notify") if kind == "path" else f"@tcptrace-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notifier = Notifier()
        assert "NOTIFY_SOCKET" not in os.environ, "children must not speak for the service"
        notifier.say("READY=1", "STATUS=serving")
        assert manager.recv(1000) == b"READY=1\nSTATUS=serving"
        notifier.say("STOPPING=1")
        assert manager.recv(1000) == b"STOPPING=1"
        assert notifier._socket is not None
        assert not os.get_inheritable(notifier._socket.fileno())
        notifier.close()
        notifier.say("READY=1")
        notifier.close()


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    notifier.say("READY=1")
    notifier.close()


@pytest.mark.parametrize("address", ["/nowhere/notify", "vsock:2:1", "@" + "x" * 300])
def test_a_manager_that_is_not_there_is_no_reason_to_end(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notifier = Notifier()
    notifier.say("READY=1")
    notifier.close()


def test_a_manager_that_went_away_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notifier = Notifier()
    notifier.say("STOPPING=1")
    notifier.close()
