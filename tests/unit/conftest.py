"""What several unit tests ask for: the loop they run on, and a small house with a client at its door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.small_house import SmallHouse, client_of


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SmallHouse]:
    made = SmallHouse(tmp_path)
    yield made
    made.close()


@pytest.fixture
async def client(house: SmallHouse) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(house) as made:
        yield made
