"""What a confined process can still do, and what it can't: each in a child that confines itself."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import bcrypt
import pytest

from unit.sinks.web.certificates import Certificates, make

if TYPE_CHECKING:
    from pathlib import Path

_CONFINED = """
import ctypes, errno, mmap, os, pathlib, socket, subprocess, tempfile, threading, time
from tcptrace.sinks import textfile
from tcptrace.kernel import seccomp
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
here = pathlib.Path(tempfile.mkdtemp())
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(one) for one in arguments))
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "allowed"
def attempt(action):
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "allowed"
assert seccomp.confine() == "", seccomp.confine()
"""
_REFUSED = {
    "execve": "attempt(lambda: os.execv('/bin/true', ['true']))",
    "subprocess": "attempt(lambda: subprocess.run(['/bin/true']))",
    "fork": "attempt(os.fork)",
    "socket": "attempt(socket.socket)",
    "netlink": "attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))",
    "connect": "attempt(lambda: client.connect(listener.getsockname()))",
    "bind": "attempt(lambda: client.bind(('127.0.0.1', 0)))",
    "signal another": "attempt(lambda: os.kill(os.getppid(), 0))",
    "signal another by its socket": (
        "attempt(lambda: __import__('fcntl').fcntl(client, 8, os.getppid()))"
    ),
    "limit another": "call(302, os.getppid(), 7, 0, 0)",
    "executable memory": "attempt(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_EXEC))",
    "chmod": "attempt(lambda: os.chmod('/tmp', 0o777))",
    "mkdir": "attempt(lambda: os.mkdir('/tmp/confined'))",
    "symlink": "attempt(lambda: os.symlink('/etc', '/tmp/confined'))",
    "become another": "attempt(lambda: os.setresuid(0, 0, 0))",
    "type on a terminal": "attempt(lambda: __import__('fcntl').ioctl(0, 0x5412, b'x'))",
    "make executable": "call(10, 0x10000, 4096, 4)",  # x86-64's numbers from here on
    "ptrace": "call(101, 0, 0, 0, 0)",
    "bpf": "call(321, 0, 0, 0)",
    "perf_event_open": "call(298, 0, 0, 0, 0, 0)",
    "mount": "call(165, 0, 0, 0, 0, 0)",
    "setns": "call(308, 0, 0)",
    "unshare": "call(272, 0x40000000)",
    "process_vm_readv": "call(310, 1, 0, 0, 0, 0, 0)",
    "io_uring_setup": "call(425, 1, 0)",
    "userfaultfd": "call(323, 0)",
    "init_module": "call(175, 0, 0, 0)",
    "keyctl": "call(250, 0, 0, 0, 0, 0)",
}
_ALLOWED = {
    "thread": "(t := threading.Thread(target=time.sleep, args=(0.001,))).start() or t.join()",
    "accept": "listener.accept()[0].sendall(b'x')",
    "read": "open('/proc/self/stat').read()",
    "walk": "os.listdir('/')",
    "signal itself": "__import__('signal').raise_signal(28)",
    "temporary file": "__import__('tempfile').TemporaryFile().write(b'x')",
    "textfile": "file = textfile.Textfile(here); file.write(b'x'); file.remove()",
    "memory": "len(bytearray(1 << 24)) + len(mmap.mmap(-1, 1 << 24))",
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def _run(script: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", _CONFINED + script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def refused() -> dict[str, str]:
    """All in one child: none of it is done."""
    tried = "".join(f"print({how})\n" for how in _REFUSED.values())
    return dict(zip(_REFUSED, _run(tried).splitlines(), strict=True))


@pytest.mark.parametrize("what", _REFUSED)
def test_refuses(refused: dict[str, str], what: str) -> None:
    assert refused[what] == "EPERM"


@pytest.mark.parametrize("how", _ALLOWED.values(), ids=_ALLOWED)
def test_allows(how: str) -> None:
    assert _run(f"{how}\nprint('done')").endswith("done")


def test_the_web_configuration_is_read_again(certificates: Certificates) -> None:
    """Keys go to OpenSSL through files in memory."""
    hashed = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()
    config = certificates.directory / "confined.yml"
    tls = (
        "{cert_file: server.crt, key_file: server.key, client_ca_file: authority.crt,"
        " client_auth_type: RequireAndVerifyClientCert}"
    )
    config.write_text(f"tls_server_config: {tls}\nbasic_auth_users: {{p: {hashed}}}\n")
    script = f"""
from tcptrace.sinks.web.config import read_config
from tcptrace.kernel import seccomp
path = __import__("pathlib").Path({str(config)!r})
read_config(path)
assert seccomp.confine() == ""
read_config(path)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_reaches_threads_that_run_already() -> None:
    script = """
import threading
def body():
    go.wait(); print(attempt(socket.socket))
"""
    late = "go = threading.Event(); t = threading.Thread(target=body); t.start()\n"
    confine = "assert seccomp.confine() == ''\n"
    before = _CONFINED.rpartition("assert")[0]
    command = [sys.executable, "-c", before + script + late + confine + "go.set(); t.join()"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("EPERM\n", "")


def test_daemon_threads_do_not_spoil_the_end() -> None:
    """pthread_exit at the interpreter's end would load libgcc_s.so.1."""
    body = "threading.Thread(target=lambda: time.sleep(0.05), daemon=True).start()"
    assert _run(f"{body}\ntime.sleep(0.01)\nprint('done')") == "done"


def test_says_that_the_library_is_missing() -> None:
    script = """
from tcptrace.kernel import seccomp
seccomp.LIBRARY = "libseccomp.so.none"
print(seccomp.is_available(), seccomp.confine())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "False libseccomp.so.none is missing\n"


def test_says_what_the_kernel_refused() -> None:
    """A filter that is there already may forbid another one: as in some containers."""
    script = """
from tcptrace.kernel import seccomp
print([seccomp.confine(), seccomp.confine()])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.startswith("['', 'libseccomp.so.2: load: ")
