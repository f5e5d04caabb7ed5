"""Primaries that refuse, break off, stall or mumble."""

import ssl
import time

from common import Cast, arrived_exact, queue_empty
from harness import Locum, check, make_message, send_one, wait_until
from peers import DROP, STALL, Dns, Fake, smtp_sink
from scenario import scenario


def row(node, **wanted):
    """The one message of the queue, whole, as `locum show` knows it."""
    rows = node.json("queue")
    check(len(rows) == 1, "not exactly one message in the queue", rows)
    return node.json("show", rows[0]["id"])


def recipient(message, address):
    return next(r for r in message["recipients"] if r["address"] == address)


def arrives(fake, ident, seconds, text, times=1):
    wait_until(lambda: fake.idents()[ident] >= 1, seconds, text)
    time.sleep(0.3)
    check(fake.idents()[ident] == times, f"{ident} was delivered {fake.idents()[ident]} times")


OUTAGES = {
    "greets with 421": {"CONNECT": "421 4.3.2 Too busy"},
    "greets with 554": {"CONNECT": "554 5.3.2 Not now"},
    "refuses EHLO with 4xx": {"EHLO": "450 4.3.2 Later"},
    "breaks off at once": {"CONNECT": DROP},
    "breaks off at MAIL": {"MAIL": DROP},
    "says 421 at MAIL": {"MAIL": "421 4.3.2 Closing"},
    "says 421 at RCPT": {"RCPT": "421 4.3.2 Closing"},
    "defers every recipient": {"RCPT": "451 4.2.0 Greylisted, come back later"},
    "defers at DATA": {"DATA": "451 4.3.0 Queue file write error"},
    "defers after the dot": {"DOT": "452 4.3.1 Disk full"},
}


def outage(w, behaviour):
    c = Cast(w, postfix=False)
    fake = Fake(c.primary, behaviour).up()
    for i in range(5):
        c.send(f"o{i}")
    time.sleep(4)
    check(not fake.messages, "delivered to a primary that refuses")
    status = c.node.status()
    check(status["messages"] == 5, "something is lost", status)
    fake.behaviour = {}
    c.node.command("flush", "example.test")
    for i in range(5):
        arrives(fake, f"o{i}", 20, "not handed over after the primary works again")
    queue_empty(c.node)


for words, how in OUTAGES.items():
    scenario(f"primary {words}: kept, handed over once when it is well", seconds=60,
             behaviour=how)(outage)


@scenario("primary away for a moment: no command is needed after a 421 or a refused connection",
          seconds=60)
def by_itself(w):
    c = Cast(w, postfix=False)
    fake = Fake(c.primary, {"CONNECT": "421 4.3.2 Too busy"}).up()
    c.send("one")
    time.sleep(5)
    fake.behaviour = {}
    arrives(fake, "one", 10, "not within 10 s of the primary's return")


@scenario("primary answers each recipient differently: each has its own fate", seconds=60)
def mixed(w):
    c = Cast(w, postfix=False)
    answers = {"r1@example.test": "250 2.1.5 Ok", "r2@example.test": "450 4.2.1 Mailbox busy",
               "r3@example.test": "550 5.1.1 No such user here"}
    fake = Fake(c.primary, {"RCPT": lambda s, line: answers[line.split("<")[1].split(">")[0]]}).up()
    raw = c.send("mix", rcpts=tuple(answers))
    wait_until(lambda: fake.messages, 10, "nobody got it")
    wait_until(lambda: recipient(row(c.node), "r3@example.test")["state"] == "held", 5,
               "a permanent refusal is not held")
    message = row(c.node)
    check("550 5.1.1 No such user here" in recipient(message, "r3@example.test")["reply"],
          "the primary's words are not kept", message)
    check("450" in recipient(message, "r2@example.test")["reply"], "the deferral's words", message)
    check(recipient(message, "r1@example.test")["state"] == "delivered", "the delivered one", message)
    answers["r2@example.test"] = "250 2.1.5 Ok"
    c.node.command("flush", "example.test")
    wait_until(lambda: len(fake.messages) == 2, 15, "the deferred recipient is not tried again")
    time.sleep(2)
    check([m[1] for m in fake.messages] == [["r1@example.test"], ["r2@example.test"]],
          "recipients got it twice, or not", [m[1] for m in fake.messages])
    check(all(m[2].endswith(raw) for m in fake.messages), "the bytes changed")
    check(c.node.status()["messages_held"] == 1, "the refused recipient is not held")


@scenario("primary refuses after the dot: held with its words, not bounced, released by the operator",
          seconds=60)
def refused(w):
    c = Cast(w, postfix=False)
    fake = Fake(c.primary, {"DOT": "554 5.7.1 Looks like spam to me"}).up()
    c.send("spam")
    wait_until(lambda: c.node.status()["messages_held"] == 1, 10, "not held")
    message = row(c.node)
    check("554 5.7.1 Looks like spam to me" in recipient(message, "r@example.test")["reply"],
          "the primary's words are not kept", message)
    check(c.node.status()["alerts"] is not None, "no alerts in the status")
    time.sleep(3)
    check(len(fake.seen) == 1 and not any("src.test" in t for _, t in fake.transcript
                                          if t.upper().startswith("RCPT")),
          "it was tried again, or bounced", fake.transcript)
    c.send("other")
    fake.behaviour = {}
    c.node.command("release", message["id"])
    arrives(fake, "spam", 15, "a released message is not delivered")


