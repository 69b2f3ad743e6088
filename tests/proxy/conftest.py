"""The server behind the proxies of a module's tests."""

from __future__ import annotations

import pytest
from helpers.upstreams import scripted


@pytest.fixture(scope="module")
def upstream():
    with scripted() as started:
        yield started
