"""The directory of recipients: learned from what the primary says to RCPT, used while it is away."""

import re

from common import Cast, queue_empty
from harness import Client, check, make_message, wait_until
from peers import Fake
from scenario import scenario

UNKNOWN = "User unknown in virtual mailbox table"


def ask(c, *rcpts, sender="s@src.test"):
    """What the backup says to each recipient, in one transaction that ends there."""
    client = Client(c.w.client, c.mx2.ip)
    check(client.cmd(f"MAIL FROM:<{sender}>")[0] == 250, "MAIL")
    said = [client.cmd(f"RCPT TO:<{r}>") for r in rcpts]
    client.cmd("QUIT")
    return said


def expect(c, codes, what):
    """codes: {recipient: code}; the replies."""
    said = dict(zip(codes, ask(c, *codes)))
    wrong = {r: said[r] for r in codes if said[r][0] != codes[r]}
    check(not wrong, what, wrong)
    return said


def committed(c):
    """What was learned so far survives: state commits once a second, by writing one of two heads with a number."""
    def newest():
        with open(c.node.state_dir / "state/data.mdb", "rb") as f:
            head = f.read(8192)
        return max(int.from_bytes(head[at + 144:at + 152], "little") for at in (0, 4096))
    before = newest()
    wait_until(lambda: newest() > before, 5, "state does not commit")


def primary_away(c):
    """And spoold knows it: it could not deliver."""
    c.postfix.stop()
    c.send("away", rcpts=("r1@example.test",))
    wait_until(lambda: any(d["state"] == "unreachable" for d in c.node.status()["destinations"]), 20,
               "the primary is not seen to be away", c.node.status)


def policy(c, value):
    c.node.domains = {"example.test": value}
    c.node.write_config()
    c.node.command("reload")


@scenario("recipients learned live answer for the primary while it is away, across kill -9 of state and of all",
          seconds=120)
def learned_live(w):
    c = Cast(w, options='acceptance = "live"', start=False)
    c.postfix.start()
    c.node.start()
    expect(c, {"r@example.test": 250, "r1@example.test": 250, "nobody@example.test": 550},
           "the primary's own answers")
    committed(c)
    primary_away(c)

    def as_learned(what, words=True):
        said = expect(c, {"r1@example.test": 250, "R1+Tag@EXAMPLE.test": 250, "nobody@example.test": 550,
                          "Nobody+x@example.test": 550, "postmaster@example.test": 250}, what)
        check(not words or UNKNOWN in said["nobody@example.test"][1], "not the primary's words",
              said["nobody@example.test"])
    as_learned("away")
    # Not covered: who is not known is taken.
    expect(c, {"r2@example.test": 250, "other@example.test": 250}, "the default for a domain that is not covered")
    for value, code, text in (("defer", 450, "4.1.1"), ("refuse", 550, "5.1.1"), ("accept", 250, "")):
        policy(c, f'acceptance = "live" unknown = "{value}"')
        said = expect(c, {"r2@example.test": code, "r1@example.test": 250, "postmaster@example.test": 250}, value)
        check(text in said["r2@example.test"][1], value, said)
        as_learned(value)

    c.node.kill9("state")
    wait_until(lambda: c.node.pids("state"), 5, "state is not started again")
    wait_until(lambda: ask(c, "nobody@example.test")[0][0] == 550, 5, "state has forgotten after kill -9")
    as_learned("after kill -9 of state")
    c.node.kill9()
    c.node.start()
    as_learned("after kill -9 of all")


@scenario("recipients learned at delivery; a damaged directory begins anew and mail goes on", seconds=120)
def learned_at_delivery(w):
    c = Cast(w, options='acceptance = "queue"')
    c.postfix.start()
    c.send("known", rcpts=("r1@example.test",))
    c.send("unknown", rcpts=("nobody@example.test",))
    c.send("tagged", rcpts=("r2@example.test", "Nobody2@example.test"))
    wait_until(lambda: c.postfix.count("r2@example.test") == 1 and
               c.node.status()["messages_held"] == 2, 20, "not delivered or held", c.node.status)
    wait_until(lambda: ask(c, "nobody@example.test")[0][0] == 550, 5, "a refusal is not learned")
    committed(c)
    primary_away(c)
    policy(c, 'acceptance = "queue" unknown = "defer"')
    known = {"r1@example.test": 250, "r2@example.test": 250, "nobody@example.test": 550,
             "nobody2@example.test": 550, "r3@example.test": 450}
    expect(c, known, "learned at delivery")
    # Asked about one that cannot exist, over the connection of a delivery.
    check(re.search(r"<locum-[0-9a-f]{16}@example\.test>: Recipient address rejected", c.postfix.log()),
          "nobody that cannot exist was asked about", c.postfix.log()[-800:])

    c.node.stop()
    data = c.node.state_dir / "state/data.mdb"
    with open(data, "r+b") as f:
        f.write(b"Z" * 8192)
    c.node.start()
    check("directory.begun_anew" in c.node.log(), "it is not said that the directory begins anew")
    check((data.parent / "damaged").exists(), "what was damaged is not kept aside")
    policy(c, 'acceptance = "queue"')
    # Nothing is known: everybody is taken, and nothing is lost.
    expect(c, {r: 250 for r in known}, "an empty directory in the first hour of an outage")
    c.send("after", rcpts=("r3@example.test",))
    c.postfix.start()
    wait_until(lambda: c.postfix.count("r3@example.test") == 1, 60, "not delivered afterwards")


