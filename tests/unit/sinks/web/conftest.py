from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from unit.sinks.web import certificates as making

if TYPE_CHECKING:
    from unit.sinks.web.certificates import Certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return making.make(tmp_path_factory.mktemp("certificates"))
