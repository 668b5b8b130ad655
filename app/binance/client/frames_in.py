"""From the server's bytes to whole messages: the reading half of a WebSocket client, without I/O.

Almost every frame of a market-data stream is a short, whole, uncompressed text frame. Those are
handed on where they lie in the receive buffer, many per segment, without a copy. Everything else
(the handshake, control frames, fragments, compressed frames, frames that do not fit the buffer,
anything wrong) is given to websockets' `ClientProtocol`, byte for byte and frame by frame: it never
holds a part of a frame that we would read ourselves, so the two can take turns.

Text is not checked to be UTF-8 here: whoever decodes the JSON does that while reading it.
"""

from __future__ import annotations

from collections.abc import Callable

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State

# 64 KiB hold some 400 trades: few system calls in a burst, and about a millisecond of work a turn.
BUFFER_BYTES = 64 * 1024

# First bytes of text and binary frames with FIN set and no reserved bit.
_PLAIN = frozenset((0x81, 0x82))
_MASKED = 0x80
_END_OF_HEAD = b"\r\n\r\n"


class FrameReader:
    """Cuts what a server sends into messages and calls `on_frame` with each, in order.

    The bytes go into `get_buffer()`, their number into `received()`. A close frame that the
    protocol wants to send waits in `protocol.data_to_send()`. Pings are not answered here:
    `on_ping` gets their payload, and must take what it sends from `data_to_send()` before it
    returns; `on_pong` gets the payload of pongs. `max_message_bytes` is the limit that the protocol
    was made with: it refuses what is larger (1009). The view that `on_frame` gets is valid during
    the call only: it is released afterwards, so that a use too late raises `ValueError` instead of
    reading another frame's bytes.
    """

    def __init__(
        self,
        protocol: ClientProtocol,
        on_frame: Callable[[memoryview], object],
        *,
        on_ping: Callable[[bytes], object],
        on_pong: Callable[[bytes], object],
        max_message_bytes: int,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self.messages_in_place = 0
        self.messages_forwarded = 0  # put together by the protocol
        self.views_kept = 0  # views that something else held on to after the call
        self.bytes_received = 0
        self.pings = 0
        self.last_ping: bytes | None = None
        self._protocol = protocol
        self._on_frame = on_frame
        self._on_ping = on_ping
        self._on_pong = on_pong
        self._max_message_bytes = max_message_bytes  # the protocol's own limit, for its share
        self._buffer = bytearray(buffer_bytes)
        self._view = memoryview(self._buffer)
        self._held = 0  # bytes of an unfinished frame, at the start of the buffer
        self._forwarding = 0  # bytes of the present frame that still belong to the protocol
        self._fragments: bytearray | None = None  # a fragmented message, as far as it came
        self._head_tail = b""  # the last bytes of an unfinished handshake
        self._stopped = False

    @property
    def messages(self) -> int:
        """Whole messages delivered, either way."""
        return self.messages_in_place + self.messages_forwarded

    def stop(self) -> None:
        """Deliver nothing more, not even what is in the buffer already."""
        self._stopped = True

    def get_buffer(self) -> memoryview:
        """Return where the next bytes go; never empty."""
        return self._view[self._held :]

    def received(self, size: int) -> None:
        """Take `size` bytes that were put into the buffer."""
        self.bytes_received += size
        end = self._held + size
        position = self._held = 0
        if self._protocol.state is State.CONNECTING:
            position = self._forward_handshake(end)
        while position < end and self._reading():
            if self._forwarding:
                position = self._forward(position, min(end, position + self._forwarding))
                continue
            if self._fragments is None:
                position = self._deliver_in_place(position, end)
                if not self._reading():
                    return
            frame_bytes = self._frame_bytes(position, end)
            if frame_bytes == 0 or self._worth_waiting_for(position, end, frame_bytes):
                self._hold(position, end)
                return
            self._forwarding = frame_bytes

    def _reading(self) -> bool:
        return self._protocol.state is State.OPEN and not self._stopped

    def _deliver_in_place(self, position: int, end: int) -> int:
        """Hand on whole plain data frames; return where the first other thing starts."""
        buffer, view, on_frame, plain = self._buffer, self._view, self._on_frame, _PLAIN
        limit = self._max_message_bytes
        delivered = 0
        while position + 2 <= end and buffer[position] in plain:
            size = buffer[position + 1]
            body = position + 2
            if size >= 126:
                body += 2
                # A 64-bit length is more than the buffer holds, and a masked frame is an error.
                if size != 126 or body > end:
                    break
                size = buffer[body - 2] << 8 | buffer[body - 1]
            after = body + size
            if after > end or size > limit:
                break
            delivered += 1
            frame = view[body:after]
            on_frame(frame)
            try:
                frame.release()
            except BufferError:  # the traceback of an error, say, still holds what it was about
                self.views_kept += 1
            position = after
            if self._stopped:
                break
        self.messages_in_place += delivered
        return position

    def _frame_bytes(self, position: int, end: int) -> int:
        """Return the size of the frame at `position`, header included; 0 while that is unknown."""
        if position + 2 > end:
            return 0
        code = self._buffer[position + 1] & ~_MASKED
        header = 2 if code < 126 else 4 if code == 126 else 10
        if position + header > end:
            return 0
        if code < 126:
            size = code
        else:
            size = int.from_bytes(self._view[position + 2 : position + header], "big")
        # The protocol refuses a masked frame at its second byte, so where it ends is no matter.
        return header + size

    def _worth_waiting_for(self, position: int, end: int, frame_bytes: int) -> bool:
        """Whether the frame at `position` is a plain one that can be read in place once whole."""
        return (
            self._fragments is None
            and self._buffer[position] in _PLAIN
            and self._buffer[position + 1] < 127
            and end - position < frame_bytes <= min(len(self._buffer), self._max_message_bytes)
        )

    def _hold(self, position: int, end: int) -> None:
        """Move an unfinished frame to the start of the buffer, where its rest will follow."""
        self._held = end - position
        if position:
            self._view[: self._held] = self._view[position:end]

    def _forward(self, position: int, stop: int) -> int:
        """Give the protocol its part of the buffer: at most up to the end of one frame."""
        self._protocol.receive_data(bytes(self._view[position:stop]))
        self._forwarding -= stop - position
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        return stop

    def _forward_handshake(self, end: int) -> int:
        """Give the protocol the reply to the handshake, and nothing of what may follow it."""
        data = bytes(self._view[:end])
        searched = self._head_tail + data
        found = searched.find(_END_OF_HEAD)
        stop = end if found < 0 else found + len(_END_OF_HEAD) - len(self._head_tail)
        self._head_tail = searched[1 - len(_END_OF_HEAD) :]
        self._protocol.receive_data(data[:stop])
        if stop < end and self._protocol.state is State.CONNECTING:
            self._protocol.receive_data(data[stop:])  # the body of a refusal
            stop = end
        self._protocol.events_received()
        return stop

    def _take(self, frame: Frame) -> None:
        """Act on a frame that the protocol has read; it sees to close frames itself."""
        if frame.opcode is Opcode.PING:
            # The protocol has answered already. Its answer is dropped: when to send one is decided
            # by whoever counts what we send. Nothing else can wait there to be sent.
            self._protocol.data_to_send()
            self.pings += 1
            self.last_ping = bytes(frame.data)
            self._on_ping(self.last_ping)
        elif frame.opcode is Opcode.PONG:
            self._on_pong(bytes(frame.data))
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if self._fragments is None and frame.fin:
                self._deliver(frame.data)
                return
            if self._fragments is None:
                self._fragments = bytearray()
            self._fragments += frame.data
            if frame.fin:
                message, self._fragments = self._fragments, None
                self._deliver(message)

    def _deliver(self, message: bytes | bytearray | memoryview) -> None:
        """Hand on a message that the protocol has put together."""
        self.messages_forwarded += 1
        frame = memoryview(message)
        self._on_frame(frame)
        try:
            frame.release()
        except BufferError:
            self.views_kept += 1
