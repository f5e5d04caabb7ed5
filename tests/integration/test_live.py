"""acceptance = "live" and "defer": while the primary lives it decides, and its words are the client's; where it fails
the spool takes over and nothing is lost."""

import re
import socket
import time

from common import Cast, arrived_exact, queue_empty
from harness import Client, Locum, check, make_message, wait_until
from peers import DROP, Dns, Fake, Postfix
from scenario import scenario

LIVE = 'acceptance = "live"'
TWO = """
one.test. MX 10 one-primary.test.
one.test. MX 20 mx2.backup.test.
two.test. MX 10 two-primary.test.
two.test. MX 20 mx2.backup.test.
one-primary.test. A 192.0.2.11
two-primary.test. A {two}
mx2.backup.test. A 192.0.2.20
"""


def destination(node, domain):
    return next(d for d in node.status()["destinations"] if domain in d["domains"])


def seen(node, *domains):
    """The first look at the primaries is over."""
    for domain in domains:
        wait_until(lambda: destination(node, domain)["seen"], 15, f"the primary of {domain} is not seen")


def down(node, domain):
    wait_until(lambda: destination(node, domain)["state"] not in ("up", "unknown"), 60,
               f"the primary of {domain} is not known to be down", lambda: destination(node, domain))


def messages(node):
    return node.status()["messages"]


def transaction(client, ident, rcpts=("r@example.test",), size=2000):
    """The replies from RCPT on, and what was sent."""
    raw = make_message(ident, size)
    check(client.cmd("MAIL FROM:<s@src.test>")[0] == 250, "MAIL")
    replies = [client.cmd(f"RCPT TO:<{r}>") for r in rcpts]
    if any(code < 300 for code, _ in replies):
        replies.append(client.data(raw))
    client.cmd("RSET")
    return replies, raw


# --- words ---

POSTFIX = """
smtpd_recipient_restrictions = check_recipient_access texthash:{dir}/access, reject_unauth_destination
header_checks = regexp:{dir}/headers
"""


def own(reply):
    """Without what is this message's own: Postfix names its queue id, and behind BDAT the bytes."""
    return reply[0], re.sub(r"Ok: (\d+ bytes )?queued as \w+", "Ok: queued", reply[1])


@scenario("live: what a real Postfix says to recipients and messages reaches the client word for word", seconds=90)
def word_for_word(w):
    (w.dir / "access").write_text("r2@example.test 450 4.7.1 Greylisted, see http://greylist.test/r2\n"
                                  "r3@example.test 554 5.7.1 Nobody writes to r3\n")
    (w.dir / "headers").write_text("/^Subject: scenario spam/ REJECT 5.7.1 Looks like spam to me\n")
    c = Cast(w, options=LIVE, postfix=False, start=False)
    postfix = Postfix(c.primary, extra=POSTFIX.format(dir=w.dir)).start()
    c.node.start()
    seen(c.node, "example.test")
    cases = (("taken", ("r@example.test",)), ("spam", ("r@example.test",)),
             ("unknown", ("nobody@example.test",)), ("grey", ("r2@example.test",)), ("policy", ("r3@example.test",)),
             ("mixed", ("r1@example.test", "nobody@example.test", "r2@example.test")))
    through, straight = Client(w.client, c.mx2.ip), Client(w.client, c.primary.ip)
    for ident, rcpts in cases:
        ours, raw = transaction(through, f"{ident}-live", rcpts)
        theirs, _ = transaction(straight, f"{ident}-straight", rcpts)
        check([own(r) for r in ours] == [own(r) for r in theirs], f"{ident}: the client hears something else",
              ours, theirs)
    check("5.1.1" in transaction(through, "x", ("nobody@example.test",))[0][0][1], "no such user")
    check(messages(c.node) == 0, "something was spooled")
    wait_until(lambda: postfix.count() == 2, 10, "not delivered")
    check(set(postfix.idents()) == {"taken-live", "taken-straight"}, "other messages", postfix.idents())
    check("message.passed" in c.node.log(), "no line about a message passed on")
    through.close()
    straight.close()


