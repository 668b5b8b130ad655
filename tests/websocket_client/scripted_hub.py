"""A small hub whose connections do what a test says, and messages for it to send."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from decimal import Decimal

import websockets
from websockets.typing import Subprotocol

from websocket_client.ws_client import message_of, to_json

START = 1_731_232_845
EPOCH = 1_731_232_800_000


def since(sequence, epoch=EPOCH):
    """Return a position as it stands in requests and replies."""
    return {"epoch": epoch, "sequence": sequence}


def candle_fields(second=0, symbol="BTCUSDT", **changes):
    """Return a message of the candles channel, `second` s after the start."""
    return {
        "symbol": symbol,
        "timestamp": "2024-11-10 15:30:45 IST",
        "open": Decimal("43250.50"),
        "high": Decimal("43275.00"),
        "low": Decimal("43240.20"),
        "close": Decimal("43260.75"),
        "open_time": (START + second) * 1_000,
        "volume": Decimal("0.00000000"),
        "quote_volume": 0,
        "trades": 87,
        "taker_buy_volume": Decimal("0.00000000"),
        "taker_buy_quote_volume": 0,
        "first_trade_id": 4_123_456_789,
        "last_trade_id": 4_123_456_875,
        "complete": True,
        "revision": 0,
        "source": "binance",
        "channel": "candles",
        "interval": "1s",
        "epoch": EPOCH,
        "sequence": second + 1,
        **changes,
    }


def trade_fields(number, **changes):
    """Return a message of the trades channel."""
    return {
        "symbol": "BTCUSDT",
        "id": number,
        "price": Decimal("43250.50"),
        "quantity": Decimal("0.05234"),
        "timestamp": "2024-11-10 15:30:45 IST",
        "time": START * 1_000,
        "buyer_is_maker": True,
        "channel": "trades",
        "source": "binance",
        "epoch": EPOCH,
        "sequence": number,
        **changes,
    }


def hole_fields(**changes):
    """Return a message of the status channel."""
    return {
        "symbol": "BTCUSDT",
        "event": "hole_found",
        "first_trade_id": 5,
        "last_trade_id": 9,
        "from": START * 1_000,
        "to": (START + 2) * 1_000,
        "timestamp": "2024-11-10 15:30:48 IST",
        "time": (START + 3) * 1_000,
        "channel": "status",
        "source": "binance",
        "epoch": EPOCH,
        "sequence": 1,
        **changes,
    }


def candle(second=0, symbol="BTCUSDT", **changes):
    """Return a candle as the client yields it."""
    return message_of(candle_fields(second, symbol, **changes))


def trade(number, **changes):
    """Return a trade as the client yields it."""
    return message_of(trade_fields(number, **changes))


def hole(**changes):
    """Return a status as the client yields it."""
    return message_of(hole_fields(**changes))


class Session:
    """One connection of a client, seen from the hub."""

    def __init__(self, hub, connection):
        self.hub = hub
        self.connection = connection

    async def heard(self):
        """Take one request."""
        request = json.loads(await self.connection.recv())
        self.hub.said.append(request)
        return request

    async def answer(self, *positions, **result):
        """Take one request and answer it; `positions` is the newest sequence of the hub."""
        request = await self.heard()
        if positions:
            result["position"] = {"epoch": EPOCH, "sequence": positions[0]}
        await self.connection.send(json.dumps({"id": request["id"], "result": result}))
        return request

    async def refuse(self, code, message):
        """Take one request and refuse it."""
        request = await self.heard()
        error = {"code": code, "message": message}
        await self.connection.send(json.dumps({"id": request["id"], "error": error}))

    async def send(self, *messages):
        """Send data messages, one by one."""
        for message in messages:
            await self.connection.send(to_json(message))

    async def send_batch(self, *messages):
        """Send data messages in one."""
        await self.connection.send(to_json({"batch": list(messages)}))

    async def stay(self):
        """Wait until the client goes."""
        await self.connection.wait_closed()


class Hub:
    """Each connection runs the next script; what clients say is kept.

    A script gets the session and closes by returning; or it is a status and headers, with which the
    upgrade is refused.
    """

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.said = []
        self.paths = []
        self.sessions = []
        self.url = ""

    def process_request(self, connection, request):
        """Refuse the upgrade if the next script says so."""
        self.paths.append(request.path)
        if isinstance(self.scripts[0], tuple):
            status, headers = self.scripts.pop(0)
            response = connection.respond(status, "not like this\n")
            for name, value in headers.items():
                response.headers[name] = value
            return response
        return None

    async def serve(self, connection):
        """Run the next script."""
        session = Session(self, connection)
        self.sessions.append(session)
        await self.scripts.pop(0)(session)


@asynccontextmanager
async def scripted(*scripts, **options):
    """Run a small hub on a free port."""
    hub = Hub(*scripts)
    serving = websockets.serve(
        hub.serve,
        "127.0.0.1",
        0,
        process_request=hub.process_request,
        subprotocols=[Subprotocol("candlewire.json"), Subprotocol("candlewire.protobuf")],
        **options,
    )
    async with serving as server:
        port = server.sockets[0].getsockname()[1]
        hub.url = f"ws://127.0.0.1:{port}"
        yield hub


def sends(*messages, close=None, requests=1, **result):
    """Return a script: answer requests, send messages, and close or wait for the client to go."""

    async def script(session):
        for _ in range(requests):
            await session.answer(**result)
        await session.send(*messages)
        if close is None:
            await session.stay()
        else:
            await session.connection.close(close)

    return script
