"""The command `tcptrace`: finds the subcommand, and turns every error into one line and a code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

from tcptrace.cli import completion
from tcptrace.errors import CannotTrace, OutputFailed, TcptraceError
from tcptrace.notes import note, settle
from tcptrace.sinks.terminal import safe_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS: Final = (
    "why", "top", "port", "listeners", "serve", "record", "replay", "verify", "doctor",
)  # fmt: skip
_UNEXPECTED: Final = 70
_INTERRUPTED: Final = 130
EXIT_CODES: Final = {
    0: "done: traced or replayed, and what was checked is well",
    1: "doctor found something missing",
    2: "the command line is wrong",
    3: "this host, kernel or user can't trace: tcptrace doctor says why",
    4: "the file is not a recording, or is damaged; what was good has been shown",
    5: "the output can't be written; what had been recorded stays readable",
    6: "verify found a figure that is not the kernel's, and no counted loss is why",
    7: "why found something wrong",
    8: "an address to listen on, or a runtime's socket, is not there, or not yet",
    70: "an error that nobody foresaw: TCPTRACE_DEBUG=1 shows where; please report it",
    130: "interrupted before tracing began",
}
"""What each means, whatever the command; they never change."""
_STDERR: Final = 2
_DISK_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)


class _Commands(click.Group):
    """Imports a command only when it is asked for."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Adds the exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), means) for code, means in EXIT_CODES.items()])

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"tcptrace.cli.{cmd_name}").command
        return command


def _show_version(ctx: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    if is_asked and not ctx.resilient_parsing:
        from tcptrace.kernel.versions import version_lines  # noqa: PLC0415 - --help starts fast

        click.echo("\n".join(version_lines()))
        ctx.exit()


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the versions of tcptrace, kernel, bcc and Python, and exit.",
)
@click.pass_context
def tcptrace(ctx: click.Context) -> None:
    """Trace the kernel's TCP sockets live.

    Shows every connection's life, and both queues of every listener.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Runs the command line and exits."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line.

    Args:
        arguments: without the program's name.

    Returns:
        The exit code; errors.py lists them.
    """
    code = _ended(arguments)
    settle(sys.stdout)
    settle(sys.stderr)
    return code


def _ended(arguments: Sequence[str]) -> int:
    """Runs one command line, and says what went wrong; returns the exit code."""
    try:
        _ready_streams()
        code = _invoke(arguments)
        sys.stdout.flush()
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        return 0  # the reader has what it wanted
    except Exception as error:  # noqa: BLE001 - the one place that may: nobody is above it
        return _complain(error)
    return code


def _invoke(arguments: Sequence[str]) -> int:
    if asked := os.environ.get(completion.VARIABLE):
        return completion.complete(tcptrace, asked)
    # Whether there are colours is Paint's to say: click would take those away that were asked for.
    with tcptrace.make_context("tcptrace", list(arguments), color=True) as context:
        tcptrace.invoke(context)
    return 0


def _ready_streams() -> None:
    """Lets no comm or address that the terminal's encoding lacks end the trace, nor no stderr.

    Where that is closed, words go nowhere, and no file that is opened later gets its number.
    """
    if sys.stderr is None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _STDERR)
        if nowhere != _STDERR:
            os.close(nowhere)
        sys.stderr = open(_STDERR, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        raise OutputFailed("standard output is closed")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _complain(error: Exception) -> int:
    """Says in one line on stderr what is wrong; returns the exit code."""
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        error = OutputFailed(f"can't write the output: {error.strerror}")
    code = _UNEXPECTED
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "tcptrace"
        message = f"{error.format_message()} See {path} --help"
        code = error.exit_code
    elif isinstance(error, TcptraceError):
        message = str(error)
        if isinstance(error, CannotTrace) and "doctor" not in message:
            message += "; `tcptrace doctor` says what is missing"
        code = error.exit_code
    else:
        message = f"unexpected {type(error).__name__}: {error} (TCPTRACE_DEBUG=1 shows where)"
        if os.environ.get("TCPTRACE_DEBUG"):
            note(sys.stderr, "".join(traceback.format_exception(error)).rstrip())
    line = " ".join(message.split())
    note(sys.stderr, f"tcptrace: {safe_text(line)}")
    return code


if __name__ == "__main__":
    main()
