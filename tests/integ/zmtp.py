"""A peer of the broker that says whatever a test wants: ZMTP 3.0 and msgpack, as far as needed."""
import os
import socket
import struct


def pack(v):
    """msgpack of nil, bool, int, str, bytes, list."""
    if v is None:
        return b"\xc0"
    if isinstance(v, bool):
        return b"\xc3" if v else b"\xc2"
    if isinstance(v, int):
        return struct.pack(">B", v) if v < 128 else b"\xcf" + struct.pack(">Q", v)
    if isinstance(v, str):
        b = v.encode()
        return b"\xdb" + struct.pack(">I", len(b)) + b
    if isinstance(v, bytes):
        return b"\xc6" + struct.pack(">I", len(v)) + v
    return b"\xdd" + struct.pack(">I", len(v)) + b"".join(map(pack, v))


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        return self.data[self.at - n:self.at]

    def num(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def value(self):
        c = self.num("B")
        if c < 0x80:
            return c
        if 0x90 <= c < 0xa0:
            return [self.value() for _ in range(c & 15)]
        if 0xa0 <= c < 0xc0:
            return self.take(c & 31).decode()
        simple = {0xc0: None, 0xc2: False, 0xc3: True}
        if c in simple:
            return simple[c]
        ints = {0xcc: "B", 0xcd: "H", 0xce: "I", 0xcf: "Q"}
        if c in ints:
            return self.num(ints[c])
        blobs = {0xc4: "B", 0xc5: "H", 0xc6: "I", 0xd9: "B", 0xda: "H", 0xdb: "I"}
        if c in blobs:
            b = self.take(self.num(blobs[c]))
            return b.decode() if c >= 0xd9 else b
        return [self.value() for _ in range(self.num({0xdc: "H", 0xdd: "I"}[c]))]


NAMES = {2: "WELCOME", 3: "PING", 4: "BYE", 5: "REFUSED", 48: "DONE", 49: "BATCH", 50: "BATCHES", 51: "RESULTS",
         52: "JOB", 53: "CLUSTER", 54: "PIECE", 96: "TASKS", 97: "REVOKE", 98: "ACK"}
TYPES = {"HELLO": 1, "PING": 3, "BYE": 4, "ROUTE": 16, "OPEN": 17, "PACK": 18, "COMMIT": 19, "ABORT": 20, "STATUS": 21,
         "LIST": 22, "FETCH": 23, "GET": 24, "CANCEL": 25, "DELETE": 26, "TOP": 27, "CALL": 28,
         "CAPACITY": 80, "OUTCOMES": 81, "PIECES": 82}


class Peer:
    """One DEALER connection to a unix socket; session and sequence as the protocol wants, unless told otherwise."""

    def __init__(self, path, identity=None):
        self.session = struct.unpack(">Q", os.urandom(8))[0] >> 1
        self.epoch = self.seq = 0
        self.buffer = b""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(path)
        identity = b"\x01" + os.urandom(15) if identity is None else identity
        self.sock.sendall(b"\xff" + b"\0" * 8 + b"\x7f\x03\0" + b"NULL".ljust(20, b"\0") + b"\0" * 32)
        self.take(64)
        ready = b"\x05READY" + self.prop(b"Socket-Type", b"DEALER") + self.prop(b"Identity", identity)
        self.sock.sendall(bytes([4, len(ready)]) + ready)
        self.frame()

    @staticmethod
    def prop(name, value):
        return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value

    def take(self, n):
        while len(self.buffer) < n:
            got = self.sock.recv(65536)
            if not got:
                raise ConnectionError("closed")
            self.buffer += got
        b, self.buffer = self.buffer[:n], self.buffer[n:]
        return b

    def frame(self):
        flags = self.take(1)[0]
        n = struct.unpack(">Q", self.take(8))[0] if flags & 2 else self.take(1)[0]
        return self.take(n)

    def send_raw(self, *frames):
        for i, f in enumerate(frames):
            more = 1 if i + 1 < len(frames) else 0
            self.sock.sendall(bytes([2 | more]) + struct.pack(">Q", len(f)) + f)

    def send(self, name, *fields, version=1, session=None, epoch=None, seq=None):
        session = self.session if session is None else session
        epoch = self.epoch if epoch is None else epoch
        if seq is None:
            seq = self.seq
            self.seq += 1
        self.send_raw(pack([version, TYPES[name], session, epoch, seq, *fields]))

    def receive(self, *names):
        """The next message that is no PING: (name, fields), with its envelope in self.envelope.  Its name is in names."""
        while True:
            v = Reader(self.frame()).value()
            name = NAMES.get(v[1], str(v[1]))
            if name == "PING" and "PING" not in names:
                continue
            self.envelope = v[:5]
            assert not names or name in names, f"{name} {v[5:]} came instead of {names}"
            return name, v[5:]

    def hello(self, role=1, pools=(), running=()):
        self.seq = 0
        self.send("HELLO", role, "test/1", "test.1", [list(p) for p in pools], [list(r) for r in running])
        welcome = self.receive("WELCOME")
        self.epoch = self.envelope[3]
        return welcome[1]

    def close(self):
        self.sock.close()