@scenario("live: replies of several lines, deferrals and refusals behind the dot are the client's", seconds=60)
def several_lines(w):
    c = Cast(w, options=LIVE, postfix=False)
    says = {"r@example.test": "250 2.1.5 Ok",
            "u@example.test": "550-5.1.1 No such user.\r\n550-5.1.1 Ask postmaster,\r\n550 5.1.1 or do not.",
            "m@example.test": "250-2.1.5 Yes,\r\n250 2.1.5 and gladly"}
    fake = Fake(c.primary, {"RCPT": lambda s, line: says[line.split("<")[1].split(">")[0]]}).up()
    client = Client(w.client, c.mx2.ip)
    replies, _ = transaction(client, "m1", tuple(says))
    check(replies[0] == (250, "2.1.5 Ok"), "the first", replies)
    check(replies[1] == (550, "5.1.1 No such user.\n5.1.1 Ask postmaster,\n5.1.1 or do not."), "the second", replies)
    check(replies[2] == (250, "2.1.5 Yes,\n2.1.5 and gladly"), "the third", replies)
    check(replies[3] == (250, "2.0.0 Ok: taken"), "the message", replies)
    check(fake.messages[0][1] == ["r@example.test", "m@example.test"], "recipients", fake.messages[0][1])
    for i, dot in enumerate(("554 5.7.1 Spam", "552 5.3.4 Message too large for me", "451 4.3.0 Not now",
                             "550-5.7.1 Two\r\n550 5.7.1 lines")):
        fake.behaviour["DOT"] = dot
        replies, _ = transaction(client, f"dot{i}")
        words = "\n".join(line[4:] for line in dot.split("\r\n"))
        check(replies[-1] == (int(dot[:3]), words), "the client hears something else", replies, dot)
    check(messages(c.node) == 0 and len(fake.messages) == 1, "something was kept")
    client.close()


# --- the primary dies ---

def once(what):
    """That, and the usual from then on."""
    left = [what]
    return lambda session, argument: left.pop() if left else None


POINTS = {
    "at connect": {"CONNECT": DROP},
    "at EHLO": {"EHLO": DROP},
    "at MAIL": {"MAIL": DROP},
    "at RCPT": {"RCPT": DROP},
    "with 421 at RCPT": {"RCPT": "421 4.3.2 Closing"},
    "at DATA": {"DATA": DROP},
    "in mid-body": {"BODY": lambda s, n: DROP if n > 20000 else None},
    "with 421 after the dot": {"DOT": "421 4.3.2 Closing"},
    "after the dot without a reply": {"LOST": DROP},
    "after the reply": {"AFTER": DROP},
}


def dies(w, behaviour):
    c = Cast(w, options=LIVE, postfix=False, start=False)
    fake = Fake(c.primary).up()
    c.node.start()
    seen(c.node, "example.test")
    lost = "LOST" in behaviour
    fake.behaviour = {"DOT": once(DROP)} if lost else dict(behaviour)
    # smtpout keeps the connection of its first look.
    if "CONNECT" in behaviour or "EHLO" in behaviour:
        for sock in list(fake.open):
            sock.shutdown(socket.SHUT_RDWR)
    client = Client(w.client, c.mx2.ip, seconds=60)
    replies, raw = transaction(client, "it", size=60000)
    client.close()
    check([code for code, _ in replies] == [250, 250], "the client's answer", replies)
    live = "AFTER" in behaviour
    check(("queued as" in replies[-1][1]) != live, "the client's words", replies)
    check(lost or messages(c.node) == (0 if live else 1), "the spool", c.node.status())
    fake.behaviour = {}
    c.node.command("flush")
    wait_until(lambda: fake.idents()["it"] == 1, 30, "not delivered")
    queue_empty(c.node)
    time.sleep(0.5)
    check(fake.idents()["it"] == 1, "more than once", fake.idents())
    check(all(raw_seen.endswith(raw) for _, _, raw_seen in fake.seen), "the bytes changed")
    check(fake.idents()["it"] == 1 and (not lost or "live.ambiguous" in c.node.log()), "not ambiguous")
    # Whole messages that came: two only where the reply was lost (or was none, 421), and under one id.
    check(len(fake.seen) == (2 if lost or "DOT" in behaviour else 1), "seen so often", len(fake.seen))
    if not live:
        ident = replies[-1][1].split()[-1].encode()
        check(all(ident in raw_seen for _, _, raw_seen in fake.seen), "not the same id", ident,
              [m[2][:400] for m in fake.seen])


for words, how in POINTS.items():
    scenario(f"live: the primary dies {words}: nothing lost, a second copy only where the reply was", seconds=90,
             behaviour=how)(dies)


@scenario("live: the primary dies between two recipients: the first stays taken, both arrive once", seconds=60)
def between(w):
    c = Cast(w, options=LIVE, postfix=False)
    fake = Fake(c.primary, {"RCPT": lambda s, line: DROP if "r2@" in line else "250 2.1.5 mine"}).up()
    client = Client(w.client, c.mx2.ip)
    replies, raw = transaction(client, "two", ("r1@example.test", "r2@example.test"))
    client.close()
    check(replies[0] == (250, "2.1.5 mine") and replies[1][0] == replies[2][0] == 250, "answers", replies)
    check("queued as" in replies[2][1], "not spooled", replies)
    fake.behaviour = {}
    c.node.command("flush")
    wait_until(lambda: fake.messages, 20, "not delivered")
    queue_empty(c.node)
    check(sorted(r for m in fake.messages for r in m[1]) == ["r1@example.test", "r2@example.test"],
          "recipients", fake.messages)


