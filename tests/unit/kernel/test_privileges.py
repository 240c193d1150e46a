from __future__ import annotations

import pwd
import subprocess
import sys
import threading

import pytest

from tcptrace.errors import BadArgument, CannotTrace
from tcptrace.kernel.privileges import find_user, require_one_thread


def test_a_user_is_found() -> None:
    assert find_user("nobody") == pwd.getpwnam("nobody")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-user-here", "--user no-such-user-here: there is no such user"),
        ("", "--user : there is no such user"),
        ("root", "--user root: the collector doesn't run as root; name another user"),
    ],
)
def test_a_wrong_user_is_told(name: str, message: str) -> None:
    with pytest.raises(BadArgument) as caught:
        find_user(name)
    assert str(caught.value) == message


def test_root_by_another_name_is_still_root(monkeypatch: pytest.MonkeyPatch) -> None:
    toor = pwd.struct_passwd(("toor", "x", 0, 0, "", "/root", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: toor)
    with pytest.raises(BadArgument, match="doesn't run as root"):
        find_user("toor")


def test_a_thread_that_would_stay_root_forbids_tracing() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        with pytest.raises(CannotTrace, match="another thread"):
            require_one_thread()
    finally:
        end.set()
        thread.join()


def test_what_traces_imports_no_threads() -> None:
    """numpy's linear algebra would start some."""
    count = "import os; print(len(os.listdir('/proc/self/task')))"
    imports = "import tcptrace.exporting, tcptrace.watching, tcptrace.kernel.live"
    told = subprocess.run(
        [sys.executable, "-c", f"{imports}; {count}"], capture_output=True, check=True, text=True
    )
    assert told.stdout.strip() == "1"
