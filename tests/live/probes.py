"""What the kernel holds of BPF and kprobes: the same before a trace and after its death."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .namespaces import tool


class Probes(NamedTuple):
    """Everything of BPF and kprobes that the kernel holds."""

    programs: str
    links: str
    perf_events: str
    kprobes: str
    kprobe_events: str

    @classmethod
    def now(cls) -> Probes:
        return cls(
            tool("bpftool", "prog", "list"),
            tool("bpftool", "link", "list"),
            tool("bpftool", "perf", "list"),
            Path("/sys/kernel/debug/kprobes/list").read_text(),
            Path("/sys/kernel/tracing/kprobe_events").read_text(),
        )
