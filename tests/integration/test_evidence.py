"""What a primary is told of the client: XCLIENT and XFORWARD to real Postfix."""

import re
from json import loads
from subprocess import run

from common import Cast, only_headers_added
from harness import Client, check, make_message, wait_until
from peers import Fake, Postfix, ident_of
from scenario import scenario

MAY_XCLIENT = "smtpd_authorized_xclient_hosts = 192.0.2.20"
MAY_XFORWARD = "smtpd_authorized_xforward_hosts = 192.0.2.20"
ONE, TWO = 101, 102


class Told(Cast):
    """A primary with that configuration, and two clients with addresses and names of their own."""

    def __init__(self, w, extra, options="", zone="", **kw):
        # Time to ask DNS for the name.
        super().__init__(w, postfix=False, options=options, start=False, extra='greet_delay = "1s"', **kw)
        self.dns.change(self.ZONE + zone)
        self.postfix = Postfix(self.primary, extra=extra).start()
        self.clients = {}
        for octet in (ONE, TWO):
            w.client.add_address(octet, device="br0")
        self.node.start()

    ZONE = """
example.test. MX 10 primary.example.test.
example.test. MX 20 mx2.backup.test.
primary.example.test. A 192.0.2.10
mx2.backup.test. A 192.0.2.20
one.src.test. A 192.0.2.101
101.2.0.192.in-addr.arpa. PTR one.src.test.
"""

    def bring(self, ident, octet, helo, want=250):
        """That client brings a message over a connection of its own; the bytes."""
        raw = make_message(ident)
        c = Client(self.w.client, self.mx2.ip, helo=helo, source=f"192.0.2.{octet}")
        code, text = c.send(raw)
        c.close()
        check(code == want, f"{ident} was not taken", code, text)
        return raw

    def arrived(self, ident, raw, seconds=15):
        """The headers that were put on top, at the primary."""
        def there():
            return next((m for m in self.postfix.mail() if ident_of(m) == ident), None)
        wait_until(there, seconds, f"{ident} does not arrive", lambda: self.node.log()[-1500:])
        return only_headers_added(there(), raw, ident)

    def connections(self):
        return len(re.findall(r"smtpd\[\d+\]: connect from \S*\[192\.0\.2\.20\]", self.postfix.log()))


def top_received(added):
    return re.search(rb"(?s)Received: (.*?)\r\n(?![ \t])", added).group(1).decode()


def says(added, helo, who):
    """The primary's own Received says what it takes the client for."""
    got = top_received(added)
    check(got.startswith(f"from {helo} ({who})"), "the primary takes the client for another", got)


@scenario("XCLIENT: the primary sees each client as if it had come itself", seconds=60)
def xclient(w):
    c = Told(w, MAY_XCLIENT + "\nsmtpd_tls_received_header = yes")
    for i, (octet, helo, who) in enumerate(((ONE, "helo.one.test", "one.src.test [192.0.2.101]"),
                                            (TWO, "helo.two.test", "unknown [192.0.2.102]"),
                                            (ONE, "[192.0.2.101]", "one.src.test [192.0.2.101]"))):
        raw = c.bring(f"m{i}", octet, helo)
        says(c.arrived(f"m{i}", raw), helo, who)
    check("(using TLSv1.3" in top_received(c.arrived("m2", raw)), "TLS was lost on the way")
    left = re.findall(r"lost connection .*\[192\.0\.2\.(?:20|101|102)\]", c.postfix.log())
    check(not left, "connections are dropped without QUIT", left)
    check("xclient" in str(c.node.json("status")["destinations"]).lower(), "it is not told that the primary offers it",
          c.node.json("status")["destinations"])


@scenario("XCLIENT: several messages of one session go over one connection", seconds=60)
def xclient_same(w):
    c = Told(w, MAY_XCLIENT)
    client = Client(w.client, c.mx2.ip, helo="helo.one.test", source=f"192.0.2.{ONE}")
    for i in range(3):
        raw = make_message(f"m{i}")
        check(client.send(raw)[0] == 250, "not taken")
        says(c.arrived(f"m{i}", raw), "helo.one.test", "one.src.test [192.0.2.101]")
    client.close()
    check(c.connections() == 1, "not one connection", c.postfix.log()[-2000:])


