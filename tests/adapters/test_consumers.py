import asyncio

import pytest

from stream_app.adapters.consumers import stop_consumer


class Client:
    closed = False

    async def close(self) -> None:
        self.closed = True


class LeakyConsumer:
    """Stops as aiokafka's consumer does while a fetch is under way: it awaits the request that it cancelled."""

    def __init__(self) -> None:
        self._client = Client()

    async def stop(self) -> None:
        request = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        request.cancel()
        await request
        await self._client.close()


async def test_a_leaked_cancellation_is_not_taken_for_ours_and_the_client_is_closed() -> None:
    consumer = LeakyConsumer()
    await stop_consumer(consumer)
    assert consumer._client.closed


async def test_our_own_cancellation_comes_out() -> None:
    class Slow(LeakyConsumer):
        async def stop(self) -> None:
            await asyncio.sleep(60)

    stopping = asyncio.create_task(stop_consumer(Slow()))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
