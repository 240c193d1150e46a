"""Confines the collector: a seccomp filter of the system calls that it still needs, by libseccomp.

Everything else is refused with EPERM, so that code which an attacker brings in through the ring, a
socket or a file can neither run programs nor open new ways into the kernel. Arguments are looked at
where a call would otherwise be too strong: no memory becomes executable, a clone is a thread, a
signal stays in this process, limits are its own, an ioctl asks a terminal or a socket.

Source: libseccomp's seccomp.h, seccomp_init(3), seccomp_rule_add(3); docs/adr/0007.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import socket
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY: Final = "libseccomp.so.2"
_ERRNO: Final = 0x00050000
_ALLOW: Final = 0x7FFF0000
_ALL_THREADS: Final = 4
"""The attribute SCMP_FLTATR_CTL_TSYNC."""
_EQUAL: Final = 4
_EQUAL_BENEATH_MASK: Final = 7
_CLONE_THREAD: Final = 0x00010000
_SET_NAME: Final = 15
_TCGETS2: Final = 0x802C542A
"""What glibc 2.42 asks a terminal by."""
_REQUESTS: Final = (
    *(termios.TCGETS, _TCGETS2, termios.TIOCGWINSZ, termios.FIONREAD),
    *(termios.FIONBIO, termios.FIOCLEX, termios.FIONCLEX),
)
"""Of ioctl: what a terminal is like; a socket's wait; whether a descriptor is inherited."""
_TERMINAL_REQUESTS: Final = (
    *(termios.TCSETS, termios.TCSETSW, termios.TCSETSF, termios.TCFLSH),
    *(0x402C542B, 0x402C542C, 0x402C542D),
)
"""Of ioctl, for a full screen: to set what a terminal is like, by glibc 2.42's numbers too; not
TIOCSTI, by which what is typed could be forged."""
_COMMANDS: Final = (
    *(fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC),
    *(fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL),
)
"""Of fcntl: not F_SETOWN and F_SETSIG, by which a socket's news would be a signal to anybody."""
_CLONE3: Final = 435
"""On every architecture; by number, since a libseccomp that doesn't know it would refuse it with
EPERM, after which glibc does not try clone."""
_UNKNOWN: Final = -1

_CALLS: Final = """
    read readv pread64 preadv write writev pwrite64 close close_range lseek _llseek
    dup dup2 dup3 ftruncate ftruncate64 fsync fdatasync
    open openat stat stat64 lstat lstat64 fstat fstat64 newfstatat fstatat64 statx
    access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd
    memfd_create fchmod unlink unlinkat rename renameat renameat2

    epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
    poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 eventfd2
    accept accept4 recv recvfrom recvmsg send sendto sendmsg shutdown
    getsockname getpeername getsockopt setsockopt

    brk munmap mremap madvise
    futex futex_time64 set_robust_list rseq sched_yield sched_getaffinity exit exit_group
    rt_sigaction rt_sigprocmask rt_sigreturn sigreturn sigaltstack restart_syscall

    clock_gettime clock_gettime64 clock_getres clock_getres_time64 gettimeofday time
    clock_nanosleep clock_nanosleep_time64 nanosleep
    getpid gettid getppid getuid geteuid getgid getegid getuid32 geteuid32 getgid32 getegid32
    wait4 waitid getrusage getrlimit ugetrlimit sysinfo uname getrandom membarrier
"""
"""Allowed whatever their arguments are. Names that an architecture lacks are passed over."""

_CONNECTING_CALLS: Final = "connect bind sendmmsg recvmmsg setitimer"
"""What a sender needs besides: bind for name lookups by netlink, a timer for what takes long."""
_CONNECTING_FAMILIES: Final = (
    *(socket.AF_UNIX, socket.AF_INET, socket.AF_INET6),
    socket.AF_NETLINK,
)
"""Of socket: where endpoints and name services are; which addresses this host has."""


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class _Rule(NamedTuple):
    """Allows one call if one of its arguments compares.

    Attributes:
        call: its name.
        argument: which, counted from 0.
        value: what it must be.
        mask: the bits of it that are looked at; None for all.
    """

    call: str
    argument: int
    value: int
    mask: int | None = None


