"""Several plays at once, each on a stage and in a process of its own.

`python -m tests.faults.troupe [NAME]…` prints one line of JSON once all is set up (by name: network
namespaces and process), has all of it happen when a line comes, and ends when its input does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from .near import NEAR
from .others import OTHERS
from .plays import PLAYS
from .stage import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .plays import Play

_FIRST_NETWORK: Final = 20
_READY: Final = b"r"
_GO: Final = b"g"


class Actor:
    """One play, in a process that was forked for it.

    Args:
        name: of the play; its process is called so.
        play: what happens.
        network: of its stage.
    """

    def __init__(self, name: str, play: Play, network: int) -> None:
        self.name = name
        self.play = play
        self._stack = ExitStack()
        self.stage = self._stack.enter_context(Stage(f"{network}", network))
        ready, self._is_ready = os.pipe()
        self._may_go, go = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            self._act()
        os.close(self._is_ready)
        os.close(self._may_go)
        self._ready, self._go = ready, go

    def _act(self) -> None:
        """In the child: never returns."""
        status = 1
        try:
            Path("/proc/self/comm").write_text(self.name[:15], encoding="ascii")
            script = self.play.play(self.stage)
            next(script)
            os.write(self._is_ready, _READY)
            os.read(self._may_go, 1)
            next(script, None)
            self.stage.loop.run(3600)
            status = 0
        except BaseException:  # noqa: BLE001 - a fork must not run what its parent has begun
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def wait_until_ready(self) -> None:
        """Waits until everything is set up."""
        assert os.read(self._ready, 1) == _READY, f"{self.name} could not be set up"

    def go(self) -> None:
        """Lets it happen."""
        os.write(self._go, _GO)

    @property
    def has_ended(self) -> bool:
        """Whether it ended by itself, which it should not."""
        return os.waitpid(self.pid, os.WNOHANG)[0] == self.pid

    def end(self) -> None:
        """Ends it, and takes its stage down."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self._ready)
        os.close(self._go)
        self._stack.close()


class Troupe:
    """All actors.

    Args:
        plays: by name.
    """

    def __init__(self, plays: Mapping[str, Play]) -> None:
        self.actors: dict[str, Actor] = {}
        try:
            for number, (name, play) in enumerate(plays.items()):
                self.actors[name] = Actor(name, play, _FIRST_NETWORK + number)
            for actor in self.actors.values():
                actor.wait_until_ready()
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def go(self) -> None:
        """Lets all of it happen."""
        for actor in self.actors.values():
            actor.go()

    def end(self) -> None:
        """Ends all of it."""
        for actor in self.actors.values():
            actor.end()


def main(names: list[str]) -> int:
    """Plays what it is told until its input ends; fails if a play ended before."""
    every = {**NEAR, **OTHERS, **PLAYS}
    with Troupe({name: every[name] for name in names or every}) as troupe:
        told = {
            name: {
                "server": actor.stage.server.inode,
                "client": actor.stage.client.inode,
                "pid": actor.pid,
            }
            for name, actor in troupe.actors.items()
        }
        print(json.dumps(told), flush=True)
        if sys.stdin.readline():
            troupe.go()
            sys.stdin.read()
        ended = [name for name, actor in troupe.actors.items() if actor.has_ended]
    if ended:
        print(f"faults: ended early: {', '.join(ended)}", file=sys.stderr)
    return bool(ended)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
