#!/usr/bin/env python3
"""Reads a Locum spool. Written from docs/spool-format.md, not from the program, so that each checks the other.

	spool_reader.py DIR              lists live messages
	spool_reader.py DIR --json       the same, for programs
	spool_reader.py DIR --body ID    writes one body to stdout
	spool_reader.py DIR --records    every whole record, in order of writing

Every checksum is verified. Damage is told on stderr; the exit status is 1 when there was any. The spool may be
in use: nothing is locked or written. As a module: Spool(dir).
"""

import argparse
import datetime
import json
import re
import struct
import sys
from pathlib import Path

BLOCK = 4096
RECORDS_AT = 2 * BLOCK
MAGIC = b"LOCUMSEG"
VERSION = 1
PAYLOAD_MAX = 4 << 20
INLINE_MAX = 16 << 20
BIG = 1
MESSAGE, STATE, DONE = 1, 2, 3
TYPES = {MESSAGE: "message", STATE: "state", DONE: "done"}
LOGS = {1: "queue", 2: "held"}

SEGMENT = struct.Struct("<8sIIQq16sQQQQQ")
RECORD = struct.Struct("<QQ16sqQIIIBBHII")
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def crc_tables():
    """Eight tables: eight bytes a step."""
    first = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ 0x82F63B78 if i & 1 else i >> 1
        first.append(i)
    tables = [first]
    for _ in range(7):
        tables.append([tables[-1][i] >> 8 ^ first[tables[-1][i] & 255] for i in range(256)])
    return tables


T = crc_tables()


def crc32c(data):
    c = 0xFFFFFFFF
    t0, t1, t2, t3, t4, t5, t6, t7 = T
    whole = len(data) & ~7
    for low, high in struct.iter_unpack("<II", data[:whole]):
        low ^= c
        c = (t7[low & 255] ^ t6[low >> 8 & 255] ^ t5[low >> 16 & 255] ^ t4[low >> 24]
             ^ t3[high & 255] ^ t2[high >> 8 & 255] ^ t1[high >> 16 & 255] ^ t0[high >> 24])
    for byte in data[whole:]:
        c = c >> 8 ^ t0[(c ^ byte) & 255]
    return c ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283


def id_text(raw):
    number, text = int.from_bytes(raw, "big"), ""
    for _ in range(26):
        text = ALPHABET[number & 31] + text
        number >>= 5
    return text


class Unreadable(Exception):
    """Not a spool, or of another version."""


class Damage:
    def __init__(self, file, offset, what, crash=False, kind="", note=False):
        self.file, self.offset, self.what, self.crash = file, offset, what, crash
        self.kind, self.note = kind, note

    def __str__(self):
        nature = " (the trace of a crash)" if self.crash else ""
        return f"{self.file} at {self.offset}: {self.what}{nature}"


class Record:
    def __init__(self, segment, at, fields):
        (self.salt, self.sequence, self.id, self.written_wall, self.body_bytes, self.payload_bytes,
         self.payload_crc, self.body_crc, self.type, self.flags, self.zero, self.batch8,
         self.crc) = fields
        self.segment, self.at = segment, at
        self.payload = b""

    @property
    def big(self):
        return bool(self.flags & BIG)

    @property
    def inline(self):
        return 0 if self.big else self.body_bytes

    @property
    def used(self):
        return RECORD.size + self.payload_bytes + self.inline

    @property
    def bytes(self):
        return (self.used + 7) & ~7

    def in_range(self):
        if self.payload_bytes > PAYLOAD_MAX or self.flags & ~BIG or self.zero:
            return False
        if self.type == MESSAGE:
            return self.big or self.body_bytes <= INLINE_MAX
        return self.type in (STATE, DONE) and not self.flags and self.body_bytes == 0