@scenario("blocked, greylisted and refused senders teach nothing about recipients", seconds=90)
def blocked(w):
    c = Cast(w, postfix=False, options='acceptance = "queue" unknown = "accept"')
    replies = {"blocked": "554 5.7.1 Service unavailable; Client host [192.0.2.20] blocked using bl.test",
               "grey": "450 4.2.0 Greylisted, see http://grey.test/",
               "relay": "554 5.7.1 Relay access denied",
               "sender": "550 5.1.8 Sender address rejected: Domain not found",
               "gone": "550 5.1.1 No such user"}
    fake = Fake(c.primary, {"RCPT": lambda s, arg: next(
        (reply for name, reply in replies.items() if f"<{name}@" in arg), None)}).up()
    for name in replies:
        c.send(name, rcpts=(f"{name}@example.test",))
    wait_until(lambda: ask(c, "gone@example.test")[0][0] == 550, 20, "the one that is gone is not learned")
    wait_until(lambda: all(fake.lines(f"RCPT TO:<{name}@".upper()) for name in replies), 20, "not tried",
               lambda: fake.transcript)
    fake.down()
    expect(c, {f"{name}@example.test": 550 if name == "gone" else 250 for name in replies},
           "a refusal that is not about the recipient")


@scenario("a primary that takes everybody is found out, without a connection of its own", seconds=60)
def takes_all(w):
    c = Cast(w, postfix=False, options='acceptance = "queue"')
    fake = Fake(c.primary).up()
    c.send("one")
    queue_empty(c.node)
    probe = lambda: [line for line in fake.lines("RCPT") if "<locum-" in line]
    wait_until(probe, 10, "one that cannot exist is not asked about", lambda: fake.transcript)
    wait_until(lambda: fake.lines("RSET"), 5, "no RSET behind it", lambda: fake.transcript)
    number = next(n for n, line in fake.transcript if "<locum-" in line)
    check(any(n == number and "<r@example.test>" in line for n, line in fake.transcript),
          "asked on a connection of its own", fake.transcript)
    for i in range(3):
        c.send(f"more{i}")
    queue_empty(c.node)
    check(len(probe()) == 1, "asked more than once a day", probe())
    check(len(fake.messages) == 4, "messages", len(fake.messages))


@scenario("locum recipients: import, list, export, coverage and forget; an import covers a domain", seconds=90)
def by_command(w):
    c = Cast(w, postfix=False, options='acceptance = "live"')
    expect(c, {"stranger@example.test": 250}, "nothing is known yet")
    names = [f"user{i:04}@example.test" for i in range(1234)]
    book = w.path("book")
    book.write_text("# all of them\n\n" + "\n".join(n.replace("user", "User") for n in names) + "\n")
    check(c.node.json("recipients", "import", "example.test", book, "--replace")["count"] == 1234, "import")
    expect(c, {"USER0007@example.test": 250, "user1233+tag@example.test": 250, "stranger@example.test": 450},
           "an import of all covers the domain")
    committed(c)
    c.node.kill9("state")
    wait_until(lambda: ask(c, "stranger@example.test")[0][0] == 450, 10, "an import does not survive kill -9")
    check(c.node.command("recipients", "export", "example.test").stdout.split() == names, "export is what was imported")
    out = w.path("exported")
    c.node.command("recipients", "export", "example.test", out)
    check(out.read_text().split() == names, "export to a file")
    rows = c.node.json("recipients", "list", "example.test")
    check([r["address"] for r in rows] == names and all(r["imported"] and r["word"] == "known" for r in rows), "list",
          rows[:2])
    check(len(c.node.json("recipients", "list", "example.test", "--rows", "3")) == 3, "--rows")
    row = c.node.json("recipients", "coverage")
    check(len(row) == 1 and row[0]["domain"] == "example.test" and row[0]["known"] == row[0]["imported"] == 1234
          and row[0]["covered"] and row[0]["whole"], "coverage", row)
    check("covered" in c.node.command("recipients", "coverage").stdout, "coverage as text")

    book.write_text("user0001@example.test\nnew@example.test\n")
    c.node.command("recipients", "import", "EXAMPLE.test", book, "--replace")
    expect(c, {"user0001@example.test": 250, "new@example.test": 250, "user0002@example.test": 450}, "replaced")
    book.write_text("good@example.test\nbad@other.test\n")
    done = c.node.command("recipients", "import", "example.test", book, check_status=False)
    check(done.returncode != 0 and f"{book}:2:" in done.stderr, "a wrong line", done.stderr)
    expect(c, {"good@example.test": 450}, "a wrong line imports nothing")
    c.node.command("recipients", "forget", "new@example.test")
    expect(c, {"new@example.test": 450}, "forgotten")
    c.node.command("recipients", "forget", "example.test")
    expect(c, {"user0001@example.test": 250, "stranger@example.test": 250}, "all forgotten: an empty directory")
    for words in (["list", "other.test"], ["import", "example.test", "/nowhere"], ["forget", "nobody@example.test"],
                  ["list"], ["frobnicate", "example.test"]):
        done = c.node.command("recipients", *words, check_status=False)
        check(done.returncode != 0 and done.stderr.startswith("locum: "), "a wrong command", words, done.stderr)