@scenario("XCLIENT: what the primary says of the client is its word about the message", seconds=60)
def judged(w):
    c = Told(w, MAY_XCLIENT + """
smtpd_delay_reject = no
smtpd_client_restrictions = check_client_access inline:{ {192.0.2.101 = 554 5.7.1 we know you} }
smtpd_helo_restrictions = check_helo_access inline:{ {bad.helo.test = 550 5.7.1 no such name} }
""")
    c.bring("refused", ONE, "helo.one.test")
    wait_until(lambda: c.node.status()["messages_held"] == 1, 15, "not held", lambda: c.node.log()[-1500:])
    c.bring("name", TWO, "bad.helo.test")
    wait_until(lambda: c.node.status()["messages_held"] == 2, 15, "not held", lambda: c.node.log()[-1500:])
    raw = c.bring("other", TWO, "helo.two.test")
    says(c.arrived("other", raw), "helo.two.test", "unknown [192.0.2.102]")
    check("we know you" in c.node.log() and "no such name" in c.node.log(), "the reply is not told")


@scenario("XCLIENT: with checks at RCPT, as is the default, the reply to RCPT decides", seconds=60)
def judged_at_rcpt(w):
    c = Told(w, MAY_XCLIENT + """
smtpd_client_restrictions = check_client_access inline:{ {192.0.2.101 = 554 5.7.1 we know you} }
""")
    c.bring("refused", ONE, "helo.one.test")
    wait_until(lambda: c.node.status()["messages_held"] == 1, 15, "not held", lambda: c.node.log()[-1500:])
    raw = c.bring("other", TWO, "helo.two.test")
    says(c.arrived("other", raw), "helo.two.test", "unknown [192.0.2.102]")


@scenario("XFORWARD: the primary logs whom the message comes from, for two clients on one connection", seconds=60)
def xforward(w):
    c = Told(w, MAY_XFORWARD)
    for ident, octet, helo in (("m0", ONE, "helo.one.test"), ("m1", TWO, "helo.two.test")):
        raw = c.bring(ident, octet, helo)
        says(c.arrived(ident, raw), "mx2.backup.test", "unknown [192.0.2.20]")
    log = c.postfix.log()
    check("orig_client=one.src.test[192.0.2.101]" in log, "the first client is not logged", log[-2000:])
    check("orig_client=unknown[192.0.2.102]" in log, "the second client is not logged", log[-2000:])
    check(c.connections() == 1, "not one connection", log[-2000:])


@scenario("evidence = header | none: nothing is said of the client but on top of the message", seconds=60)
def untold(w):
    c = Told(w, MAY_XCLIENT + "\n" + MAY_XFORWARD, 'evidence = "header"')
    raw = c.bring("m0", ONE, "helo.one.test")
    added = c.arrived("m0", raw)
    says(added, "mx2.backup.test", "unknown [192.0.2.20]")
    check("orig_client" not in c.postfix.log(), "it was told by XFORWARD", c.postfix.log()[-1000:])
    check(b"X-Locum-Evidence: v=1 " in added, "there is no evidence", added)


def verify(c, raw, *options, json=True):
    """Of the bytes in a file: the exit status, and what is said."""
    path = c.w.path("verify.eml")
    path.write_bytes(raw)
    r = c.node.command("verify", *(["--json"] if json else []), *options, path, check_status=False)
    return r.returncode, loads(r.stdout) if json else r.stdout


