"""SMTP smuggling: what only looks like the end of a message must not be one, neither to us nor to whoever gets the
message from us (docs/decisions/0004). And commands or replies from before a TLS handshake count for nothing."""

import re
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

from common import Cast, queue_empty
from harness import Client, Locum, check, wait_until
from lax import READERS, Recorder, misread
from peers import Dns, Fake
from scenario import scenario

ZONE = """
plain.test. MX 10 primary.plain.test.
plain.test. MX 20 mx2.backup.test.
primary.plain.test. A 192.0.2.10
chunk.test. MX 10 primary.chunk.test.
chunk.test. MX 20 mx2.backup.test.
primary.chunk.test. A 192.0.2.11
mx2.backup.test. A 192.0.2.20
"""

# What stands where the end might be, and what must become of the message by DATA and by BDAT: taken as a whole (one),
# refused, or ended there (the client itself began another behind it), taken or refused.
SEQUENCES = {
    "CRLF.CRLF": (b"\r\n.\r\n", "ended", "one"),
    "LF.LF": (b"\n.\n", "refused", "refused"),
    "LF.CRLF": (b"\n.\r\n", "refused", "refused"),
    "CRLF.LF": (b"\r\n.\n", "refused", "refused"),
    "CR.CR": (b"\r.\r", "refused", "refused"),
    "CRLF.CR": (b"\r\n.\r", "refused", "refused"),
    "CR.CRLF": (b"\r.\r\n", "refused", "refused"),
    "CR.LF": (b"\r.\n", "refused", "refused"),
    "LF.CR": (b"\n.\r", "refused", "refused"),
    "LFCR.LFCR": (b"\n\r.\n\r", "refused", "refused"),
    "CRLF.CRCRLF": (b"\r\n.\r\r\n", "refused", "refused"),
    "CRCRLF.CRLF": (b"\r\r\n.\r\n", "ended refused", "refused"),
    "LFCRLF.CRLF": (b"\n\r\n.\r\n", "ended refused", "refused"),
    "CRLF.CRLFCR": (b"\r\n.\r\n\r", "ended", "refused"),
    "CRLF.NULCRLF": (b"\r\n.\0\r\n", "one", "one"),
    "CRLFNUL.CRLF": (b"\r\n\0.\r\n", "refused", "refused"),
    "CRLFNUL.NULCRLF": (b"\r\n\0.\0\r\n", "refused", "refused"),
    "CRLFBS.CRLF": (b"\r\n\x08.\r\n", "refused", "refused"),
    "CRLFNUL..CRLF": (b"\r\n\0..\r\n", "one", "one"),
    "CRLF.CRNULLF": (b"\r\n.\r\0\n", "refused", "refused"),
    "CRNULLF.CRLF": (b"\r\0\n.\r\n", "refused", "refused"),
    "NULLF.NULLF": (b"\0\n.\0\n", "refused", "refused"),
    "CRLF..CRLF": (b"\r\n..\r\n", "one", "one"),
    "CRLF...CRLF": (b"\r\n...\r\n", "one", "one"),
    "CRLF..LF": (b"\r\n..\n", "refused", "refused"),
    "CRLF.SPCRLF": (b"\r\n. \r\n", "one", "one"),
    "CRLF.TABCRLF": (b"\r\n.\t\r\n", "one", "one"),
    "CRLFSP.CRLF": (b"\r\n .\r\n", "one", "one"),
    "CRLF.BSCRLF": (b"\r\n.\x08\r\n", "one", "one"),
    "CRLF.FFCRLF": (b"\r\n.\f\r\n", "one", "one"),
    "VT.VT": (b"\v.\v", "one", "one"),
    "NEL.NEL": (b"\xc2\x85.\xc2\x85", "one", "one"),
    "LS.LS": (b"\xe2\x80\xa8.\xe2\x80\xa8", "one", "one"),
}
# How a body may end that comes by BDAT.
TAILS = {"no CRLF": b"x", "CRLF. without CRLF": b"x\r\n.", "CRLF.CRLF": b"x\r\n.\r\n", "CRLF.CRLF.": b"x\r\n.\r\n.",
         "CRLFCRLF": b"x\r\n\r\n", "CRLF.SP": b"x\r\n. "}


