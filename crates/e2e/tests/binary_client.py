"""A client of Courant's binary protocol, written from docs/doors/binary.md and nothing else.

Called as: HOST PORT publish|take COUNT [FIRST]. Each message is its number, as text.
"""
import socket
import struct
import sys

CONNECT, PUBLISH, SUBSCRIBE, SETTLE, PING, PONG, GET, LINE, QUIT = 5, 1, 2, 3, 4, 8, 9, 11, 19
UNSUBSCRIBE = 6
OK, CONFIRM, DELIVER, ASKED, PONGED, REFUSED = 0x80, 0x81, 0x82, 0x85, 0x86, 0x8F


class Link:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=30)
        self.held = b""
        self.has_ended = False
        self.send(CONNECT, struct.pack(">IB", 1, 1) + b'{"client_id":"python"}')
        self.ok(1)

    def send(self, number, body):
        self.socket.sendall(struct.pack(">BI", number, len(body)) + body)

    def receive(self):
        """The next frame; PINGs are answered. Deliveries that were on their way when the
        subscription ended are passed over: they go back with the session."""
        while True:
            while len(self.held) < 5 or len(self.held) < 5 + struct.unpack(">I", self.held[1:5])[0]:
                more = self.socket.recv(1 << 16)
                if not more:
                    return None, b""
                self.held += more
            number, length = struct.unpack(">BI", self.held[:5])
            body, self.held = self.held[5 : 5 + length], self.held[5 + length :]
            if number == ASKED:
                self.send(PONG, b"")
            elif number != DELIVER or not self.has_ended:
                return number, body

    def ok(self, req):
        number, body = self.receive()
        assert number == OK, (number, body)
        answered, count = struct.unpack(">II", body[:8])
        assert answered == req, (answered, req)
        return count, body[8:]

    def line(self, req, line):
        self.send(LINE, struct.pack(">I", req) + line)
        return self.ok(req)[1]


def destination(kind, name, key=b""):
    return bytes([kind, len(name)]) + name + bytes([len(key)]) + key


ORDERS = destination(1, b"orders")


def publish(link, count, batch=100):
    link.line(2, b"DECLARE queue:orders")
    for first in range(0, count, batch):
        numbers = range(first, min(first + batch, count))
        messages = b"".join(struct.pack(">I", len(str(n))) + str(n).encode() for n in numbers)
        link.send(PUBLISH, struct.pack(">IB", 1000 + first, 0) + ORDERS + messages)
    confirmed, last = 0, 0
    while confirmed < count:
        number, body = link.receive()
        assert number == CONFIRM, (number, body)
        for at in range(0, len(body), 27):
            req, index, many, level, queues, _, seq = struct.unpack(">IIIBIHQ", body[at : at + 27])
            assert (level, queues) == (0, 1), (level, queues)
            assert req - 1000 + index == confirmed, (req, index, confirmed)
            assert seq > last, (seq, last)
            confirmed, last = confirmed + many, seq + many - 1
    return confirmed


def deliveries(body):
    at = 4
    while at < len(body):
        flags, handle, attempt = struct.unpack(">B18sH", body[at : at + 21])
        assert flags & ~2 == 0, flags
        (length,) = struct.unpack(">I", body[at + 21 : at + 25])
        yield handle, attempt, body[at + 25 : at + 25 + length]
        at += 25 + length
    assert at == len(body)


def take(link, count, first):
    options = struct.pack(">IQQ", 500, 0, 0)
    link.send(SUBSCRIBE, struct.pack(">IIB", 5, 1, 4) + ORDERS + b"\0" + options)
    link.ok(5)
    taken = []
    while len(taken) < count:
        number, body = link.receive()
        assert number == DELIVER and body[:4] == b"\0\0\0\1", (number, body[:20])
        handles = []
        for handle, _, payload in deliveries(body):
            if len(taken) < count:
                taken.append(int(payload))
                handles.append(handle)
        link.send(SETTLE, struct.pack(">IBBQ", 0, 1, 0, 0) + b"".join(handles))
    assert taken == list(range(first, first + count)), taken[:10]
    link.send(UNSUBSCRIBE, struct.pack(">II", 6, 1))
    link.has_ended = True
    link.ok(6)
    # A handle that is open no more; and what was settled is on disk when this is answered.
    link.send(SETTLE, struct.pack(">IBBQ", 7, 1, 1, 0) + handles[-1])
    number, body = link.receive()
    req, index, many, refusal, closes, retry = struct.unpack(">IIIHBB", body[:16])
    assert (number, req, index, many, refusal, closes) == (REFUSED, 7, 0, 1, 502, 0), body
    assert link.ok(7)[0] == 0
    return len(taken)


def main():
    host, port, what, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    link = Link(host, port)
    if what == "publish":
        done = publish(link, count)
    else:
        done = take(link, count, int(sys.argv[5]))
    link.send(PING, struct.pack(">I", 8))
    assert link.receive() == (PONGED, struct.pack(">I", 8))
    link.send(QUIT, struct.pack(">I", 9))
    while link.receive()[0] != OK:
        pass
    assert link.receive() == (None, b"")
    print(done, "done")


main()
