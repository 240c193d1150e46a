"""Gives up root for good: an unprivileged user, no groups, no capabilities, no way back."""

from __future__ import annotations

import ctypes
import os
import pwd
from pathlib import Path
from typing import Final

from tcptrace.errors import BadArgument, CannotTrace

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAPBSET_DROP: Final = 24
_PR_SET_SECUREBITS: Final = 28
_NO_SETUID_FIXUP: Final = 1 << 2
_CAPABILITIES: Final = 64
_TASKS: Final = Path("/proc/self/task")


def find_user(name: str) -> pwd.struct_passwd:
    """Looks a user up.

    Raises:
        BadArgument: there is no such user, or it is root.
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        raise BadArgument(f"--user {name}: there is no such user") from error
    if user.pw_uid == 0:
        raise BadArgument(f"--user {name}: the collector doesn't run as root; name another user")
    return user


def drop(user: pwd.struct_passwd) -> None:
    """Becomes the user; setresuid from root to another clears every capability set.

    Raises:
        CannotTrace: the kernel refused a step; nothing is then trusted to be dropped.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        for capability in range(_CAPABILITIES):
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
        os.setgroups([])
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    except OSError as error:
        raise CannotTrace(f"can't become user {user.pw_name}: {error.strerror}") from error
    if _has_capabilities():
        raise CannotTrace(f"user {user.pw_name} keeps capabilities (securebits): nothing is traced")
    forbid_new()


def require_one_thread() -> None:
    """Makes sure that nothing is forgotten: all but the user is each thread's own.

    Raises:
        CannotTrace: there is another thread.
    """
    if len(list(_TASKS.iterdir())) > 1:
        raise CannotTrace("another thread of this process would stay root: nothing is traced")


def forbid_new() -> None:
    """Sets no_new_privs for this thread and those that it starts: no program gives any back.

    Raises:
        CannotTrace: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise CannotTrace(f"can't set no_new_privs: {os.strerror(ctypes.get_errno())}")


def keep_capabilities() -> bool:
    """Has this process keep its capabilities whatever user it becomes; returns whether it does."""
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0)) == 0


def _has_capabilities() -> bool:
    """Whether this process holds any, whatever setresuid did about them."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    sets = ("CapPrm:", "CapEff:", "CapAmb:")
    return any(int(line.split()[1], 16) for line in status.splitlines() if line.startswith(sets))
