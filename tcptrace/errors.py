"""Every error that tcptrace reports to a person: one line, one exit code each.

| exit code | class | means |
|---|---|---|
| 0 | – | done: traced, replayed, or every check passed |
| 1 | `DoctorFoundProblems` | doctor ran, and something that tracing needs is missing |
| 2 | click's own, `BadArgument` | the command line is wrong |
| 3 | `CannotTrace` | this host, kernel or user can't trace: `tcptrace doctor` says why |
| 4 | `BadRecording` | the file is not a recording, or is damaged |
| 5 | `OutputFailed` | the output can't be written (disk full, no permission) |
| 6 | `Disagrees` | verify ran, and a figure differs from the kernel's for no counted reason |
| 7 | `FoundFaults` | why ran, and there is a verdict at least |
| 8 | `NotThere` | an address to listen on, or a runtime's socket, is not there, or not yet |
| 70 | any other | an error that nobody foresaw |
| 130 | – | interrupted before tracing began |

They never change their meaning; new ones may come.
"""

from __future__ import annotations


class TcptraceError(Exception):
    """The root of the tree: a message of one line that says what to do."""

    exit_code = 70


class DoctorFoundProblems(TcptraceError):  # noqa: N818 - a finding, not a fault
    """At least one check of doctor failed."""

    exit_code = 1


class BadArgument(TcptraceError):  # noqa: N818
    """A value on the command line that click's own checks can't see is wrong."""

    exit_code = 2


class CannotTrace(TcptraceError):  # noqa: N818
    """Tracing can't begin here."""

    exit_code = 3


class BadRecording(TcptraceError):  # noqa: N818
    """A file that is not a recording, or one that is damaged."""

    exit_code = 4


class OutputFailed(TcptraceError):  # noqa: N818
    """What was traced can't be written."""

    exit_code = 5


class Disagrees(TcptraceError):  # noqa: N818 - a finding, not a fault
    """What was counted differs from the kernel's own figures, and no counted loss explains it."""

    exit_code = 6


class FoundFaults(TcptraceError):  # noqa: N818 - a finding, not a fault of ours
    """`why` has a verdict at least."""

    exit_code = 7


class NotThere(TcptraceError):  # noqa: N818
    """What the command line names is not there; when a host boots it may come."""

    exit_code = 8
