"""A bare YKC client for benchmarks: many sockets, frames made before the clock starts, no library in between.

The frames are written down here byte by byte, not through the codec that is measured; only the check bytes
come from the compiled CRC.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence

import fastcrc

HEARTBEAT_ANSWER = 0x04
HEARTBEAT_ANSWER_BYTES = 17
FIRST_CODE = 32010600100001
ANSWER_WITHIN_S = 10.0
SETTLE_S = 1.0
"""A connection is ready when nothing came for so long after its billing model."""


def frame(frame_type: int, body: bytes, sequence: int = 0) -> bytes:
    """One whole frame (YKC 1.6, frame envelope)."""
    covered = sequence.to_bytes(2, "little") + bytes((0, frame_type)) + body
    return b"\x68" + bytes((len(covered),)) + covered + fastcrc.crc16.modbus(covered).to_bytes(2, "little")


def pile_no(code: int | str) -> bytes:
    """A pile number on the wire: 7 bytes of packed decimal digits."""
    return bytes.fromhex(f"{int(code):014d}")


def login(code: int | str, guns: int = 2) -> bytes:
    """0x01: a DC pile, version 1.6, on a LAN."""
    return frame(0x01, pile_no(code) + bytes((0, guns, 0x10)) + b"V1.0.0\0\0" + b"\x01" + bytes(10) + b"\x04")


def heartbeat(code: int | str, gun: int = 1, sequence: int = 0) -> bytes:
    """0x03: 17 bytes, healthy."""
    return frame(0x03, pile_no(code) + bytes((gun, 0)), sequence)


def real_time(code: int | str, gun: int = 1, sequence: int = 0) -> bytes:
    """0x13: 68 bytes, an idle gun in its holder."""
    body = bytes(16) + pile_no(code) + bytes((gun, 2, 1, 0)) + bytes(33)
    return frame(0x13, body, sequence)


def _set_time_answer(question: bytes) -> bytes:
    return frame(0x55, question[6:20], int.from_bytes(question[2:4], "little"))


def _done(frame_type: int) -> Callable[[bytes], bytes]:
    def answer(question: bytes) -> bytes:
        return frame(frame_type, question[6:13] + b"\x01", int.from_bytes(question[2:4], "little"))

    return answer


_ANSWERS: dict[int, Callable[[bytes], bytes]] = {
    0x06: lambda question: frame(0x09, question[6:13]) if question[15] else b"",
    0x12: lambda question: real_time(question[6:13].hex(), question[13]),
    0x52: _done(0x51),
    0x56: _set_time_answer,
    0x58: _done(0x57),
}


class BareConnection:
    """One blocking socket that logged in; `buffer` holds what is not yet a whole frame."""

    def __init__(self, port: int, code: int) -> None:
        self.code = code
        self.buffer = b""
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.heartbeat = heartbeat(code)
        self.real_time = real_time(code)

    def power_on(self) -> None:
        """Log in and take the tariff as a pile does (YKC 1.6, 上电流程), until the platform asks no more."""
        self.socket.sendall(login(self.code))
        self._until(0x02)
        self.socket.sendall(frame(0x05, pile_no(self.code) + bytes(2)))
        self._until(0x06)
        self.socket.sendall(self.real_time)

    def _until(self, frame_type: int) -> None:
        self.socket.settimeout(10)
        while frame_type not in self.take(self.socket.recv(4096)):
            pass

    def take(self, data: bytes) -> list[int]:
        """Split what came into frames, answer the platform's questions, give the frame types."""
        if not data:
            raise ConnectionError(f"the server closed the connection of pile {self.code}")
        self.buffer += data
        types = []
        while len(self.buffer) > 5 and len(self.buffer) >= (size := self.buffer[1] + 4):
            whole, self.buffer = self.buffer[:size], self.buffer[size:]
            types.append(whole[5])
            if (answer := _ANSWERS.get(whole[5])) and (out := answer(whole)):
                self.socket.sendall(out)
        return types


class BareFleet:
    """Connections that are driven in rounds: each sends, then all answers are awaited."""

    def __init__(self, port: int, count: int, *, power_on: bool) -> None:
        self.connections = [BareConnection(port, FIRST_CODE + index) for index in range(count)]
        self._poll = select.epoll()
        self._by_fd = {}
        for connection in self.connections:
            if power_on:
                connection.power_on()
            self._poll.register(connection.socket.fileno(), select.EPOLLIN)
            self._by_fd[connection.socket.fileno()] = connection
        self._settle()
        for connection in self.connections:
            connection.socket.setblocking(False)

    def _settle(self) -> None:
        while events := self._poll.poll(SETTLE_S):
            for fd, _ in events:
                self._by_fd[fd].take(self._by_fd[fd].socket.recv(4096))

    def round(self, bursts: Sequence[Sequence[bytes]]) -> None:
        """Send each burst (a frame a connection) as writes of their own, then await all heartbeat answers."""
        for burst in bursts:
            for connection, data in zip(self.connections, burst, strict=True):
                connection.socket.send(data)
        waiting = len(self.connections)
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while waiting:
            # Without sleeping: to wake a sleeping client costs the server that wakes it, and the faster
            # server of two would pay less for each answer only because its client never sleeps.
            events = self._poll.poll(0)
            if not events and time.monotonic() > deadline:
                raise TimeoutError(f"{waiting} heartbeats were not answered within {ANSWER_WITHIN_S} s")
            for fd, _ in events:
                connection = self._by_fd[fd]
                data = connection.socket.recv(4096)
                if len(data) == HEARTBEAT_ANSWER_BYTES and data[5] in (HEARTBEAT_ANSWER, 0x03):
                    waiting -= 1
                else:
                    waiting -= sum(1 for kind in connection.take(data) if kind in (HEARTBEAT_ANSWER, 0x03))

    def heartbeats(self) -> list[bytes]:
        """One heartbeat for each connection."""
        return [connection.heartbeat for connection in self.connections]

    def real_times(self) -> list[bytes]:
        """One real-time frame for each connection."""
        return [connection.real_time for connection in self.connections]

    def close(self) -> None:
        """Close all sockets."""
        self._poll.close()
        for connection in self.connections:
            connection.socket.close()


def wait_for_port(port: int, seconds: float = 30) -> None:
    """Wait until something listens on a port of 127.0.0.1."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # between two attempts of a process that is just starting
