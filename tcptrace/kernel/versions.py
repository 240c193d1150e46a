"""What runs here, in versions: found by looking, without bcc, in a moment, with any privileges."""

from __future__ import annotations

import platform
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from tcptrace import __version__

DIST_PACKAGES: Final = (
    "/usr/lib/python3/dist-packages",
    *(f"/usr/lib/python3.{minor}/site-packages" for minor in range(14, 5, -1)),
)
"""Where distributions put bcc's Python binding; pure Python, any Python 3 imports it."""
_BTF: Final = Path("/sys/kernel/btf/vmlinux")
_KPROBES: Final = Path("/sys/bus/event_source/devices/kprobe/type")
_VERSION: Final = re.compile(r"""__version__ *= *["']([0-9A-Za-z.+~-]{1,40})["']""")
_MOST_READ: Final = 4096


def version_lines() -> list[str]:
    """Each part with its version, a line each; what is missing says so."""
    return [
        f"tcptrace {__version__}",
        f"kernel {platform.release()} ({platform.machine()})",
        f"bcc {bcc_version()}",
        f"Python {platform.python_version()}",
        f"carriers {carriers()}",
    ]


def bcc_version() -> str:
    """The version of bcc's Python binding, read from its file."""
    for place in dict.fromkeys([*(place for place in sys.path if place), *DIST_PACKAGES]):
        package = Path(place, "bcc")
        with suppress(OSError, ValueError):
            if not package.is_dir():
                continue
            if not (package / "libbcc.py").is_file():
                return f"not installed: {package} is PyPI's bcc, which is something else"
            with (package / "version.py").open(encoding="utf-8", errors="replace") as file:
                found = _VERSION.search(file.read(_MOST_READ))
            return found[1] if found else f"of an unknown version, in {package}"
    return "not installed: apt-get install python3-bpfcc"


def carriers() -> str:
    """What may carry the hooks here, as far as that can be seen from outside."""
    possible = {"fentry": _is_there(_BTF), "kprobe": _is_there(_KPROBES)}
    names = [name for name, is_possible in possible.items() if is_possible]
    if not names:
        return "none: this kernel offers neither BTF nor kprobes"
    return f"{', '.join(names)} (tcptrace doctor tries them)"


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
