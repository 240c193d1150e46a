"""Drains a BPF ring buffer through plain mappings: no bcc, no libbpf, no privilege.

Layout (Source: kernel/bpf/ringbuf.c, struct bpf_ringbuf): page 0 holds the consumer position and is
ours to write; page 1 holds the producer position; the data follows, mapped twice in a row so that a
record never wraps. Each record lies behind a header of 8 bytes: its length, whose two top bits say
that it is still being written (busy) or was given up (discarded), and a page offset.

The kernel has every page of a ring's mapping resident at once, so only the part is mapped that is
being read.
"""

from __future__ import annotations

import mmap
import select
import time
from typing import TYPE_CHECKING, Final

from tcptrace.wire import framing
from tcptrace.wire.framing import HEADER_SIZE

if TYPE_CHECKING:
    from tcptrace.wire.framing import Framing

_GATHER_S: Final = 0.1
"""Each wake-up costs more than a hundred records: whoever waits for some also waits for company."""
_LOOK_S: Final = 0.02
"""How often it is looked meanwhile how many have come."""
_ROOM_TO_GATHER: Final = 1 << 20
"""A smaller ring might be full by then."""
_PART_SIZE: Final = 1 << 19
"""Of the data, mapped at once: more than a batch. The next part costs some microseconds."""


class Ring:
    """The reading end of a ring whose records all have one size.

    Args:
        descriptor: the ring's map.
        data_size: bytes of its data area, a power of two.
        record_size: bytes of each record, a multiple of 8.
        handling: how records come out of their frames.
    """

    def __init__(
        self, descriptor: int, data_size: int, record_size: int, handling: Framing = framing
    ) -> None:
        self._framing = handling
        page = mmap.PAGESIZE
        self._descriptor = descriptor
        self._mask = data_size - 1
        self._enough = data_size // 8 if data_size >= _ROOM_TO_GATHER else 0
        self._stride = HEADER_SIZE + record_size
        self._consumer_page = mmap.mmap(descriptor, page, mmap.MAP_SHARED, offset=0)
        self._producer_page = mmap.mmap(
            descriptor, page, mmap.MAP_SHARED, mmap.PROT_READ, offset=page
        )
        # One aligned 8-byte store and load each: the memoryview's items are C unsigned longs.
        self._consumer = memoryview(self._consumer_page).cast("Q")
        self._producer = memoryview(self._producer_page).cast("Q")
        self._part_size = min(data_size, _PART_SIZE) + page
        self._map_part(self._consumer[0])
        self._poll = select.epoll()
        self._poll.register(descriptor, select.EPOLLIN)

    @property
    def is_filling(self) -> bool:
        """Whether it should be read soon: half of it is taken, or anything of a small one."""
        return self._producer[0] - self._consumer[0] > 4 * self._enough

    def wait(self, timeout_s: float) -> None:
        """Returns soon after there is something to read, or after the time."""
        if self._consumer[0] == self._producer[0]:
            self._poll.poll(timeout_s)
        end_s = time.monotonic() + min(_GATHER_S, timeout_s)
        while 0 < self._producer[0] - self._consumer[0] < self._enough:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                break
            time.sleep(min(_LOOK_S, left_s))

    def read(self, most: int) -> bytes:
        """Takes what is there.

        Args:
            most: at most so many records.

        Returns:
            The records end to end, without the ring's headers; empty if there is none.
        """
        begin = self._consumer[0]
        count = min(most, (self._producer[0] - begin) // self._stride)
        if count == 0:
            return b""
        if begin + count * self._stride > self._part_end:
            self._unmap_part()
            self._map_part(begin)
            count = min(count, (self._part_end - begin) // self._stride)
        at = begin - self._part_begin
        with self._data[at : at + count * self._stride] as span:
            batch, taken = self._framing.unframe(span, self._stride)
        self._consumer[0] = begin + taken * self._stride
        return batch

    def _map_part(self, position: int) -> None:
        """Maps the data from a position's page on: past the end it lies a second time."""
        page = mmap.PAGESIZE
        self._part_begin = position - position % page
        self._part_end = self._part_begin + self._part_size
        self._part = mmap.mmap(
            self._descriptor,
            self._part_size,
            mmap.MAP_SHARED,
            mmap.PROT_READ,
            offset=2 * page + (self._part_begin & self._mask),
        )
        self._data = memoryview(self._part)

    def _unmap_part(self) -> None:
        self._data.release()
        self._part.close()

    def close(self) -> None:
        """Unmaps the ring."""
        self._poll.close()
        self._unmap_part()
        self._consumer.release()
        self._producer.release()
        self._consumer_page.close()
        self._producer_page.close()