class Segment:
    """One segment file. records() yields the whole ones and puts holes into self.holes."""

    def __init__(self, root, log, path):
        self.log, self.path = log, path
        self.name = str(path.relative_to(root))
        self.data = path.read_bytes()
        self.serial = int(path.stem[-10:])
        self.end = None  # told by a later segment
        self.torn = None
        self.holes = []
        self.headless = self.last = False
        self.day = int(path.stem[:8]) if log == "held" else 0
        self.previous_serial = 0

    def salt_of_first_record(self):
        """Both header blocks are lost: the first record stands where no mail reaches."""
        if len(self.data) < RECORDS_AT + 8:
            return False
        self.salt, = struct.unpack_from("<Q", self.data, RECORDS_AT)
        self.headless = self.header_at(RECORDS_AT, len(self.data)) is not None
        return self.headless

    def header(self):
        """The valid block's fields, how many of the two are valid, or None."""
        found = []
        for at in (0, BLOCK):
            block = self.data[at:at + BLOCK]
            if len(block) < BLOCK or block[:8] != MAGIC:
                continue
            if crc32c(block[:BLOCK - 4]) != struct.unpack("<I", block[BLOCK - 4:])[0]:
                continue
            found.append(SEGMENT.unpack_from(block))
        if not found:
            return None, 0
        (_, self.version, self.log_number, self.header_serial, self.created_wall, self.spool_id,
         self.salt, self.start, self.previous_serial, self.previous_end,
         self.previous_torn) = found[0]
        return found[0], len(found)

    def header_at(self, at, limit):
        if at + RECORD.size > limit:
            return None
        raw = self.data[at:at + RECORD.size]
        record = Record(self, at, RECORD.unpack(raw))
        if record.salt != self.salt or crc32c(raw[:-4]) != record.crc or not record.in_range():
            return None
        return record

    def wrong(self, record, limit):
        if record.at + record.bytes > limit:
            return "record-short", "record cut short"
        payload_at = record.at + RECORD.size
        record.payload = self.data[payload_at:payload_at + record.payload_bytes]
        if crc32c(record.payload) != record.payload_crc:
            return "payload", "damaged envelope or state"
        if not record.big and crc32c(self.body(record)) != record.body_crc:
            return "body", "damaged body"
        return None

    def body(self, record):
        at = record.at + RECORD.size + record.payload_bytes
        return self.data[at:at + record.body_bytes]

    def next_header(self, at, limit):
        """The next multiple of 8 with a valid header, or the limit."""
        needle = struct.pack("<Q", self.salt)
        while True:
            at = self.data.find(needle, at, limit)
            if at < 0:
                return limit
            if at % 8 == 0 and self.header_at(at, limit):
                return at
            at += 1

    def records(self):
        limit = len(self.data) if self.end is None else min(len(self.data), self.end)
        at, self.last_batch = RECORDS_AT, RECORDS_AT
        while at < limit:
            record = self.header_at(at, limit)
            if not record:
                to = self.next_header(at + 8, limit)
                zeros = to == limit and not any(self.data[at:to])
                if not (zeros and (self.end is None or at >= self.torn)):
                    self.holes.append((at, to, "record-header", "damaged record"))
                at = to
                continue
            wrong = self.wrong(record, limit)
            if wrong:
                self.holes.append((at, min(at + record.bytes, limit),
                                   wrong[0], f"{wrong[1]} of {id_text(record.id)}"))
            else:
                self.last_batch = record.batch8 * 8
                if any(self.data[at + record.used:at + record.bytes]):
                    self.holes.append((at + record.used, at + record.bytes, "padding", None))
                yield record
            at += record.bytes

    def damage(self, seal_may_be_lost):
        crash_from = self.torn
        if self.end is None:
            crash_from = self.last_batch if self.last or seal_may_be_lost else len(self.data)
        for at, to, kind, what in self.holes:
            if what is None:
                yield Damage(self.name, at, "damaged padding, nothing lost", kind=kind)
            else:
                crash = at >= crash_from
                if crash and self.end is not None:
                    continue  # the start that sealed it told so
                yield Damage(self.name, at, f"{what}, {to - at} bytes", crash, kind)
        if self.end is not None and max(len(self.data), RECORDS_AT) < self.end:
            yield Damage(self.name, len(self.data), f"cut short, {self.end - len(self.data)} bytes",
                         kind="cut-short")


