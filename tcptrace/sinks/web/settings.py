"""How the exporter serves: what a web configuration file says, once it has been read.

Apart from the reading (config), which needs YAML, bcrypt and TLS: most exporters have no such file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcptrace.sinks.web.tls import Tls


@dataclass(frozen=True, slots=True)
class WebConfig:
    """How to serve: in the clear and for everybody, unless said otherwise."""

    tls: Tls | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Added to every response."""
    users: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Names to bcrypt hashes; empty: no authentication."""
