"""What the front door was told, as it lies in the spool: `locum show --json` field by field."""

import re
import ssl

from common import Cast
from harness import Client, check, wait_until
from peers import Fake
from scenario import scenario

EVERYTHING = ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "BINARYMIME", "REQUIRETLS")
US = "192.0.2.1"
FROM_DNS = ("no-reverse-name", "reverse-unconfirmed", "helo-unknown")

# An envelope of which nothing was said but the least.
PLAIN = {"reverse_path": "s@src.test", "hostname": "mx2.backup.test", "body_8bitmime": False, "body_binarymime": False,
         "smtputf8": False, "requiretls": False, "dsn_ret": "", "dsn_envid": "", "forwarded": []}
PLAIN_CLIENT = {"address": US, "name": None, "helo": "client.src.test", "esmtp": True, "tls_version": None, "tls_cipher": None,
                "listener": "mx0", "told_by": None, "login": None, "trusted": True}


def recipient(address, notify="", orcpt="", primary="unreachable"):
    return {"address": address, "domain": "example.test", "primary": primary, "notify": notify, "orcpt": orcpt}


def chunk(c, raw):
    c.write(b"BDAT %d LAST\r\n" % len(raw) + raw)
    return c.reply()


def send(c, mail, rcpts, raw=b"a: b\r\n\r\ntext\r\n"):
    """One transaction by BDAT; the message's id."""
    for line in (mail, *rcpts):
        reply = c.cmd(line.encode().decode("latin-1"))
        check(reply[0] == 250, "refused", line, reply)
    code, text = chunk(c, raw)
    check(code == 250, "not taken", code, text)
    return text.split()[-1]


class Stored:
    """A node that can be told everything, whose primary offers everything and takes nothing."""

    def __init__(self, w):
        self.cast = c = Cast(w, postfix=False, tls=True, start=False, extra=f"""
            trusted = {{"{US}/32"}}
            listen "proxy" {{ address = "192.0.2.20:26" proxy_protocol = true proxy_from = {{"{US}/32"}} }}""")
        fake = Fake(c.primary, extensions=EVERYTHING, tls=w.certificate("primary.example.test")).up()
        c.node.start()
        wait_until(lambda: self.offers(), 20, "not everything is announced")
        fake.behaviour["MAIL"] = "451 4.3.0 Later"

    def client(self, port=25, **more):
        return Client(self.cast.w.client, self.cast.mx2.ip, port, **more)

    def offers(self):
        c = self.client()
        try:
            return {"SMTPUTF8", "DSN", "BINARYMIME"} <= set(c.ehlo[1].split())
        finally:
            c.close()

    def expect(self, ident, recipients, client=None, body_bytes=14, symbols=None, **said):
        """What the spool holds of the message is this, and nothing else was said."""
        got = self.cast.node.json("show", ident)["envelope"]
        port, arrived = got["client"].pop("port"), got.pop("arrived")
        check(0 < port < 65536 and re.match(r"2\d\d\d-\d\d-\d\dT", arrived), "a strange port or time", port, arrived)
        # What DNS says is noted when it is there in time; nobody waits for a score.
        noticed = {s["name"]: s["score"] for s in got.pop("symbols") if s["name"] not in FROM_DNS}
        check(noticed == (symbols or {}), "noticed something else", noticed)
        if said.get("requiretls"):
            check(got["client"]["tls_cipher"].startswith("TLS_"), "no cipher", got)
            got["client"]["tls_cipher"] = "TLS_"
        for one in got["recipients"]:  # at that moment, which the scenario does not decide
            check(one["primary"] in ("up", "unknown", "unreachable", "refusing"), "a strange state", one)
            one["primary"] = "unreachable"
        want = PLAIN | said | {"id": ident, "recipients": recipients, "client": PLAIN_CLIENT | (client or {}),
                               "body_bytes": body_bytes}
        differ = {k: (got.get(k), want.get(k)) for k in got.keys() | want.keys() if got.get(k) != want.get(k)}
        check(not differ, "stored otherwise than it was said (stored, said)", differ)