class Message:
    def __init__(self, spool, record):
        self.spool, self.record = spool, record
        self.id = id_text(record.id)
        self.log = record.segment.log
        self.envelope = record.payload
        self.written_wall = record.written_wall
        self.bytes = record.body_bytes
        self.state = b""

    def body(self):
        """The bytes; Unreadable when the file of a big body is missing or damaged."""
        if not self.record.big:
            return self.record.segment.body(self.record)
        try:
            body = Path(self.spool.root, "big", self.id).read_bytes()
        except OSError as e:
            raise Unreadable(str(e)) from e
        if len(body) != self.bytes or crc32c(body) != self.record.body_crc:
            raise Unreadable(f"big/{self.id}: damaged")
        return body


class Spool:
    """messages: living ones by id text; records: all whole ones by sequence; damage: what is wrong."""

    def __init__(self, root):
        self.root = Path(root)
        self.damage, self.records, self.messages = [], [], {}
        self.headers_lost = set()  # logs in which a segment has lost its header
        self.id = self.read_identity()
        self.segments = self.read_segments()
        for segment in self.segments:
            later = [x for x in self.segments if x.log == segment.log and x.serial > segment.serial]
            segment.last = not later
            lost = any(x.headless for x in later) or segment.log in self.headers_lost
            self.records.extend(segment.records())
            self.damage.extend(segment.damage(lost))
        self.records.sort(key=lambda record: record.sequence)
        self.settle()
        self.check_big()

    def read_identity(self):
        try:
            text = (self.root / "lock").read_text("latin-1")
        except FileNotFoundError:
            if not (self.root / "queue").is_dir() and not (self.root / "held").is_dir():
                raise Unreadable("no spool") from None
            text = ""
        except OSError as e:
            raise Unreadable(str(e)) from e
        m = re.match(r"locum spool (\d+)\n", text)
        if m and int(m.group(1)) != VERSION:
            raise Unreadable(f"version {m.group(1)}, this reader knows {VERSION}")
        m = re.fullmatch(r"locum spool \d+\n([0-9a-f]{32})\n", text)
        if not m:
            self.damage.append(Damage("lock", 0, "no identity", kind="lock"))
            return None
        return bytes.fromhex(m.group(1))

    def read_segments(self):
        found = {}
        shapes = {"queue": r"\d{10}\.seg", "held": r"\d{8}-\d{10}\.seg"}
        for number, log in LOGS.items():
            if not (self.root / log).is_dir():
                self.damage.append(Damage(log, 0, "directory is missing", kind="directory"))
                continue
            for path in sorted((self.root / log).iterdir()):
                if not re.fullmatch(shapes[log], path.name):
                    self.damage.append(Damage(f"{log}/{path.name}", 0, "foreign file, ignored",
                                              kind="foreign-file", note=True))
                    continue
                segment = Segment(self.root, log, path)
                if self.fits(segment, number):
                    found[segment.serial] = segment
        segments = [found[serial] for serial in sorted(found)]
        for segment in segments:
            told = found.get(segment.previous_serial)
            if told and told.log == segment.log and told.serial < segment.serial:
                told.end, told.torn = segment.previous_end, segment.previous_torn
        return segments

    def fits(self, segment, number):
        def say(kind, what, crash=False):
            self.damage.append(Damage(segment.name, 0, what, crash, kind))

        header, valid = segment.header()
        if not header:
            if segment.salt_of_first_record():
                say("header-both", "both header blocks are damaged; read all the same")
                return True
            if any(segment.data[RECORDS_AT:]):
                self.headers_lost.add(segment.log)
                say("header-lost", "both header blocks are damaged; its records are not read")
            else:
                say("empty-segment", "empty segment", crash=True)
                self.headers_lost.add(segment.log)
            return False
        if segment.version != VERSION:
            raise Unreadable(f"{segment.name}: version {segment.version}")
        if self.id is None:
            self.id = segment.spool_id
        if segment.spool_id != self.id:
            say("foreign-spool", "segment of another spool, ignored")
            return False
        made = datetime.datetime.fromtimestamp(segment.created_wall // 10**9, datetime.timezone.utc)
        day = int(made.strftime("%Y%m%d")) if segment.log_number == 2 else 0
        if (segment.header_serial, segment.log_number, day) != (segment.serial, number, segment.day):
            say("wrong-name", "segment under a wrong name, ignored")
            return False
        if valid < 2:
            say("header-block", "one header block is damaged, nothing lost")
        return True

    def settle(self):
        newest = {}
        for record in self.records:
            newest.setdefault(record.id, {})[record.type] = record
        for records in newest.values():
            message, state, done = (records.get(t) for t in (MESSAGE, STATE, DONE))
            if not message or (done and done.sequence > message.sequence):
                continue
            live = Message(self, message)
            if state and not (done and done.sequence > state.sequence):
                live.state = state.payload
            self.messages[live.id] = live

    def check_big(self):
        for message in self.messages.values():
            if message.record.big:
                self.check_big_of(message)
        live = {message.id for message in self.messages.values() if message.record.big}
        folder = self.root / "big"
        if not folder.is_dir():
            self.damage.append(Damage("big", 0, "directory is missing", kind="directory"))
            return
        for path in folder.iterdir():
            ours = re.fullmatch(f"[{ALPHABET}]{{26}}(\\..*)?", path.name)
            if path.name not in live:
                kind = "big-orphan" if ours else "foreign-file"
                self.damage.append(Damage(f"big/{path.name}", 0, kind, kind=kind, note=True))

    def check_big_of(self, message):
        path, kind = self.root / "big" / message.id, None
        if not path.exists():
            kind = "big-missing"
        elif path.stat().st_size != message.bytes:
            kind = "big-size"
        elif crc32c(path.read_bytes()) != message.record.body_crc:
            kind = "big-body"
        if kind:
            self.damage.append(Damage(f"big/{message.id}", 0, kind, kind=kind))


def describe(message):
    return {
        "id": message.id,
        "log": message.log,
        "written": message.written_wall,
        "bytes": message.bytes,
        "envelope": message.envelope.hex(),
        "state": message.state.hex(),
        "body_crc32c": message.record.body_crc,
        "big": message.record.big,
    }


def when(wall):
    return datetime.datetime.fromtimestamp(wall / 1e9, datetime.timezone.utc).strftime("%F %T")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dir")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--records", action="store_true")
    parser.add_argument("--body", metavar="ID")
    args = parser.parse_args()
    try:
        spool = Spool(args.dir)
        if args.body:
            if args.body.upper() not in spool.messages:
                raise Unreadable(f"{args.body}: no such message")
            sys.stdout.buffer.write(spool.messages[args.body.upper()].body())
    except (Unreadable, OSError) as e:
        print(f"spool_reader: {e}", file=sys.stderr)
        return 2
    if args.json:
        json.dump({"messages": [describe(m) for m in spool.messages.values()],
                   "damage": [str(d) for d in spool.damage]}, sys.stdout, indent=1)
        print()
    elif args.records:
        for r in spool.records:
            print(f"{r.sequence:#018x} {id_text(r.id)} {TYPES[r.type]:7} {r.segment.name}:{r.at} "
                  f"{r.payload_bytes}+{r.body_bytes}")
    elif not args.body:
        for m in spool.messages.values():
            print(f"{m.id}  {m.log:5}  {when(m.written_wall)}  {m.bytes} bytes  "
                  f"envelope {len(m.envelope)}, state {len(m.state)}")
    for damage in spool.damage:
        print(damage, file=sys.stderr)
    return 1 if any(not (d.crash or d.note) for d in spool.damage) else 0


if __name__ == "__main__":
    sys.exit(main())
