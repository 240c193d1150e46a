"""The child that asks a container runtime for names, over CRI: gRPC on a UNIX socket.

A process of its own, since gRPC brings threads and 40 MB, and since what the runtime answers is
nobody's to trust: the worst that it can do is to end this child. It connects while it is root,
gives that up, and then answers lines: a container's id comes in, a line of JSON goes out.

Source of the messages: github.com/kubernetes/cri-api, pkg/apis/runtime/v1, api.proto. Text is taken
as bytes, which are the same on the wire: a runtime may send anything.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tcptrace.errors import TcptraceError
from tcptrace.kernel import privileges
from tcptrace.lifecycle.names import MOST_NAME
from tcptrace.messages import Field, message_class

if TYPE_CHECKING:
    from collections.abc import Iterable

_PACKAGE: Final = "runtime.v1"
_MESSAGES: Final = {
    "ContainerFilter": (Field("id", 1, "bytes"),),
    "ListContainersRequest": (Field("filter", 1, "ContainerFilter"),),
    "ContainerMetadata": (Field("name", 1, "bytes"),),
    "Container": (
        Field("id", 1, "bytes"),
        Field("pod_sandbox_id", 2, "bytes"),
        Field("metadata", 3, "ContainerMetadata"),
    ),
    "ListContainersResponse": (Field("containers", 1, "Container", is_repeated=True),),
    "PodSandboxFilter": (Field("id", 1, "bytes"),),
    "ListPodSandboxRequest": (Field("filter", 1, "PodSandboxFilter"),),
    "PodSandboxMetadata": (Field("name", 1, "bytes"), Field("namespace", 3, "bytes")),
    "PodSandbox": (Field("id", 1, "bytes"), Field("metadata", 2, "PodSandboxMetadata")),
    "ListPodSandboxResponse": (Field("items", 1, "PodSandbox", is_repeated=True),),
}
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 2.0
_MOST_ANSWER: Final = 1 << 20
"""Bytes of an answer; a container and its sandbox take a few thousand."""
_MOST_MEMORY: Final = 1 << 29
_NOBODY: Final = b"0" * 64
"""No container's id: asked for once to see whether this is CRI at all."""
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MOST_ANSWER),
    ("grpc.enable_http_proxy", 0),
    # Once root is gone it may not be able to connect again.
    ("grpc.client_idle_timeout_ms", 2**31 - 1),
)


@cache
def message(name: str) -> Any:
    """The class of one of the messages."""
    return message_class("tcptrace/cri.proto", _PACKAGE, _MESSAGES, name)


class Runtime:
    """A connection to a runtime.

    Args:
        path: of its socket.

    Raises:
        grpc.FutureTimeoutError: nobody is there.
    """

    def __init__(self, path: str) -> None:
        import grpc  # noqa: PLC0415 - an extra

        self._error = grpc.RpcError
        self._silences = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        self.fault = ""
        """Why it has not answered the last question; "" if it has."""
        channel = grpc.insecure_channel(f"unix:{path}", options=_OPTIONS)
        grpc.channel_ready_future(channel).result(_CONNECT_S)
        self._calls = {
            name: channel.unary_unary(
                f"/{_PACKAGE}.RuntimeService/{name}",
                request_serializer=message(f"{name}Request").SerializeToString,
                response_deserializer=message(f"{name}Response").FromString,
            )
            for name in ("ListContainers", "ListPodSandbox")
        }

    def check(self) -> None:
        """Asks once.

        Raises:
            grpc.RpcError: what answers there doesn't speak CRI's version 1.
        """
        self._ask("ListContainers", _NOBODY)
        self._ask("ListPodSandbox", _NOBODY)

    def names(self, container: str) -> tuple[str, str, str] | None:
        """A container's name, its pod's and the pod's namespace; None if it can't be told now."""
        wanted = container.encode()
        self.fault = ""
        try:
            found = self._ask("ListContainers", wanted).containers
            of = next((one for one in found if one.id == wanted), None)
            sandbox = of.pod_sandbox_id if of else wanted
            pods = self._ask("ListPodSandbox", sandbox).items
        except self._error as error:
            if error.code() in self._silences:
                self.fault = error.details() or error.code().name
            return None
        pod = next((one for one in pods if one.id == sandbox), None)
        if of is None and pod is None:
            return None
        name = _text(of.metadata.name) if of else ""
        if pod is None:
            return name, "", ""
        return name, _text(pod.metadata.name), _text(pod.metadata.namespace)

    def _ask(self, call: str, identity: bytes) -> Any:
        request = message(f"{call}Request")()
        request.filter.id = identity
        return self._calls[call](request, timeout=_ANSWER_S)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")[:MOST_NAME]


def answer(runtime: Runtime, lines: Iterable[str]) -> None:
    """Answers each line until there are no more."""
    for line in lines:
        container = line.strip()
        names = runtime.names(container)
        _say({"id": container, "names": names, "fault": runtime.fault})


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def main(path: str, user: str) -> None:
    """Connects, becomes the user, answers."""
    with suppress(OSError, ValueError):  # a strict systemd unit forbids it, or has less
        resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    # Before gRPC makes threads, which inherit it.
    privileges.forbid_new()
    try:
        runtime = Runtime(path)
        if os.geteuid() == 0:
            privileges.drop(privileges.find_user(user))
        runtime.check()  # now that nothing which is answered is read as root
    except TcptraceError as error:
        _say({"error": str(error)})
        return
    except Exception as error:  # noqa: BLE001 - gRPC's own, by what it says itself
        told = getattr(error, "details", lambda: "nobody answers")()
        _say({"error": f"no CRI v1 there ({told})"})
        return
    _say({"ready": True})
    answer(runtime, sys.stdin)


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        main(*sys.argv[1:3])
    os._exit(0)  # gRPC's threads may still wait for an answer
