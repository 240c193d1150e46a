"""What every suite has in common."""

from __future__ import annotations

from contextlib import suppress

with suppress(ImportError):  # the matrix's guests have none: no live test generates anything
    from hypothesis import settings

    # How long an example takes says more of the machine's load than of what it tries.
    settings.register_profile("tcptrace", deadline=None)
    settings.load_profile("tcptrace")
