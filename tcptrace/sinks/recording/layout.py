"""How a recording lies in its file.

    magic (14 bytes), format version (u16)
    block HEAD    the TraceHead as JSON
    block RECS    records end to end, with their stacks if the head says so     } any number,
    block SYMS    [[offset from _stext, name], …] as JSON, before its first use } in any order
    block LDGR    a reading of the ledger: see ledger.py                         }
    block NAME    names of cgroups and namespaces that are new: see names.py     }
    block LOST    how many records the ring has lost until here (u64)            }
    block DONE    how it ended as JSON; not there if the writer was killed

A block is its tag (4 bytes), its payload's length and CRC-32 (u32 each), the CRC-32 of these 12
bytes (u32), and the payload. All numbers are little-endian. The writer only appends, so whatever
stops it, all blocks but the last are whole; the reader trusts nothing, and never reserves more
memory than MAX_PAYLOAD.
"""

from __future__ import annotations

import struct
from typing import Final

MAGIC: Final = b"\x89tcptrace\r\n\x1a\n\0"
FORMAT_VERSION: Final = 1
MAX_PAYLOAD: Final = 1 << 20
"""Bytes in one block at most."""
START: Final = struct.Struct(f"<{len(MAGIC)}sH")
FRONT: Final = struct.Struct("<4sII")
CRC: Final = struct.Struct("<I")
COUNT: Final = struct.Struct("<Q")
HEAD: Final = b"HEAD"
RECS: Final = b"RECS"
SYMS: Final = b"SYMS"
LDGR: Final = b"LDGR"
NAME: Final = b"NAME"
LOST: Final = b"LOST"
DONE: Final = b"DONE"