@scenario("live: a frozen primary: a deadline leads to the spool, and it has the mail once when it thaws", seconds=120)
def frozen(w):
    c = Cast(w, options=LIVE, start=False)
    c.postfix.start()
    c.node.start()
    seen(c.node, "example.test")
    client = Client(w.client, c.mx2.ip, seconds=60)
    c.postfix.freeze()
    started = time.monotonic()
    replies, raw = transaction(client, "ice")
    took = time.monotonic() - started
    client.close()
    c.postfix.thaw()
    check([code for code, _ in replies] == [250, 250] and "queued as" in replies[1][1], "answers", replies)
    check(took < 32, "longer than the deadline", took)
    c.node.command("flush")
    wait_until(lambda: c.postfix.count() == 1, 40, "not delivered")
    queue_empty(c.node)
    arrived_exact(c.postfix, {"ice": raw})


@scenario("live: smtpout is killed between RCPT and the dot: the message arrives once", seconds=60)
def smtpout_dies(w):
    c = Cast(w, options=LIVE, postfix=False, start=False)
    fake = Fake(c.primary).up()
    c.node.start()
    seen(c.node, "example.test")
    client = Client(w.client, c.mx2.ip)
    raw = make_message("killed")
    client.cmd("MAIL FROM:<s@src.test>")
    check(client.cmd("RCPT TO:<r@example.test>")[0] == 250, "RCPT")
    c.node.kill9("smtpout")
    code, text = client.data(raw)
    client.close()
    check(code == 250, "not taken", code, text)
    wait_until(lambda: fake.messages, 20, "not delivered")
    queue_empty(c.node)
    check(fake.idents()["killed"] == 1, "more than once", fake.idents())


# --- the primary's own concurrency, and slow clients ---

@scenario("live: past the primary's budget clients are not kept waiting: the spool takes their mail", seconds=90)
def budget(w):
    c = Cast(w, options=LIVE, postfix=False, start=False, extra="limits { sessions_per_client = 100 }")
    fake = Fake(c.primary).up()
    c.node.start()
    seen(c.node, "example.test")
    clients = [Client(w.client, c.mx2.ip) for _ in range(40)]
    heard = []
    for client in clients:
        client.cmd("MAIL FROM:<s@src.test>")
        started = time.monotonic()
        heard.append(client.cmd("RCPT TO:<r@example.test>"))
        check(time.monotonic() - started < 5, "a client is kept waiting")
    live = sum(text == "2.1.5 Ok" for _, text in heard)
    check(all(code == 250 for code, _ in heard) and 5 <= live < 40, "how many were asked", live, heard[-1])
    for i, client in enumerate(clients):
        code, text = client.data(make_message(f"b{i}"))
        check(code == 250, "not taken", code, text)
        client.close()
    wait_until(lambda: len(fake.messages) == 40, 40, "not delivered", lambda: len(fake.messages))
    queue_empty(c.node)
    check(all(n == 1 for n in fake.idents().values()), "more than once", fake.idents())
    print(f"note: {live} of 40 live, the others spooled")


@scenario("live: a client that is slow with its data does not hold the primary's connection", seconds=90)
def slow_client(w):
    c = Cast(w, options=LIVE, postfix=False, start=False)
    fake = Fake(c.primary).up()
    c.node.start()
    seen(c.node, "example.test")
    client = Client(w.client, c.mx2.ip)
    raw = make_message("slow")
    client.cmd("MAIL FROM:<s@src.test>")
    check(client.cmd("RCPT TO:<r@example.test>") == (250, "2.1.5 Ok"), "RCPT")
    check(client.cmd("DATA")[0] == 354, "DATA")
    client.write(raw[:200])
    wait_until(lambda: fake.lines("RSET") or fake.lines("QUIT"), 30, "the connection is not given back")
    client.write(raw[200:].replace(b"\r\n.", b"\r\n..") + b".\r\n")
    check(client.reply() == (250, "2.0.0 Ok: taken"), "not passed on")
    client.close()
    check(messages(c.node) == 0 and fake.idents()["slow"] == 1, "spooled, or more than once")
    check(fake.messages[0][2].endswith(raw), "the bytes changed")
    check(len(fake.lines("RCPT")) == 2, "not said anew", fake.lines("RCPT"))


# --- ways ---

