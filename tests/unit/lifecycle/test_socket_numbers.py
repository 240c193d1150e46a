"""Numbers of sockets, sample by sample."""

from __future__ import annotations

from tcptrace.lifecycle.figures import CURR_ESTAB
from tcptrace.lifecycle.socket_numbers import SAMPLES, SocketNumbers
from unit.slots import NETNS


class TestSocketNumbers:
    def told(self, *samples: tuple[int, int]) -> int:
        """The difference after samples of the kernel's number and ours."""
        numbers = SocketNumbers()
        for kernel, mine in samples:
            numbers.add(NETNS, CURR_ESTAB, (kernel, kernel), (mine, mine))
        (one,) = numbers.comparisons()
        assert (one.kernel, one.ours) == samples[-1]
        return one.difference

    def test_a_lasting_difference_is_told_by_its_least(self) -> None:
        assert self.told(*[(5, 7)] * SAMPLES) == 2
        assert self.told((5, 1), *[(5, 3)] * SAMPLES, (5, 4)) == -1

    def test_one_that_passes_is_none(self) -> None:
        assert self.told(*[(5, 7)] * (SAMPLES - 1), (6, 6)) == 0
        assert self.told(*[(5, 7), (5, 4)] * SAMPLES) == 0

    def test_too_few_samples_say_nothing(self) -> None:
        assert self.told(*[(5, 7)] * (SAMPLES - 1)) == 0

    def test_whatever_it_was_in_between_can_be_the_same(self) -> None:
        numbers = SocketNumbers()
        for _ in range(SAMPLES):
            numbers.add(NETNS, CURR_ESTAB, (9, 5), (4, 6))
        assert [one.difference for one in numbers.comparisons()] == [0]

    def test_it_forgets(self) -> None:
        numbers = SocketNumbers()
        for netns in (NETNS, 7):
            numbers.add(netns, CURR_ESTAB, (1, 1), (1, 1))
        numbers.keep({7})
        assert [one.netns for one in numbers.comparisons()] == [7]
        numbers.restart()
        assert not list(numbers.comparisons())