@scenario("the signed evidence: locum verify tells a sound one from a pasted, a changed and a foreign one", seconds=60)
def signed(w):
    c = Told(w, "")
    raw = c.bring("m0", ONE, "helo.one.test")
    c.arrived("m0", raw)
    got = c.postfix.mail()[0]
    status, said = verify(c, got.replace(b"\r\n", b"\n"))  # as it lies in the Maildir
    check(status == 0 and said["sound"] and said["added_bytes"] == 0, "not sound", said)
    want = {"client": "192.0.2.101", "name": "one.src.test", "helo": "helo.one.test", "proto": "ESMTP",
            "from": "s@src.test", "to": "r@example.test", "domain": "example.test", "recipients": "1"}
    check(want.items() <= said["said"].items(), "it says something else", said)
    check(verify(c, got, json=False)[0] == 0, "not sound as text")
    head, body = got.split(b"\r\n\r\n", 1)
    for what, other in (("body", head + b"\r\n\r\nBuy this\r\n"),
                             ("headers", got.replace(b"Subject:", b"Subject: [SPAM]")),
                             ("evidence", got.replace(b"client=192.0.2.101", b"client=192.0.2.102")),
                             ("absence", raw)):
        check(other != got, f"the {what} did not change")
        status, said = verify(c, other)
        check(status == 1 and not said["sound"], f"changed {what} is not noticed", said)
    status, said = verify(c, head + b"\r\nX-Spam: no\r\n\r\n" + body)
    check(status == 0 and said["added_bytes"] == 12, "a header of the primary's spoils it", said)
    foreign = w.path("foreign.key")
    foreign.write_text("00" * 32 + "\n")
    check(verify(c, got, "--key", foreign)[0] == 1, "another key signs it as well")
    key = c.node.state_dir / "evidence.key"
    check(key.stat().st_mode & 0o777 == 0o600 and key.stat().st_uid == 0, "others may read the key")
    before = key.read_text()
    c.node.kill9()
    c.node.start()
    check(key.read_text() == before, "a new key was made")


@scenario("locum export carries the headers that the primary would get", seconds=60)
def exported(w):
    c = Told(w, "")
    c.postfix.stop()
    raw = c.bring("m0", ONE, "helo.one.test")
    ident = c.node.json("queue")[0]["id"]
    r = run([c.node.bin / "locum", "--config", c.node.config, "export", ident], capture_output=True, check=True)
    check(r.stdout.endswith(raw), "not the message", r.stdout[:500])
    status, said = verify(c, r.stdout)
    check(status == 0 and said["said"]["client"] == "192.0.2.101", "not signed", said, r.stdout[:900])


@scenario("a primary that offers XCLIENT and refuses it gets the message without, and is not asked again", seconds=60)
def refused(w):
    c = Cast(w, postfix=False)
    fake = Fake(c.primary, {"XCLIENT": "550 5.7.0 Error: insufficient authorization"},
                extensions=("PIPELINING", "XCLIENT NAME ADDR HELO")).up()
    for i in range(3):
        c.send(f"m{i}")
        wait_until(lambda n=i + 1: len(fake.messages) == n, 15, "not handed over", lambda: c.node.log()[-1500:])
    check(len(fake.lines("XCLIENT")) == 1, "asked more than once", fake.transcript)


@scenario("XCLIENT, live: the client hears what the primary says of it; the next one is judged for itself", seconds=60)
def live(w):
    c = Told(w, MAY_XCLIENT + """
smtpd_delay_reject = no
smtpd_client_restrictions = check_client_access inline:{ {192.0.2.101 = 554 5.7.1 we know you} }
""", 'acceptance = "live"')
    refused = Client(w.client, c.mx2.ip, helo="helo.one.test", source=f"192.0.2.{ONE}")
    code, text = refused.send(make_message("refused"))
    check(code == 554 and "we know you" in text, "the client hears something else", code, text, c.node.log()[-1500:])
    refused.close()
    raw = c.bring("other", TWO, "helo.two.test")
    added = c.arrived("other", raw)
    says(added, "helo.two.test", "unknown [192.0.2.102]")
    check(b"X-Locum-Evidence: v=1 " in added, "there is no evidence", added)
    check("live.delivered" in c.node.log() and c.node.status()["messages"] == 0, "it did not go live", c.node.log()[-1500:])
