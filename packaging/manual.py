"""Writes the manual page from the commands' own help, `python -m packaging.manual`."""

from __future__ import annotations

import sys

import click

from tcptrace import __version__
from tcptrace.cli.main import EXIT_CODES, tcptrace


def _roff(text: str) -> str:
    """Text as roff takes it literally: no line may begin with a control character."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return "\n".join(
        rf"\&{line}" if line[:1] in {".", "'"} else line for line in escaped.split("\n")
    )


def _paragraph(text: str) -> str:
    return _roff(" ".join((text or "").replace("\b", "").split()))


def _options(command: click.Command, context: click.Context) -> str:
    told = [record for record in (one.get_help_record(context) for one in command.params) if record]
    return "".join(f".TP\n.B {_roff(name)}\n{_paragraph(what)}\n" for name, what in told)


def page() -> str:
    """The page, in roff."""
    context = click.Context(tcptrace, info_name="tcptrace")
    text = f'.TH TCPTRACE 8 "" "tcptrace {__version__}"\n.SH NAME\ntcptrace \\- '
    text += f"{_paragraph(tcptrace.help or '').partition('.')[0]}\n"
    text += ".SH SYNOPSIS\n.B tcptrace\n.I COMMAND\n[OPTIONS]\n"
    text += f".SH DESCRIPTION\n{_paragraph(tcptrace.help or '')}\n"
    text += ".SH COMMANDS\n"
    for name in tcptrace.list_commands(context):
        command = tcptrace.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        usage = " ".join(command.collect_usage_pieces(inner))
        text += f".SS tcptrace {_roff(name)} {_roff(usage)}\n{_paragraph(command.help or '')}\n"
        text += _options(command, inner)
    text += ".SH EXIT STATUS\nThe same for every command.\n"
    for code, means in EXIT_CODES.items():
        text += f".TP\n.B {code}\n{_paragraph(means)}\n"
    return text + ".SH FILES\n.I /etc/default/tcptrace\n\\(en more options for the service\n"


if __name__ == "__main__":
    sys.stdout.write(page())