@scenario("primary breaks off before the dot: delivered once, later", seconds=60)
def before_dot(w):
    c = Cast(w, postfix=False)
    fake = Fake(c.primary, {"BODY": lambda s, n: DROP if n > 20000 else None}).up()
    raw = c.send("cut", size=60000)
    time.sleep(4)
    check(not fake.seen and c.node.status()["messages"] == 1, "not kept")
    fake.behaviour = {}
    c.node.command("flush")
    arrives(fake, "cut", 20, "not delivered")
    check(fake.messages[0][2].endswith(raw), "the bytes changed")
    queue_empty(c.node)


@scenario("primary breaks off after the dot without a reply: delivered again with the same id",
          seconds=60)
def after_dot(w):
    c = Cast(w, postfix=False)
    fake = Fake(c.primary, {"DOT": DROP}).up()
    c.send("dup")
    wait_until(lambda: fake.seen, 10, "not tried")
    message = wait_until(lambda: row(c.node), 5, "not in the queue")
    wait_until(lambda: recipient(row(c.node), "r@example.test").get("ambiguous"), 5,
               "the lost reply is not marked ambiguous")
    fake.behaviour = {}
    c.node.command("flush")
    arrives(fake, "dup", 20, "not delivered again")
    check(all(message["id"].encode() in raw for _, _, raw in fake.seen),
          "the id in our Received header is not the same", [m[2][:400] for m in fake.seen])
    queue_empty(c.node)


@scenario("primary that stalls holds up no other domain", seconds=60)
def stalls(w):
    one, two, dnshost, mx2 = w.host("one", 11), w.host("two", 12), w.host("dns", 53), w.host("mx2", 20)
    Dns(dnshost, """
        slow.test. MX 10 one.test.
        fast.test. MX 10 two.test.
        one.test. A 192.0.2.11
        two.test. A 192.0.2.12""")
    Fake(one, {"DOT": STALL}).up()
    fast = Fake(two).up()
    node = Locum(mx2, "mx2.backup.test", {"slow.test": "", "fast.test": ""}, dns=dnshost.ip).start()
    for i in range(50):
        raw = make_message(f"slow{i}", rcpt="r@slow.test")
        check(send_one(w, mx2.ip, raw, rcpts=("r@slow.test",))[0] == 250, "not taken")
    time.sleep(1)
    for i in range(20):
        raw = make_message(f"fast{i}", rcpt="r@fast.test")
        check(send_one(w, mx2.ip, raw, rcpts=("r@fast.test",))[0] == 250, "not taken")
    wait_until(lambda: len(fast.messages) == 20, 10, "the other domain's mail waits")
    check(node.stop(60) == 0, "a stalling primary keeps locumd from ending")


@scenario("primary greylists: delivered after its delay, without a command", seconds=120)
def greylisted(w):
    c = Cast(w, postfix=False)
    first = {}

    def rcpt(session, line):
        start = first.setdefault(line, time.monotonic())
        return None if time.monotonic() - start > 10 else "451 4.7.1 Greylisted, come back in 10 s"
    fake = Fake(c.primary, {"RCPT": rcpt}).up()
    c.send("grey")
    arrives(fake, "grey", 100, "not delivered after the greylisting delay")


@scenario("starttls with a real Postfix: encrypted, exact", seconds=60)
def starttls(w):
    c = Cast(w, tls=True)
    c.postfix.start()
    sent = {f"t{i}": c.send(f"t{i}", size=30000) for i in range(5)}
    wait_until(lambda: c.postfix.count() == 5, 15, "not delivered")
    arrived_exact(c.postfix, sent)
    check("TLS connection established from unknown[192.0.2.20]" in c.postfix.log(),
          "the delivery was not encrypted", c.postfix.log()[-600:])


def garbage(session, line):
    session.sock.sendall(b"220 2.0.0 Ready\r\nthis is no handshake\r\n" * 20)
    return DROP


def old_tls(session, line):
    session.sock.sendall(b"220 2.0.0 Ready\r\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1
    context.wrap_socket(session.sock, server_side=True)
    return DROP


for words, how in {"sends garbage": garbage, "breaks off": lambda s, line: DROP,
                   "says 454": lambda s, line: "454 4.7.0 TLS not available",
                   "knows TLS 1.0 only": old_tls}.items():
    def broken_tls(w, behaviour):
        c = Cast(w, postfix=False)
        fake = Fake(c.primary, {"STARTTLS": behaviour}, tls=w.certificate("primary.example.test")).up()
        c.send("plain")
        arrives(fake, "plain", 30, "not delivered: TLS is opportunistic, plain text is the fallback")
    scenario(f"primary offers starttls and {words}: delivered in plain text", seconds=60,
             behaviour=how)(broken_tls)


@scenario("smtp-sink in its worst moods: whatever it does, the message arrives once it behaves",
          seconds=150)
def sink(w):
    c = Cast(w, postfix=False)
    fake = Fake(c.primary)
    sent = []
    for i, flags in enumerate((("-q", "connect"), ("-q", "ehlo"), ("-q", "mail"), ("-Q", "rcpt"),
                               ("-Q", "data"), ("-r", "connect"), ("-r", "mail"), ("-r", "rcpt"),
                               ("-r", "data"), ("-r", "."), ("-p",), ("-E",), ("-e", "-r", "."))):
        p = smtp_sink(c.primary, *flags)
        c.send(f"sink{i}")
        if flags not in (("-p",), ("-E",)):  # these take it: without PIPELINING, without DSN
            sent.append(f"sink{i}")
        time.sleep(1.5)
        p.stop()
        w.processes.remove(p)
    fake.up()
    c.node.command("flush")
    wait_until(lambda: set(sent) <= set(fake.idents()), 40, "not everything arrives",
               lambda: set(sent) - set(fake.idents()))
    queue_empty(c.node, 40)