class Sender:
    """One session; a message with a sequence in it, cut into packets or chunks somewhere."""

    def __init__(self, w, ip, parameters="", rcpts=("r@plain.test", "r@chunk.test")):
        self.client = Client(w.client, ip)
        self.client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rcpts = rcpts
        for line in (f"MAIL FROM:<s@src.test>{parameters}", *(f"RCPT TO:<{r}>" for r in rcpts)):
            r = self.client.cmd(line)
            check(r[0] == 250, "not taken", line, r)

    def packets(self, *parts):
        for i, part in enumerate(parts):
            if i:
                time.sleep(0.003)
            if part:
                self.client.write(part)

    def replies(self):
        """All until the session is seen to be usable, by a command that nothing else is answered like."""
        self.client.write(b"VRFY marker\r\n")
        got = []
        while (r := self.client.reply())[0] != 252:
            got.append(r)
        self.client.close()
        return got


OUR_HEADERS = rb"".join(name + rb": [^\r\n]*\r\n(\t[^\r\n]*\r\n)*" for name in (rb"Received", rb"X-Locum-Evidence"))


def head(ident):
    return f"Message-ID: <{ident}@src.test>\r\nSubject: x\r\n\r\nbody".encode()


def smuggled(ident, rcpts):
    lines = ["MAIL FROM:<smuggled@src.test>", *(f"RCPT TO:<{r}>" for r in rcpts), "DATA",
             f"Message-ID: <{ident}@src.test>", "Subject: smuggled", "", "smuggled", ""]
    return "\r\n".join(lines).encode()


def unstuffed(body):
    return re.sub(rb"\r\n\.", b"\r\n", body)


def codes(replies):
    return [r[0] for r in replies]


def cuts(before, sequence):
    """Every place to cut at, around and within the sequence."""
    return [(n,) for n in range(before - 1, before + len(sequence) + 2)] + [
        tuple(range(before, before + len(sequence) + 1))]


def pieces(text, places):
    ends = [0, *places, len(text)]
    return [text[a:b] for a, b in zip(ends, ends[1:])]


def by_data(w, ip, name, ident, places):
    """What became of it: {ident: message} that must arrive."""
    sequence, kind, _ = SEQUENCES[name]
    s = Sender(w, ip)
    inner = smuggled(f"{ident}-smuggled", s.rcpts)
    body = head(ident) + sequence + inner
    check(s.client.cmd("DATA")[0] == 354, "DATA refused")
    s.packets(*pieces(body + b".\r\n", places))
    got = s.replies()
    inside = [250] * (1 + len(s.rcpts)) + [354, 250]
    expected = {"one": [250], "refused": [550], "ended": [250, *inside], "ended refused": [550, *inside]}[kind]
    if name == "CRLF.CRLFCR":
        # A CR in front of MAIL: that is refused, and so is all that follows it.
        check(codes(got)[0] == 250 and not [r for r in got[1:] if r[0] < 500], f"{name} by DATA", places, got)
        return {ident: unstuffed(head(ident) + b"\r\n")}
    check(codes(got) == expected, f"{name} by DATA, cut at {places}", got)
    if kind == "one":
        return {ident: unstuffed(body)}
    arrives = {} if kind == "refused" else {f"{ident}-smuggled": inner[inner.index(b"DATA\r\n") + 6:]}
    if kind == "ended":
        arrives[ident] = unstuffed(head(ident) + b"\r\n")
    return arrives


def by_bdat(w, ip, name, ident, places, chunked, **how):
    """Cut into chunks, or into packets of one chunk."""
    sequence, _, kind = SEQUENCES[name]
    s = Sender(w, ip, **how)
    if how:
        kind = "one"  # BINARYMIME may have anything
    body = head(ident) + sequence + smuggled(f"{ident}-smuggled", s.rcpts)
    parts = pieces(body, places)
    if chunked:
        s.packets(b"".join(b"BDAT %d%s\r\n" % (len(p), b" LAST" if i + 1 == len(parts) else b"") + p
                           for i, p in enumerate(parts)))
    else:
        s.packets(b"BDAT %d LAST\r\n" % len(body) + parts[0], *parts[1:])
    got = s.replies()
    queued = [r for r in got if "queued" in r[1]]
    check(len(got) == (len(parts) if chunked else 1), f"{name} by BDAT: not one reply a chunk", got)
    if kind == "one":
        check(len(queued) == 1 and codes(got) == [250] * len(got), f"{name} by BDAT, cut at {places}", got)
        return {ident: body}
    check(not queued and 550 in codes(got), f"{name} by BDAT, cut at {places}", got)
    return {}


def ways(name):
    """(how, function, arguments): whole, and cut at every octet."""
    before, sequence = len(head("x" * 12)), SEQUENCES[name][0]
    places = [(before,)] + cuts(before, sequence)
    found = [("DATA", by_data, (p,)) for p in places]
    found += [("BDAT", by_bdat, (p, chunked)) for p in places for chunked in (False, True)]
    return found


