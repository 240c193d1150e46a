"""Attributes as OTLP has them, and the resource that everything is told of: this host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tcptrace import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm32"}
"""What host.arch calls machines; others stay as uname has them."""


def attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    """Makes attributes of texts, truths, integers and floats."""
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(string_value=value)


def scope() -> InstrumentationScope:
    """Who tells."""
    return InstrumentationScope(name="tcptrace", version=__version__)


def resource(head: Mapping[str, str], extra: Mapping[str, str]) -> Resource:
    """Whose telemetry it is.

    Args:
        head: `hostname`, `kernel` and `machine` of the host that is traced.
        extra: the environment's, which go before what is found here.
    """
    machine = head["machine"]
    found: dict[str, str] = {
        "service.name": "tcptrace",
        "service.version": __version__,
        "service.instance.id": head["hostname"],
        "host.name": head["hostname"],
        "host.arch": _ARCHITECTURES.get(machine, machine),
        "os.type": "linux",
        "os.version": head["kernel"],
    }
    return Resource(attributes=attributes(found | dict(extra)))
