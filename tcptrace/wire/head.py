"""What stands before a stream of records, live or recorded: what was traced, where and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class AttachedHook(NamedTuple):
    """One hook that carries this trace."""

    name: str
    """The kernel's function or tracepoint."""
    carrier: str
    """fentry, fexit, tp_btf, raw_tracepoint, kprobe or kretprobe."""


class Losses(NamedTuple):
    """What a trace knows that it missed. All counts are since its start."""

    lost_records: int
    """Records that found the ring full."""
    missed_by_hook: dict[str, int]
    """Probe runs that the kernel skipped, by hook, where the kernel counts them; not zero ones."""
    uncounted_hooks: tuple[str, ...]
    """Hooks whose misses this kernel does not tell (kprobes before 7.x)."""
    lost_by_hook: Mapping[str, int] = {}
    """Of the lost records, whose they were; empty in recordings from before, and until the end."""


class ProgramRuns(NamedTuple):
    """What one BPF program has cost, where the kernel counts it (kernel.bpf_stats_enabled)."""

    hook: str
    carrier: str
    runs: int
    run_time_ns: int


class TraceHead(NamedTuple):
    """The head of a trace."""

    wire_version: int
    record_size: int
    """Bytes a record, without its stack."""
    stacks: bool
    """Whether STACK_DEPTH frames of 8 bytes follow each record."""
    kernel: str
    """The kernel's release, as uname -r."""
    machine: str
    hostname: str
    began_monotonic_ns: int
    began_realtime_ns: int
    """The same moment on both clocks: the difference turns at_ns into time of day."""
    what: str
    """The filter in words: `port 8080`, `everything`."""
    port: int | None
    """The filtered port, if one."""
    carrier: str
    """fentry or kprobe: what carried most hooks."""
    hooks: tuple[AttachedHook, ...]
    untold: tuple[str, ...] = ()
    """What the traced kernel can't tell for want of a hook, in words."""
    uncompared: tuple[str, ...] = ()
    """Figures (lifecycle.figures) that the traced kernel counts at another time than a trace."""
