"""The usual cast: a primary, one or more backups, DNS that names them."""

import re

from harness import Locum, check, make_message, send_one, wait_until
from peers import Dns, Postfix, ident_of

ZONE = """
example.test. MX 10 primary.example.test.
example.test. MX 20 mx2.backup.test.
primary.example.test. A 192.0.2.10
mx2.backup.test. A 192.0.2.20
"""


class Cast:
    """primary (Postfix unless told otherwise), mx2 (Locum) and dns, on hosts of their own."""

    def __init__(self, w, zone=ZONE, postfix=True, domains=("example.test",), options="", extra="",
                 state_dir=None, tls=False, start=True):
        self.w = w
        self.primary, self.mx2, self.dnshost = (
            w.host("primary", 10), w.host("mx2", 20), w.host("dns", 53))
        self.dns = Dns(self.dnshost, zone)
        self.postfix = Postfix(self.primary, domains) if postfix else None
        self.node = Locum(self.mx2, "mx2.backup.test", {d: options for d in domains},
                          dns=self.dnshost.ip, extra=extra, state_dir=state_dir,
                          tls=w.certificate("mx2.backup.test") if tls else None)
        if start:
            self.node.start()

    def send(self, ident, ip=None, size=2000, sender="s@src.test", rcpts=("r@example.test",)):
        """Hands one message to the backup and expects it to be taken; the bytes sent."""
        raw = make_message(ident, size, sender, rcpts[0])
        code, text = send_one(self.w, ip or self.mx2.ip, raw, sender, rcpts)
        check(code == 250, f"{ident} was not taken", code, text)
        return raw


def only_headers_added(got, sent, ident):
    """`got` is `sent` under added header fields, and nothing else; the added part."""
    check(got.endswith(sent), f"{ident}: the bytes below our headers changed",
          got[:600], sent[:200])
    added = got[:len(got) - len(sent)]
    fields = re.sub(rb"\r\n[ \t]", b" ", added).split(b"\r\n")
    check(fields[-1] == b"" and all(re.match(rb"[A-Za-z0-9-]+:", f) for f in fields[:-1]),
          f"{ident}: something that is no header was added on top", added)
    return added


def arrived_exact(postfix, sent, rcpt="r@example.test"):
    """Every message of `sent` {ident: bytes} is at the recipient once, byte-exact below added headers."""
    got = {ident_of(m): m for m in postfix.mail(rcpt)}
    for ident, raw in sent.items():
        check(ident in got, f"{ident} is lost")
        only_headers_added(got[ident], raw, ident)
    twice = {i: n for i, n in postfix.idents(rcpt).items() if n > 1}
    check(not twice, "delivered more than once", twice)
    check(set(got) == set(sent), "something else arrived", set(got) - set(sent))


def queue_empty(node, seconds=20):
    wait_until(lambda: node.status()["messages"] == 0, seconds, "the queue does not become empty",
               every=0.3)