@scenario("whatever a client says of its message is stored as it said it", seconds=60)
def parameters(w):
    n = Stored(w)
    c = n.client()
    ident = send(c, "MAIL FROM:<s\u00f8ren@src.test> SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=q+2B1 SIZE=14",
                 ("RCPT TO:<j\u00f6rg@example.test> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;j\\x{F6}rg@src.test",
                  "RCPT TO:<n@example.test> NOTIFY=NEVER", "RCPT TO:<p@EXAMPLE.test> ORCPT=rfc822;o+2Bp@src.test"))
    n.expect(ident, [recipient("j\u00f6rg@example.test", "SUCCESS,DELAY", "utf-8;j\\x{F6}rg@src.test"),
                     recipient("n@example.test", "NEVER"), recipient("p@EXAMPLE.test", "", "rfc822;o+2Bp@src.test")],
             reverse_path="s\u00f8ren@src.test", smtputf8=True, body_8bitmime=True, dsn_ret="HDRS", dsn_envid="q+2B1")
    ident = send(c, "MAIL FROM:<> BODY=BINARYMIME", ("RCPT TO:<r@example.test>",), b"a: b\n\n\0.\r")
    n.expect(ident, [recipient("r@example.test")], reverse_path="", body_binarymime=True, body_bytes=9)
    # What the message before said is forgotten.
    ident = send(c, "MAIL FROM:<s@src.test>", ("RCPT TO:<r@example.test>",))
    n.expect(ident, [recipient("r@example.test")])
    # That of a transaction that was broken off as well.
    c.cmd("MAIL FROM:<a@src.test> SMTPUTF8 RET=FULL ENVID=x")
    c.cmd("RCPT TO:<x@example.test> NOTIFY=NEVER")
    check(c.cmd("RSET")[0] == 250, "RSET refused")
    ident = send(c, "MAIL FROM:<s@src.test>", ("RCPT TO:<r@example.test>",))
    n.expect(ident, [recipient("r@example.test")])
    c.close()
    c = n.client(helo=None)
    check(c.cmd("HELO old.src.test")[0] == 250, "HELO refused")
    ident = send(c, "MAIL FROM:<s@src.test>", ("RCPT TO:<r@example.test>",))
    n.expect(ident, [recipient("r@example.test")], {"helo": "old.src.test", "esmtp": False})


@scenario("REQUIRETLS, and the TLS that it came under, are stored", seconds=60)
def requiretls(w):
    n = Stored(w)
    c = n.client()
    check(c.cmd("STARTTLS")[0] == 220, "STARTTLS refused")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    c.sock = context.wrap_socket(c.sock)
    c.file = c.sock.makefile("rb")
    check("REQUIRETLS" in c.cmd("EHLO tls.src.test")[1].split(), "REQUIRETLS is not announced")
    ident = send(c, "MAIL FROM:<s@src.test> REQUIRETLS RET=FULL", ("RCPT TO:<r@example.test>",))
    n.expect(ident, [recipient("r@example.test")], {"helo": "tls.src.test", "tls_version": "TLSv1.3", "tls_cipher": "TLS_"},
             requiretls=True, dsn_ret="FULL")


@scenario("whose client it is, by XCLIENT, XFORWARD or PROXY, is stored, and who told it", seconds=60)
def told(w):
    n = Stored(w)
    to = [recipient("r@example.test")]
    rcpt = ("RCPT TO:<r@example.test>",)
    c = n.client()
    check(c.cmd("XFORWARD NAME=spike.src.test ADDR=198.51.100.7 PROTO=ESMTP")[0] == 250, "XFORWARD refused")
    check(c.cmd("XFORWARD HELO=sp+20ike SOURCE=REMOTE")[0] == 250, "XFORWARD refused")
    ident = send(c, "MAIL FROM:<s@src.test>", rcpt)
    n.expect(ident, to, forwarded=["NAME=spike.src.test", "ADDR=198.51.100.7", "PROTO=ESMTP", "HELO=sp ike", "SOURCE=REMOTE"])
    n.expect(send(c, "MAIL FROM:<s@src.test>", rcpt), to)  # it was said of one message
    check(c.cmd("XCLIENT NAME=mail.src.test ADDR=198.51.100.7 PORT=4321 HELO=spike LOGIN=al+2Bice PROTO=ESMTP")[0] == 220,
          "XCLIENT refused")
    c.cmd("EHLO relay.src.test")
    ident = send(c, "MAIL FROM:<s@src.test>", rcpt)
    check(n.cast.node.json("show", ident)["envelope"]["client"]["port"] == 4321, "not the port that was told")
    client = {"address": "198.51.100.7", "told_by": US, "trusted": False}
    n.expect(ident, to, client | {"name": "mail.src.test", "helo": "spike", "login": "al+ice"},
             symbols={"helo-bare-word": 1})
    c.close()
    s = n.cast.w.client.connect(n.cast.mx2.ip, 26)
    s.sendall(b"PROXY TCP6 2001:db8:1::7 2001:db8::20 4322 26\r\n")
    c = Client.__new__(Client)
    c.sock, c.file = s, s.makefile("rb")
    check(c.reply()[0] == 220, "not greeted")
    c.cmd("EHLO [IPv6:2001:db8:1::7]")
    ident = send(c, "MAIL FROM:<s@src.test>", rcpt)
    check(n.cast.node.json("show", ident)["envelope"]["client"]["port"] == 4322, "not the port that was told")
    n.expect(ident, to, {"address": "2001:db8:1::7", "told_by": US, "trusted": False, "listener": "proxy",
                         "helo": "[IPv6:2001:db8:1::7]"}, symbols={"helo-literal": 0.5})

