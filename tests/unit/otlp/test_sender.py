from __future__ import annotations

import subprocess
import sys

_CONFINED = """
import ctypes, os, socket
from pathlib import Path
from tcptrace.otlp import sender

# As nsswitch.conf may have it: a module that is no part of the C library itself.
assert ctypes.CDLL(None).__nss_configure_lookup(b"hosts", b"compat files") == 0
unconfined = sender.confine("nobody", ["localhost"])
loaded = "libnss_compat" in Path("/proc/self/maps").read_text()
print(repr(unconfined), loaded, bool(socket.getaddrinfo("localhost", 1)), os.geteuid() == 0)
"""


def test_modules_of_name_services_are_loaded_before_they_can_not_be() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _CONFINED], capture_output=True, text=True, check=False
    )
    assert told.stdout.split() == ["''", "True", "True", "False"], told.stderr