def tail(w, ip, ident, body):
    s = Sender(w, ip)
    s.packets(b"BDAT %d LAST\r\n" % len(body) + body)
    got = s.replies()
    check(codes(got) == [250], "not taken", body[-20:], got)
    return {ident: body}


def ident_of(message):
    m = re.search(rb"(?m)^Message-ID: <([^@>]+)@src\.test>", message)
    return m and m.group(1).decode()


def all_arrived(recorder, expected, finished):
    """Each once, byte for byte below our headers; `finished` is what DATA makes of a body without an end."""
    wait_until(lambda: len(recorder.messages) >= len(expected), 60, "not everything arrived",
               lambda: (len(recorder.messages), len(expected)))
    check(len(recorder.messages) == len(expected), "more messages arrived than were taken",
          len(recorder.messages), len(expected))
    for verb, message in recorder.messages:
        ident = ident_of(message)
        check(ident in expected, "a message that nobody took", message[-300:])
        body = expected[ident]
        if verb == "DATA" and finished and not body.endswith(b"\r\n"):
            body += b"\r\n"
        check(message.endswith(body), f"{ident} was changed", message[-300:], body)
        added = message[:len(message) - len(body)]
        check(re.fullmatch(OUR_HEADERS, added), f"{ident}: more than our headers", added)
    check(len({ident_of(m) for _, m in recorder.messages}) == len(expected), "one of them twice")
    wrong = misread(bytes(s) for s in recorder.sessions)
    check(not wrong, "laxer servers read other messages", wrong[:3], len(wrong))


def table(rows):
    print(f"| {'sequence':15} | by DATA       | ways | by BDAT | ways | to {len(READERS)} readers behind two primaries")
    for row in rows:
        print("| {:15} | {:13} | {:4} | {:7} | {:4} | {}".format(*row))


@scenario("no sequence but CRLF.CRLF ends a message, to us or to laxer servers behind us, by DATA and by BDAT", seconds=150)
def smuggling(w):
    plain, chunk, mx2, dns = w.host("plain", 10), w.host("chunk", 11), w.host("mx2", 20), w.host("dns", 53)
    Dns(dns, ZONE)
    primaries = [Recorder(plain, ("PIPELINING", "8BITMIME")), Recorder(chunk, ("PIPELINING", "8BITMIME", "CHUNKING"))]
    node = Locum(mx2, "mx2.backup.test", {"plain.test": "", "chunk.test": ""}, dns=dns.ip).start()
    expected, counts, running = {}, {}, []
    with ThreadPoolExecutor(12) as pool:
        for name in SEQUENCES:
            for i, (verb, send, arguments) in enumerate(ways(name)):
                ident = f"{len(running):06d}-{i:05d}"
                running.append((name, verb, pool.submit(send, w, mx2.ip, name, ident, *arguments)))
        tails = [pool.submit(tail, w, mx2.ip, f"tail-{i:07d}", head(f"tail-{i:07d}") + body)
                 for i, body in enumerate(TAILS.values())]
        for name, verb, future in running:
            arrives = future.result()
            expected.update(arrives)
            sent, taken = counts.get((name, verb), (0, 0))
            counts[name, verb] = sent + 1, taken + len(arrives)
        for future in tails:
            expected.update(future.result())
    queue_empty(node, 60)
    for primary in primaries:
        all_arrived(primary, expected, finished=True)
    check({v for v, _ in primaries[1].messages} == {"DATA", "BDAT"}, "nothing was delivered by BDAT")
    rows = []
    for name, (_, data, bdat) in SEQUENCES.items():
        (sent, taken), (chunks, chunked) = counts[name, "DATA"], counts[name, "BDAT"]
        seen = f"each of {taken + chunked} is one" if taken + chunked else "nothing was taken"
        rows.append((name, data, sent, bdat, chunks, seen))
    table(rows)
    return f"{len(running) + len(tails)} messages sent, {len(expected)} taken and delivered to two primaries"


@scenario("a binary body may have any sequence: it leaves by BDAT and is one message to everybody", seconds=120)
def binary(w):
    primary, mx2, dns = w.host("plain", 10), w.host("mx2", 20), w.host("dns", 53)
    Dns(dns, ZONE)
    recorder = Recorder(primary, ("PIPELINING", "8BITMIME", "CHUNKING", "BINARYMIME"))
    node = Locum(mx2, "mx2.backup.test", {"plain.test": ""}, dns=dns.ip).start()

    def announced():
        c = Client(w.client, mx2.ip)
        c.close()
        return "BINARYMIME" in c.ehlo[1]
    wait_until(announced, 20, "BINARYMIME is not announced")
    how = {"parameters": " BODY=BINARYMIME", "rcpts": ("r@plain.test",)}
    expected, running = {}, []
    with ThreadPoolExecutor(12) as pool:
        for name, (sequence, _, _) in SEQUENCES.items():
            for n in range(len(sequence) + 1):
                ident = f"bin-{len(running):08d}"
                places = (len(head(ident)) + n,)
                running.append(pool.submit(by_bdat, w, mx2.ip, name, ident, places, True, **how))
        for future in running:
            expected.update(future.result())
    queue_empty(node, 60)
    all_arrived(recorder, expected, finished=False)
    check({v for v, _ in recorder.messages} == {"BDAT"}, "a binary body went by DATA")
    return f"{len(expected)} messages"