@scenario("live: recipients of two primaries are two transactions, and each hears its own", seconds=60)
def two_primaries(w):
    one, two, dnshost, mx2 = w.host("one", 11), w.host("two", 12), w.host("dns", 53), w.host("mx2", 20)
    Dns(dnshost, TWO.format(two=two.ip))
    first = Fake(one, {"RCPT": "250 2.1.5 one knows"}).up()
    second = Fake(two, {"RCPT": "250 2.1.5 two knows"}).up()
    node = Locum(mx2, "mx2.backup.test", {"one.test": LIVE, "two.test": LIVE}, dns=dnshost.ip).start()
    seen(node, "one.test", "two.test")
    client = Client(w.client, mx2.ip)
    replies, _ = transaction(client, "first", ("r@one.test", "r@two.test"))
    check(replies[0] == (250, "2.1.5 one knows"), "one", replies)
    check(replies[1] == (452, "4.5.3 Recipients of another server: send them in another transaction"), "two", replies)
    check(replies[2][0] == 250, "the message", replies)
    replies, _ = transaction(client, "second", ("r@two.test",))
    check(replies[0] == (250, "2.1.5 two knows") and replies[1][0] == 250, "two alone", replies)
    check([m[1] for m in first.messages] == [["r@one.test"]], "one has", first.messages)
    check([m[1] for m in second.messages] == [["r@two.test"]], "two has", second.messages)
    # One is away: its recipients and those of two do not mix either.
    first.down()
    replies, _ = transaction(client, "finds out", ("r@one.test",))
    check("queued as" in replies[-1][1], "not spooled", replies)
    down(node, "one.test")
    replies, _ = transaction(client, "third", ("r@two.test", "r@one.test"))
    check([code for code, _ in replies] == [250, 452, 250], "away", replies)
    replies, _ = transaction(client, "fourth", ("r@one.test",))
    check([code for code, _ in replies] == [250, 250] and "queued as" in replies[1][1], "spooled", replies)
    client.close()
    first.up()
    node.command("flush")
    wait_until(lambda: first.idents()["fourth"] == 1, 20, "not delivered")


@scenario("live: two domains of one primary share a transaction", seconds=60)
def one_primary(w):
    one, dnshost, mx2 = w.host("one", 11), w.host("dns", 53), w.host("mx2", 20)
    Dns(dnshost, TWO.replace("two-primary.test.", "one-primary.test.", 1).format(two="192.0.2.99"))
    fake = Fake(one).up()
    node = Locum(mx2, "mx2.backup.test", {"one.test": LIVE, "two.test": LIVE}, dns=dnshost.ip).start()
    seen(node, "one.test", "two.test")
    client = Client(w.client, mx2.ip)
    replies, _ = transaction(client, "both", ("r@one.test", "r@two.test"))
    client.close()
    check(replies == [(250, "2.1.5 Ok"), (250, "2.1.5 Ok"), (250, "2.0.0 Ok: taken")], "answers", replies)
    check([m[1] for m in fake.messages] == [["r@one.test", "r@two.test"]], "not one transaction", fake.messages)
    check(messages(node) == 0, "spooled")


@scenario("defer: strangers are told to use the primary while it is up, and are taken while it is not", seconds=120)
def defer(w):
    c = Cast(w, options='acceptance = "defer"', postfix=False, start=False)
    fake = Fake(c.primary).up()
    c.node.start()
    w.client.add_address(2, device="br0")
    # Until something was delivered nobody knows whether it is up.
    c.send("first")
    wait_until(lambda: fake.idents()["first"] == 1, 20, "not delivered")
    wait_until(lambda: destination(c.node, "example.test")["state"] == "up", 10, "not up")
    client = Client(w.client, c.mx2.ip, source="192.0.2.2")
    told = (451, "4.7.1 The server of better preference is up: please use it")
    asked = len(fake.lines("RCPT"))
    for i in range(4):  # however often: ten minutes are not over
        replies, _ = transaction(client, f"early{i}")
        check(replies == [told], "not deferred", replies)
    check(len(fake.lines("RCPT")) == asked, "the primary was asked")
    # The one that brought mail before is known as good: it passes, live.
    known = Client(w.client, c.mx2.ip)
    replies, _ = transaction(known, "known")
    check(replies == [(250, "2.1.5 Ok"), (250, "2.0.0 Ok: taken")], "one that is known is deferred", replies)
    fake.down()
    replies, _ = transaction(known, "outage")  # which finds out
    known.close()
    check("queued as" in replies[-1][1], "not spooled", replies)
    down(c.node, "example.test")
    replies, _ = transaction(client, "stranger")
    client.close()
    check([code for code, _ in replies] == [250, 250] and "queued as" in replies[1][1], "not taken", replies)
    fake.up()
    c.node.command("flush")
    wait_until(lambda: fake.idents()["outage"] == fake.idents()["stranger"] == 1, 30, "not delivered")
