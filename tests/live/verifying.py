"""`tcptrace verify` as a subprocess, ended once the traffic that it is to compare is over."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .traced import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONG: Final = "1h"


class Verdict(NamedTuple):
    """What it said."""

    status: int
    told: dict[str, Any]
    stderr: str

    def of(self, netns: int) -> Mapping[str, dict[str, Any]]:
        """A namespace's figures, by name."""
        return {one["figure"]: one for one in self.told["figures"] if one["netns"] == netns}

    @property
    def differing(self) -> list[dict[str, Any]]:
        """The figures that are not the kernel's."""
        return [one for one in self.told["figures"] if one["difference"]]


class Verifying(Trace):
    """A comparison that goes on until it is ended."""

    def __init__(self, *arguments: str) -> None:
        super().__init__("verify", "--json", "--duration", _LONG, *arguments)

    def verdict(self) -> Verdict:
        """Ends it, as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        status = self.wait()
        (line,) = self._stdout.all()
        return Verdict(status, json.loads(line), self.stderr)
