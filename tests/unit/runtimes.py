"""A container runtime as far as names go: a real gRPC server on a UNIX socket."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import grpc

from tcptrace.kernel.cri import message

if TYPE_CHECKING:
    from pathlib import Path

WEB, SANDBOX, LONE = ("5e1f" * 16, "0d2c" * 16, "a7b3" * 16)
DEADLINE_S: Final = 60.0


class FakeRuntime:
    """Answers ListContainers and ListPodSandbox as containerd and CRI-O do, by a filter of an id.

    Attributes:
        names: container's name, sandbox's id, by the container's id.
        pods: name and namespace, by the sandbox's id.
        asked: ids that containers were asked for.
        slow: answers wait for it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: dict[str, tuple[bytes, str]] = {WEB: (b"nginx", SANDBOX), LONE: (b"x", "")}
        self.pods: dict[str, tuple[bytes, bytes]] = {SANDBOX: (b"web-0", b"shop")}
        self.asked: list[str] = []
        self.slow = threading.Event()
        self.slow.set()
        calls = {"ListContainers": self._containers, "ListPodSandbox": self._sandboxes}
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                call,
                request_deserializer=message(f"{name}Request").FromString,
                response_serializer=message(f"{name}Response").SerializeToString,
            )
            for name, call in calls.items()
        }
        self._server = grpc.server(ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("runtime.v1.RuntimeService", handlers),)
        )
        self._server.add_insecure_port(f"unix:{path}")
        self._server.start()
        path.chmod(0o600)

    def _containers(self, request: Any, _context: object) -> Any:
        wanted = request.filter.id.decode()
        self.asked.append(wanted)
        self.slow.wait(DEADLINE_S)
        told = message("ListContainersResponse")()
        if wanted in self.names:
            name, sandbox = self.names[wanted]
            container = told.containers.add(id=wanted.encode(), pod_sandbox_id=sandbox.encode())
            container.metadata.name = name
        return told

    def _sandboxes(self, request: Any, _context: object) -> Any:
        wanted = request.filter.id.decode()
        told = message("ListPodSandboxResponse")()
        if wanted in self.pods:
            pod = told.items.add(id=wanted.encode())
            pod.metadata.name, pod.metadata.namespace = self.pods[wanted]
        return told

    def stop(self) -> None:
        self.slow.set()
        self._server.stop(None).wait()
