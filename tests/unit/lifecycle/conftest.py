from __future__ import annotations

import pytest

from unit.lifecycle.stream import Stream


@pytest.fixture
def stream() -> Stream:
    return Stream()