def _rules(*, may_connect: bool, terminal: bool) -> Iterator[_Rule]:
    if may_connect:
        for family in _CONNECTING_FAMILIES:
            yield _Rule("socket", 0, family)
    for call in ("mmap", "mmap2", "mprotect"):
        yield _Rule(call, 2, 0, mmap.PROT_EXEC)
    yield _Rule("clone", 0, _CLONE_THREAD, _CLONE_THREAD)
    yield _Rule("tgkill", 0, os.getpid())
    yield _Rule("prctl", 0, _SET_NAME)
    yield _Rule("prlimit64", 0, 0)
    if terminal:
        yield _Rule("kill", 0, os.getpid())
    for request in (*_REQUESTS, *(_TERMINAL_REQUESTS if terminal else ())):
        yield _Rule("ioctl", 1, request)
    for call in ("fcntl", "fcntl64"):
        for command in _COMMANDS:
            yield _Rule(call, 1, command)


class _Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The library or the kernel did not do a step; the message says which."""


def confine(*, may_connect: bool = False, terminal: bool = False) -> str:
    """Refuses this process, all its threads and for good, what the collector does not need.

    Args:
        may_connect: whether it needs new sockets too.
        terminal: whether it sets up its terminal, and stops itself while that is another's.

    Returns:
        "" when it is confined, else why it is not, in a few words: the trace goes on without.
    """
    try:
        library = ctypes.CDLL(LIBRARY, use_errno=True)
    except OSError:
        return f"{LIBRARY} is missing"
    # pthread_exit, and traceback's unwinding, load it when they are first called; then it's late.
    with suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1")
    library.seccomp_init.restype = ctypes.c_void_p
    context = library.seccomp_init(_ERRNO | 1)  # EPERM
    if not context:
        return f"{LIBRARY} failed"
    filters = _Filters(library, ctypes.c_void_p(context))
    try:
        filters.load(may_connect=may_connect, terminal=terminal)
    except _Refused as refusal:
        return str(refusal)
    finally:
        library.seccomp_release(filters.context)
    return ""


def is_available() -> bool:
    """Whether the library is here; the kernel's answer is known only once it is asked."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


class _Filters(NamedTuple):
    """libseccomp's filter under construction."""

    library: ctypes.CDLL
    context: ctypes.c_void_p

    def load(self, *, may_connect: bool, terminal: bool) -> None:
        """Adds every rule, then hands the filter to the kernel.

        Args:
            may_connect: whether new sockets are allowed.
            terminal: whether setting up a terminal is.

        Raises:
            _Refused: a step failed; nothing is then confined.
        """
        self._check(
            "TSYNC",
            self.library.seccomp_attr_set(self.context, _ALL_THREADS, ctypes.c_uint32(1)),
        )
        calls = f"{_CALLS} {_CONNECTING_CALLS}" if may_connect else _CALLS
        for call in calls.split():
            self._add(_ALLOW, self._number(call))
        for rule in _rules(may_connect=may_connect, terminal=terminal):
            self._add(_ALLOW, self._number(rule.call), _comparison(rule))
        self._add(_ERRNO | 38, _CLONE3)  # ENOSYS: glibc then calls clone, whose flags can be read
        self._check("load", self.library.seccomp_load(self.context))

    def _number(self, call: str) -> int:
        return int(self.library.seccomp_syscall_resolve_name(call.encode()))

    def _add(self, action: int, number: int, comparison: _Comparison | None = None) -> None:
        if number == _UNKNOWN:
            return
        count = 0 if comparison is None else 1
        held = None if comparison is None else ctypes.byref(comparison)
        added = self.library.seccomp_rule_add_array(
            self.context, ctypes.c_uint32(action), number, count, held
        )
        # A negative number stands for a call that this architecture lacks or wraps in another.
        if number >= 0:
            self._check(f"rule {number}", added)

    def _check(self, step: str, result: int) -> None:
        if result:
            raise _Refused(f"{LIBRARY}: {step}: {os.strerror(-result)}")


def _comparison(rule: _Rule) -> _Comparison:
    if rule.mask is None:
        return _Comparison(rule.argument, _EQUAL, rule.value, 0)
    return _Comparison(rule.argument, _EQUAL_BENEATH_MASK, rule.mask, rule.value)
