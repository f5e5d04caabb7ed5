"""Internationalised mail and delivery reports, with Postfix as the primary on both sides of the question."""

import subprocess

from common import Cast, queue_empty
from harness import Client, Locum, check, wait_until
from peers import Dns, Postfix
from scenario import scenario

IDN = "b\u00fccher.test"
IDN_ASCII = "xn--bcher-kva.test"
ZONE = f"""
example.test. MX 10 primary.example.test.
example.test. MX 20 mx2.backup.test.
{IDN_ASCII}. MX 10 primary.example.test.
{IDN_ASCII}. MX 20 mx2.backup.test.
plain.test. MX 10 primary.plain.test.
plain.test. MX 20 mx2.backup.test.
primary.example.test. A 192.0.2.10
primary.plain.test. A 192.0.2.11
mx2.backup.test. A 192.0.2.20
"""


def wire(text):
    """As Client writes it: UTF-8 on the wire."""
    return text.encode().decode("latin-1")


def message(ident, subject):
    return (f"Message-ID: <{ident}@src.test>\r\nFrom: S\u00f8ren <s\u00f8ren@src.test>\r\n"
            f"To: J\u00f6rg <j\u00f6rg@{IDN}>\r\nSubject: {subject}\r\n"
            "Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            "Gr\u00fc\u00dfe\r\n").encode()


class Mailboxes(Postfix):
    """Postfix whose mailboxes can be found under both forms of their domain."""

    def __init__(self, host, enable, domains, **more):
        # To Postfix the two forms are two domains.
        both = (*domains, IDN) if IDN_ASCII in domains else domains
        super().__init__(host, both, extra=f"smtputf8_enable = {enable}\n" + more.pop("extra", ""),
                         **more)
        boxes = self.dir / "conf/mailboxes"
        boxes.write_text(boxes.read_text() +
                         "".join(f"{who}@{d} {IDN_ASCII}/jorg/\n" for who in ("j\u00f6rg", "jorg")
                                 for d in (IDN, IDN_ASCII) if IDN_ASCII in domains))

    def enable(self, word):
        main = self.dir / "conf/main.cf"
        text = main.read_text()
        main.write_text("\n".join(f"smtputf8_enable = {word}" if line.startswith("smtputf8_enable") else line
                                  for line in text.splitlines()) + "\n")


def offers(w, node, keyword):
    c = Client(w.client, node.host.ip)
    try:
        return keyword in c.ehlo[1].split()
    finally:
        c.close()


def send(w, node, sender, rcpt, raw, parameters="SMTPUTF8 BODY=8BITMIME", rcpt_parameters=""):
    c = Client(w.client, node.host.ip)
    try:
        code, text = c.cmd(wire(f"MAIL FROM:<{sender}> {parameters}"))
        check(code == 250, "MAIL refused", code, text)
        reply = c.cmd(wire(f"RCPT TO:<{rcpt}>{rcpt_parameters}"))
        return reply if reply[0] != 250 else c.data(raw)
    finally:
        c.close()


class World:
    def __init__(self, w, enable, extra="", domains=("example.test", IDN_ASCII)):
        self.w = w
        self.primary, self.mx2, dns = w.host("primary", 10), w.host("mx2", 20), w.host("dns", 53)
        self.dns = Dns(dns, ZONE)
        self.postfix = Mailboxes(self.primary, enable, domains, extra=extra).start()
        self.node = Locum(self.mx2, "mx2.backup.test", {d: "" for d in domains}, dns=dns.ip)
        self.node.start()


@scenario("internationalised mail reaches Postfix as it was, addresses and headers in UTF-8", seconds=90)
def international(w):
    c = World(w, "yes")
    wait_until(lambda: offers(w, c.node, "SMTPUTF8"), 20, "SMTPUTF8 is not announced after the first probe")
    c.postfix.stop()
    check(offers(w, c.node, "SMTPUTF8"), "forgotten when the primary went away")
    raw = message("eai1", "P\u0159\u00edli\u0161 \u017elu\u0165ou\u010dk\u00fd")
    code, text = send(w, c.node, "s\u00f8ren@src.test", f"j\u00f6rg@{IDN}", raw)
    check(code == 250, "not taken", code, text)
    row = c.node.json("queue")[0]
    shown = c.node.json("show", row["id"])
    check(shown["envelope"]["smtputf8"] and shown["recipients"][0]["domain"] == IDN_ASCII, "shown wrongly", shown)
    c.postfix.start()
    c.node.command("flush")
    queue_empty(c.node)
    wait_until(lambda: c.postfix.count(f"jorg@{IDN_ASCII}") == 1, 20, "Postfix did not deliver it",
               lambda: c.postfix.log()[-1500:])
    got = c.postfix.mail(f"jorg@{IDN_ASCII}")[0]
    check(got.endswith(raw), "the message was changed", got)
    check(b"(Locum) with UTF8SMTP id " in got, "our Received does not say how it came", got)
    check("s\u00f8ren@src.test" in c.postfix.log(), "the sender is not the one", c.postfix.log()[-800:])


@scenario("mail that needs SMTPUTF8 is held, with the reason, when its primary has lost it; release tries again",
          seconds=120)
def lost_smtputf8(w):
    c = World(w, "yes")
    wait_until(lambda: offers(w, c.node, "SMTPUTF8"), 20, "SMTPUTF8 is not announced")
    c.postfix.stop()
    raw = message("eai2", "h\u00e9")
    code, text = send(w, c.node, "s\u00f8ren@src.test", f"j\u00f6rg@{IDN}", raw)
    check(code == 250, "not taken", code, text)
    plain = raw.replace("J\u00f6rg <j\u00f6rg@b\u00fccher.test>".encode(), b"x@y").replace(
        "S\u00f8ren <s\u00f8ren@src.test>".encode(), b"s@x").replace("h\u00e9".encode(), b"he").replace(
            b"eai2", b"eai3")
    code, text = send(w, c.node, "s@src.test", f"jorg@{IDN}", plain)
    check(code == 250, "not taken", code, text)
    c.postfix.enable("no")
    c.postfix.start()
    c.node.command("flush")
    wait_until(lambda: [m["state"] for m in c.node.json("queue")] == ["held"], 30, "not held",
               lambda: c.node.json("queue"))
    row = c.node.json("queue")[0]
    check("does not offer SMTPUTF8" in row["text"] and "held, not changed" in row["text"], "no reason", row)
    wait_until(lambda: c.postfix.count(f"jorg@{IDN_ASCII}") == 1, 20, "the one with ASCII headers did not go")
    got = c.postfix.mail(f"jorg@{IDN_ASCII}")[0]
    check(got.endswith(plain) and b"eai3" in got, "not the one with ASCII headers", got)
    wait_until(lambda: not offers(w, c.node, "SMTPUTF8"), 10, "still announced")
    c.postfix.stop()
    c.postfix.enable("yes")
    c.postfix.start()
    c.node.command("release", row["id"])
    queue_empty(c.node, 60)
    wait_until(lambda: c.postfix.count(f"jorg@{IDN_ASCII}") == 2, 20, "not delivered after release")
    check(any(m.endswith(raw) for m in c.postfix.mail(f"jorg@{IDN_ASCII}")), "the message was changed")


@scenario("a recipient whose primary lacks SMTPUTF8 is refused at RCPT, others are not", seconds=90)
def refused_at_rcpt(w):
    c = World(w, "yes")
    other = Mailboxes(w.host("primary2", 11), "no", ("plain.test",)).start()
    c.node.domains["plain.test"] = ""
    c.node.write_config()
    c.node.command("reload")
    wait_until(lambda: offers(w, c.node, "SMTPUTF8"), 20, "SMTPUTF8 is not announced")
    wait_until(lambda: any(d["seen"] and "plain.test" in d["domains"] for d in c.node.status()["destinations"]),
               20, "the second primary was not probed", lambda: c.node.status()["destinations"])
    code, text = send(w, c.node, "s\u00f8ren@src.test", "r@plain.test", b"a: b\r\n\r\n")
    check(code == 553 and "5.6.7" in text, "not refused as it should be", code, text)
    code, text = send(w, c.node, "s\u00f8ren@src.test", "r@example.test", b"a: b\r\n\r\n")
    check(code == 250, "refused as well", code, text)
    check(not other.log().count("status=sent"), "something went there")


@scenario("DSN parameters reach Postfix as the client gave them", seconds=90)
def dsn(w):
    c = World(w, "no", extra="smtpd_recipient_restrictions = check_recipient_access static:HOLD, permit\n",
              domains=("example.test",))
    wait_until(lambda: offers(w, c.node, "DSN"), 20, "DSN is not announced though all primaries offer it")
    code, text = send(w, c.node, "s@src.test", "r@example.test", b"a: b\r\n\r\ntext\r\n",
                      "RET=HDRS ENVID=q+2B1", " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+2Br@x.test")
    check(code == 250, "not taken", code, text)
    wait_until(lambda: list((c.postfix.dir / "queue/hold").glob("*")), 30, "did not arrive",
               lambda: c.node.json("queue"))
    name = next((c.postfix.dir / "queue/hold").glob("*")).name
    kept = c.primary.run("postcat", "-c", c.postfix.dir / "conf", "-e", c.postfix.dir / "queue/hold" / name).stdout
    for wanted in ("envelope_id=q+1", "ret_flags=2", "notify_flags=10", "dsn_orig_rcpt=rfc822;o+r@x.test"):
        check(wanted in kept.replace(" ", "") or wanted in kept, f"{wanted} is not in Postfix's queue file", kept)