# --- STARTTLS: nothing from before the handshake counts after it ----------------------------

INJECTED = {
    "a message": b"EHLO evil.test\r\nMAIL FROM:<evil@src.test>\r\nRCPT TO:<r@example.test>\r\nDATA\r\n"
                 b"Subject: evil\r\n\r\nevil\r\n.\r\n",
    "a transaction": b"EHLO evil.test\r\nMAIL FROM:<evil@src.test>\r\nRCPT TO:<r@example.test>\r\n",
    "half a command": b"MAIL FROM:<evil@src.test> SIZE=",
    "a chunk": b"MAIL FROM:<evil@src.test>\r\nRCPT TO:<r@example.test>\r\nBDAT 3 LAST\r\nx\r\n",
    "QUIT": b"QUIT\r\n",
    "many": b"NOOP\r\n" * 500,
}


def handshake(sock):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(sock)


def one_reply(sock):
    text = b""
    while not re.search(rb"(?m)^\d\d\d .*\r\n", text):
        got = sock.recv(4096)
        check(got, "the session ended", text)
        text += got
    return text


@scenario("commands in one packet with STARTTLS are never executed", seconds=60)
def starttls_commands(w):
    c = Cast(w, postfix=False, tls=True)
    for words, injected in INJECTED.items():
        plain = c.w.client.connect(c.mx2.ip)
        one_reply(plain)
        plain.sendall(b"EHLO client.test\r\n")
        one_reply(plain)
        plain.sendall(b"STARTTLS\r\n" + injected)
        said = one_reply(plain)
        check(said.startswith(b"220 ") and said.count(b"\n") == 1, f"{words}: more than one answer in the clear", said)
        tls = handshake(plain)
        tls.settimeout(0.3)
        try:
            check(False, f"{words}: answered under TLS", tls.recv(4096))
        except TimeoutError:
            pass
        tls.settimeout(10)
        for line, code in ((b"MAIL FROM:<s@src.test>", b"503"), (b"EHLO client.test", b"250"), (b"DATA", b"503"),
                           (b"RCPT TO:<r@example.test>", b"503"), (b"MAIL FROM:<s@src.test>", b"250"),
                           (b"RSET", b"250"), (b"QUIT", b"221")):
            tls.sendall(line + b"\r\n")
            said = one_reply(tls)
            check(said.startswith(code), f"{words}: {line} answered differently", said)
        tls.close()
    check(c.node.status()["messages"] == 0, "a message came in", c.node.json("queue"))
    return f"{len(INJECTED)} kinds"


@scenario("replies of a primary from before the TLS handshake are not taken for replies under TLS", seconds=60)
def starttls_replies(w):
    c = Cast(w, postfix=False)
    evil = "220 2.0.0 Ready\r\n250-evil\r\n250-SMTPUTF8\r\n250 SIZE 1\r\n" + "250 2.0.0 Ok evil\r\n" * 2 + \
        "354 Go on evil\r\n250 2.0.0 Ok evil"
    real = {verb: "451 4.3.0 the real answer" for verb in ("MAIL", "RCPT")}
    fake = Fake(c.primary, {"STARTTLS": evil, **real}, tls=w.certificate("primary.example.test")).up()
    c.send("once")
    wait_until(lambda: any("the real answer" in str(m) for m in c.node.json("queue")), 30,
               "the primary's answer under TLS was not heard", lambda: c.node.json("queue"))
    check(fake.lines("STARTTLS") and not fake.seen, "not by TLS, or delivered", fake.transcript)
    client = Client(w.client, c.mx2.ip)
    check("SMTPUTF8" not in client.ehlo[1] and "SIZE 1\n" not in client.ehlo[1] + "\n", "believed", client.ehlo)
    client.close()
    for verb in real:
        del fake.behaviour[verb]
    c.node.command("flush")
    wait_until(lambda: fake.idents() == {"once": 1}, 30, "not delivered", lambda: c.node.json("queue"))
    queue_empty(c.node)
