"""Names of containers and pods from a container runtime, by the child that speaks to it (cri).

Never waits: what is wanted is written to the child, and what it has answered is read, as far as
that goes at once. A runtime that is slow, or gone, leaves containers without names.
"""

from __future__ import annotations

import importlib.util
import re
import stat
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from tcptrace.children import Child
from tcptrace.errors import BadArgument, CannotTrace, NotThere
from tcptrace.lifecycle.names import MOST_NAME, Known, PodNames

if TYPE_CHECKING:
    from pathlib import Path

_CHILD: Final = "tcptrace.kernel.cri"
_MOST_WAITING: Final = 1_000
_AGAIN_S: Final = 5.0
"""After so long a container is asked for again that the runtime did not know."""
_MOST_TIMES: Final = 3
_MOST_FAULT: Final = 200
_ID: Final = re.compile(r"[0-9a-f]{64}")


class PodLookup:
    """What a runtime calls containers.

    Args:
        path: of its socket.
        user: whom the child becomes once it has connected.

    Attributes:
        known: what was answered, by the container's id.
        trouble: why new containers get no names; "" while all is well.

    Raises:
        BadArgument: it is no socket.
        NotThere: there is none.
        CannotTrace: grpcio is missing, or no runtime answers.
    """

    def __init__(self, path: Path, user: str) -> None:
        _check(path)
        self.known: Known[str, PodNames] = Known()
        self.trouble = ""
        self._path = path
        self._asked: Known[str, int] = Known()
        """How often each was asked for."""
        self._waiting: deque[str] = deque()
        self._again: deque[tuple[float, str]] = deque()
        self._child = Child(
            _CHILD, str(path.absolute()), user, job="that asks it", on_end=self._complain
        )
        try:
            self._child.begin(f"--cri-socket {path}")
        except BaseException:
            self.close()
            raise

    def want(self, container: str) -> None:
        """Asks for a container, unless it is known or was asked for already."""
        if container in self._asked or not _ID.fullmatch(container):
            return
        if len(self._waiting) < _MOST_WAITING:
            self._asked.learn(container, 0)
            self._waiting.append(container)

    def look(self) -> None:
        """Takes what was answered, and asks on."""
        if not self._child.is_there:
            return
        for told in self._child.told():
            self._take(told)
        now_s = time.monotonic()
        while self._again and self._again[0][0] <= now_s:
            self._waiting.append(self._again.popleft()[1])
        # A line is shorter than PIPE_BUF: all of it is written, or nothing.
        with suppress(BlockingIOError, BrokenPipeError):
            while self._waiting:
                self._child.write(f"{self._waiting[0]}\n".encode())
                self._waiting.popleft()

    def _take(self, told: dict[str, Any]) -> None:
        container, names = told.get("id"), told.get("names")
        if told.get("fault"):
            if not self.trouble:  # that the reason is put in other words is no other trouble
                self._complain(f"it can't be reached ({str(told['fault'])[:_MOST_FAULT]})")
        elif "fault" in told:
            self.trouble = ""
        if not isinstance(container, str) or container not in self._asked:
            return
        if isinstance(names, list) and len(names) == len(PodNames._fields):
            self.known.learn(container, PodNames(*(str(name)[:MOST_NAME] for name in names)))
            return
        self._asked[container] += 1
        if self._asked[container] < _MOST_TIMES:
            self._again.append((time.monotonic() + _AGAIN_S, container))

    def _complain(self, why: str) -> None:
        self.trouble = f"--cri-socket {self._path}: {why}: new containers get no names"

    def close(self) -> None:
        """Ends the child: by itself it does when nobody can ask any more."""
        self._child.close(kill=True)  # which the confined collector may not


def _check(path: Path) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
    except FileNotFoundError as error:
        raise NotThere(f"--cri-socket {path}: {error.strerror}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadArgument(f"--cri-socket {path}: {reason}") from error
    if not is_socket:
        raise BadArgument(f"--cri-socket {path}: it is no socket")
    if importlib.util.find_spec("grpc") is None:
        raise CannotTrace(
            "--cri-socket needs grpcio: pip install 'tcptrace[cri]'; beside the Debian package:"
            " apt-get install python3-grpcio"
        )
