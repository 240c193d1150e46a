"""A function to whose return no further program can be attached: `python occupied.py FUNCTION`.

The kernel takes some 38 programs by trampoline at one function. Says how many it took, and holds
them until its standard input ends.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tcptrace.kernel.binding import NotAttached, attach_one, compile_text, import_bcc
from tcptrace.kernel.btf import Btf
from tcptrace.kernel.hooks import Carrier, Hook, Program, entry_points

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST: Final = 100
_NOTHING: Final = """\
#include <uapi/linux/ptrace.h>
static __always_inline int on_nothing(void *ctx, bool typed, void *result)
{
    return 0;
}
"""


@contextmanager
def occupied(function: str) -> Iterator[None]:
    """Takes all the room there is at a function's return, if the kernel has such a function."""
    if f" {function}\n" not in Path("/proc/kallsyms").read_text():
        yield
        return
    with subprocess.Popen(
        [sys.executable, __file__, function],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline().startswith("took ")
        yield
        holder.stdin.close()


def main() -> None:
    bcc, btf = import_bcc(), Btf.of_kernel()
    program = Program(Hook(sys.argv[1], "on_nothing", (), "", returns=True), Carrier.FEXIT, 0)
    points, functions = entry_points([program], btf.arguments)
    module = compile_text(bcc, _NOTHING + points, [])
    for count in range(_MOST):
        try:
            attach_one(bcc, module, functions, (program,), lambda _: btf.function(sys.argv[1]) or 0)
        except NotAttached:
            print("took", count, flush=True)
            sys.stdin.read()
            return


if __name__ == "__main__":
    main()
