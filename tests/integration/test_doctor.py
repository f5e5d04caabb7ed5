"""locum doctor DOMAIN: what it says of a domain whose DNS, primary or node is as it must be, and as it must not."""

import base64
import hashlib
import json
import shutil
import time

from common import ZONE, Cast
from harness import Client, check, sh, wait_until
from peers import DROP, STALL, Fake, Postfix, SignedDns
from scenario import scenario


def doctor(node, domain="example.test"):
    """(exit status, {check: [(verdict, seen, todo)]}), asked from the node's own host."""
    done = node.host.run(node.bin / "locum", "--config", node.config, "doctor", domain, "--json", check=False, timeout=40)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        check(False, "no JSON", done.returncode, done.stdout[-300:], done.stderr[-900:])
    found = {}
    for c in answer.get("checks", []):
        found.setdefault(c["check"], []).append((c["verdict"], c["seen"], c["todo"] or ""))
    check(done.returncode == (1 if answer.get("wrong") else 0), "the exit status does not fit", done.returncode, answer)
    return done.returncode, found


def expect(found, name, verdict, *parts):
    rows = found.get(name, [])
    check(any(v == verdict and all(p in f"{seen} / {todo}" for p in parts) for v, seen, todo in rows),
          f"{name} is not {verdict}", parts, rows or found)


@scenario("doctor finds nothing wrong with a domain that is as it must be", seconds=60)
def all_is_well(w):
    cast = Cast(w, tls=True)
    cast.postfix = Postfix(w.host("primary2", 11), mailboxes=("r", "postmaster")).start()
    cast.dns.change(ZONE.replace("192.0.2.10", "192.0.2.11"))
    status, found = doctor(cast.node)
    check(status == 0, "something is wrong", found)
    expect(found, "mx", "ok", "10 primary.example.test, 20 mx2.backup.test (us)")
    expect(found, "mx host", "ok", "primary.example.test: 192.0.2.11")
    expect(found, "mx host", "ok", "mx2.backup.test is this node: 192.0.2.20")
    expect(found, "connect", "ok", "primary.example.test (192.0.2.11:25)")
    expect(found, "extensions", "ok", "8BITMIME")
    expect(found, "size", "ok", "takes 50M")
    expect(found, "tls", "warn", "TLSv1.3", "self-signed certificate")
    expect(found, "evidence", "warn", "neither XCLIENT nor XFORWARD", "--snippet")
    expect(found, "postmaster", "ok", "taken: 250")
    expect(found, "unknown user", "ok", "refused: 550 5.1.1")
    expect(found, "locumd", "ok", "is unknown; waiting for it: 0")
    wait_until(lambda: "rset=2" in cast.postfix.log(), 10, "RSET was not said twice", lambda: cast.postfix.log()[-500:])
    check("data=" not in cast.postfix.log(), "something was sent", cast.postfix.log()[-500:])
    text = cast.mx2.run(cast.node.bin / "locum", "--config", cast.node.config, "doctor", "example.test").stdout
    check(text.startswith("CHECK") and "\nevidence: let it believe" in text, "the table", text)


NAMES = """
primary.example.test. A 192.0.2.10
other.example.test. A 192.0.2.11
alias.example.test. CNAME primary.example.test.
mx2.backup.test. A 192.0.2.20
elsewhere.backup.test. A 192.0.2.99
spare.backup.test. A 192.0.2.20
"""

# Requirement, MX records, options of the domain, what is seen: check, verdict, parts.
RECORDS = (
    ("nobody comes when no record names us", ("10 primary.example.test",), "",
     (("mx", "wrong", "none of them is this node", "publish: example.test. IN MX 20 mx2.backup.test."),)),
    ("without MX records nobody comes", (), "", (("mx", "wrong", "has no MX records"),)),
    ("a null MX", ("0 .",), "", (("mx", "wrong", "takes no mail"),)),
    ("we are no better than the primary", ("10 primary.example.test", "10 mx2.backup.test"), "",
     (("mx", "wrong", "our preference 10 is no worse than the best other one, 10", "greater preference"),
      ("route", "wrong", ""))),
    ("the same with a primary that the configuration names", ("20 primary.example.test", "10 mx2.backup.test"),
     'primary = {"192.0.2.10:25"}', (("mx", "warn", "our preference 10"), ("connect", "ok", "192.0.2.10:25"))),
    ("nobody but us", ("10 mx2.backup.test",), "", (("mx", "wrong", "nobody but this node"),)),
    ("an alias is no host for mail", ("10 alias.example.test", "20 mx2.backup.test"), "",
     (("mx host", "warn", "alias.example.test is an alias (CNAME)"), ("mx", "ok", ""))),
    ("a host without address", ("5 gone.example.test", "10 primary.example.test", "20 mx2.backup.test"), "",
     (("mx host", "wrong", "gone.example.test: has no address"),)),
    ("our address under a name that is not ours", ("10 primary.example.test", "20 spare.backup.test"), "",
     (("mx", "ok", "20 spare.backup.test (us)"),
      ("mx host", "warn", "spare.backup.test leads to this node", 'aliases = {"spare.backup.test"}'))),
)


@scenario("doctor sees our place among the MX records as the world does", seconds=90)
def the_records(w):
    cast = Cast(w, zone=NAMES, start=False)
    cast.postfix.start()
    for requirement, records, options, wanted in RECORDS:
        cast.dns.change(NAMES + "".join(f"example.test. MX {r}.\n".replace("..", ".") for r in records))
        cast.node.domains = {"example.test": options}
        cast.node.write_config()
        _, found = doctor(cast.node)
        for name, verdict, *parts in wanted:
            try:
                expect(found, name, verdict, *parts)
            except Exception as e:
                raise type(e)(f"{requirement}: {e}") from None
    cast.dns.change("elsewhere.test. A 192.0.2.9\n")
    _, found = doctor(cast.node)
    expect(found, "mx", "wrong", "does not exist in DNS")
    # A name of ours that leads elsewhere.
    cast.dns.change("example.test. MX 10 primary.example.test.\nexample.test. MX 20 mx2.backup.test.\n"
                    "primary.example.test. A 192.0.2.10\nmx2.backup.test. A 192.0.2.99\n")
    _, found = doctor(cast.node)
    expect(found, "mx host", "warn", "mx2.backup.test is our name and leads to 192.0.2.99", "addresses = {")
    check(cast.mx2.run(cast.node.bin / "locum", "--config", cast.node.config, "doctor", "nobody.test", check=False)
          .returncode == 1, "a domain that is not ours")


# Requirement, behaviour, extensions, what is seen.
PRIMARIES = (
    ("its greeting refuses us", {"CONNECT": "554 5.7.1 Your address is blocked"}, (),
     (("smtp", "wrong", "said to the connection: 554 5.7.1 Your address is blocked"),)),
    ("it hangs up", {"CONNECT": DROP}, (), (("smtp", "wrong", "connection lost at greeting"),)),
    ("it speaks no SMTP", {"CONNECT": "SSH-2.0-OpenSSH_9.2"}, (), (("smtp", "wrong", "what it said is not SMTP at greeting"),)),
    ("it greylists us", {"RCPT": "450 4.2.0 Greylisted, see http://postgrey.schweikert.ch"}, (),
     (("postmaster", "warn", "it greylists us: 450 4.2.0 Greylisted", "exempt"),)),
    ("no postmaster", {"RCPT": "550 5.1.1 No such user"}, (),
     (("postmaster", "wrong", "it does not exist: 550 5.1.1"), ("unknown user", "ok", "refused: 550 5.1.1"))),
    ("we are blocked", {"RCPT": "554 5.7.1 Service unavailable; Client host [192.0.2.20] blocked using zen.spamhaus.org"}, (),
     (("postmaster", "wrong", "this node is blocked there: 554"), ("unknown user", "warn", "blocked"))),
    ("it limits us", {"RCPT": "451 4.7.1 Too many messages from you, slow down"}, (),
     (("postmaster", "warn", "it limits how much we may bring"),)),
    ("it does not know the domain", {"RCPT": "554 5.7.1 <x>: Relay access denied"}, (),
     (("postmaster", "wrong", "does not take the domain for its own"),)),
    ("it takes everything", {}, (), (("unknown user", "warn", "is taken: 250 2.1.5 Ok"), ("postmaster", "ok", "taken"))),
    ("it refuses the null reverse-path", {"MAIL": "550 5.7.1 No bounces here"}, (),
     (("sender", "wrong", "MAIL FROM:<> is refused: 550 5.7.1 No bounces here"),)),
    ("it closes in mid-session", {"RCPT": "421 4.7.0 Too many connections from you"}, (),
     (("session", "wrong", "said to RCPT TO: 421 4.7.0 Too many connections"),)),
    ("it takes larger mail than we do", {}, ("SIZE 104857600",),
     (("size", "warn", "the primary takes 100M, we 50M", 'message_size = "100M"'),)),
    ("it takes smaller mail", {}, ("SIZE 10485760",), (("size", "ok", "the primary takes 10M, which is what we announce"),)),
    ("no STARTTLS", {}, (), (("tls", "warn", "STARTTLS is not offered"),)),
    ("STARTTLS is refused", {"STARTTLS": "454 4.7.0 TLS not available"}, ("STARTTLS",),
     (("tls", "warn", "STARTTLS is offered and then refused"), ("postmaster", "ok", ""))),
    ("its TLS is broken", {"STARTTLS": "220 2.0.0 Go ahead"}, ("STARTTLS",),
     (("tls", "warn", "at TLS handshake", "plain text"), ("postmaster", "ok", ""))),
    ("XCLIENT", {}, ("XCLIENT NAME ADDR PORT PROTO HELO",), (("evidence", "ok", "XCLIENT"),)),
    ("XFORWARD alone", {}, ("XFORWARD NAME ADDR",), (("evidence", "warn", "XFORWARD alone"),)),
    ("a control character cannot reach the terminal", {"RCPT": "550 5.1.1 \x1b[2J"}, (),
     (("postmaster", "wrong", "550 5.1.1 ?[2J"),)),
)


@scenario("doctor says what a primary does with mail from us, and never sends any", seconds=120)
def the_primary(w):
    cast = Cast(w, postfix=False, start=False)
    fake = Fake(cast.primary).up()
    for requirement, behaviour, extensions, wanted in PRIMARIES:
        fake.behaviour, fake.extensions = behaviour, ["PIPELINING", *extensions]
        _, found = doctor(cast.node)
        for name, verdict, *parts in wanted:
            try:
                expect(found, name, verdict, *parts)
            except Exception as e:
                raise type(e)(f"{requirement}: {e}") from None
        expect(found, "locumd", "warn", "locumd")
    check(not fake.lines("DATA") and not fake.lines("BDAT"), "it went on to DATA", fake.transcript[-20:])
    for _, line in fake.transcript:
        if line.startswith("MAIL"):
            check(line == "MAIL FROM:<>", "a sender was named", line)


@scenario("doctor ends within 20 s whatever does not answer, and says what that was", seconds=150)
def nothing_answers(w):
    cast = Cast(w, postfix=False, start=False)

    def within(what):
        started = time.monotonic()
        status, found = doctor(cast.node)
        took = time.monotonic() - started
        check(took < 20, f"{what}: {took:.1f} s")
        check(status == 1, f"{what}: nothing is wrong?", found)
        return found
    expect(within("refused"), "connect", "wrong", "Connection refused")
    fake = Fake(cast.primary, {"RCPT": STALL}).up()
    expect(within("silent at RCPT"), "session", "wrong", "no answer in time at RCPT TO")
    fake.behaviour = {"CONNECT": STALL}
    expect(within("silent at the greeting"), "smtp", "wrong", "no answer in time at greeting")
    cast.primary.cut_from(cast.mx2)
    expect(within("cut off"), "connect", "wrong", "primary.example.test (192.0.2.10:25): no answer in time")
    cast.dns.stop()
    cast.dnshost.cut_from(cast.mx2)
    found = within("no DNS")
    expect(found, "mx", "wrong", "DNS does not say")


@scenario("doctor and a running locumd agree about the primary, or doctor says that they do not", seconds=60)
def the_daemon(w):
    cast = Cast(w)
    cast.send("one")
    wait_until(lambda: cast.node.status()["messages"] == 1, 10, "no message waits")
    wait_until(lambda: "unreachable" in str(doctor(cast.node)[1].get("locumd")), 15, "locumd does not notice", every=0.3)
    _, found = doctor(cast.node)
    expect(found, "locumd", "ok", "primary.example.test:25 is unreachable", "waiting for it: 1")


def tlsa(certificate, usage=3, selector=1, matching=1):
    """The data of a TLSA record for a certificate, as openssl computes it."""
    if selector:
        der = sh("sh", "-c", f"openssl x509 -in {certificate} -noout -pubkey | openssl pkey -pubin -outform der | base64").stdout
    else:
        der = sh("sh", "-c", f"openssl x509 -in {certificate} -outform der | base64").stdout
    der = base64.b64decode(der)
    digest = {0: der.hex(), 1: hashlib.sha256(der).hexdigest(), 2: hashlib.sha512(der).hexdigest()}[matching]
    return f"{usage} {selector} {matching} {digest}"


@scenario("doctor sees whether our TLSA records fit what we show, under DNSSEC, and whether there is an MTA-STS policy",
          seconds=120)
def our_records(w):
    cast = Cast(w, tls=True, start=False)
    cast.postfix.start()
    right, wrong = cast.node.tls[0], w.certificate("other.backup.test")[0]
    owner = "_25._tcp.mx2.backup.test. TLSA "

    _, found = doctor(cast.node)
    expect(found, "dane", "ok", "mx2.backup.test has no TLSA records")
    expect(found, "mta-sts", "ok", "has no policy")
    cast.dns.change(ZONE + owner + tlsa(right) + "\n_mta-sts.example.test. TXT \"v=STSv1; id=1;\"\n")
    _, found = doctor(cast.node)
    expect(found, "dane", "warn", "not known without a trust anchor")
    expect(found, "mta-sts", "warn", "mx: mx2.backup.test")
    cast.dns.stop()
    shutil.rmtree(cast.dns.dir)
    dns = SignedDns(cast.dnshost, ZONE)
    cast.node.dns = None
    cast.node.write_config(extra=f'dns {{ servers = {{"{cast.dnshost.ip}:53"}} trust_anchor = "{dns.anchor}" }}')
    for requirement, record, verdict, *parts in (
            ("the key", tlsa(right), "ok", "fit every certificate that we show (1)"),
            ("the whole certificate, SHA-512", tlsa(right, 3, 0, 2), "ok", "fit every"),
            ("the key in full", tlsa(right, 3, 1, 0), "ok", "fit every"),
            ("another key", tlsa(wrong), "wrong", "fit 0 of the 1 certificates", "do not deliver here"),
            ("another key, and ours", tlsa(wrong) + "\n" + owner + tlsa(right), "ok", "fit every"),
            ("a usage that SMTP does not know", tlsa(right, 1), "wrong", "fit 0 of the 1"),
            ("an authority that signed nothing of ours", tlsa(right, 2), "wrong", "fit 0 of the 1")):
        dns.change(ZONE + owner + record + "\n")
        _, found = doctor(cast.node)
        try:
            expect(found, "dane", verdict, *parts)
        except Exception as e:
            raise type(e)(f"{requirement}: {e}") from None


def snippet(node, tool):
    return node.host.run(node.bin / "locum", "--config", node.config, "doctor", "example.test", "--snippet", tool).stdout


@scenario("doctor's snippet makes Postfix believe us and nobody else, and gives us no rights", seconds=60)
def snippet_postfix(w):
    cast = Cast(w, postfix=False)
    text = snippet(cast.node, "postfix")
    check("smtpd_authorized_xclient_hosts = 192.0.2.20\n" in text, "our address", text)
    cast.postfix = Postfix(cast.primary, extra=text, mailboxes=("r", "postmaster"))
    conf = cast.postfix.dir / "conf"
    done = cast.primary.run("postconf", "-c", conf, "-n")
    check("warning" not in done.stderr and "smtpd_authorized_xclient_hosts = 192.0.2.20\n" in done.stdout,
          "postconf", done.stdout[-900:], done.stderr)
    table = cast.primary.run("postconf", "-c", conf, "-h", "postscreen_access_list").stdout.strip().split(", ", 1)[1]
    for address, answer in (("192.0.2.20", "permit\n"), ("192.0.2.21", "")):
        got = cast.primary.run("postmap", "-c", conf, "-q", address, table, check=False)
        check(got.stdout == answer and not got.stderr, "postscreen's table", address, got.stdout, got.stderr)
    cast.postfix.start()
    _, found = doctor(cast.node)
    expect(found, "evidence", "ok", "XCLIENT")
    # Nobody else, and no relaying.
    c = Client(w.client, cast.primary.ip)
    check("XCLIENT" not in c.ehlo[1], "the client may say XCLIENT", c.ehlo)
    c = Client(cast.mx2, cast.primary.ip)
    check("XCLIENT" in c.ehlo[1], "we may not", c.ehlo)
    c.cmd("MAIL FROM:<a@src.test>")
    check(c.cmd("RCPT TO:<b@elsewhere.test>")[0] in (454, 554), "we may relay")


@scenario("doctor's snippets are what SpamAssassin, Exim and Exchange read", seconds=60)
def snippets(w):
    cast = Cast(w, postfix=False, start=False)
    notes = []
    if shutil.which("spamassassin"):
        site = w.path("spamassassin")
        shutil.copytree("/etc/spamassassin", site)
        with open(site / "local.cf", "a") as f:
            f.write(snippet(cast.node, "spamassassin"))
        done = sh("spamassassin", "--lint", f"--siteconfigpath={site}", check=False)
        check(done.returncode == 0, "spamassassin --lint", done.stdout, done.stderr)
        mail = w.path("mail")
        mail.write_text("""Received: from mx2.backup.test (mx2.backup.test [192.0.2.20])
\tby primary.example.test (Postfix) with ESMTP id 1234; Tue, 24 Nov 2026 06:25:00 +0000
Received: from evil.test (unknown [198.51.100.9])
\tby mx2.backup.test (Locum) with ESMTP id 01ARZ3NDEKTSV4RRFFQ69G5FAV
\tfor <r@example.test>; Tue, 24 Nov 2026 06:24:00 +0000
From: a@b.test

body
""")
        seen = sh("sh", "-c", f"spamassassin -L --siteconfigpath={site} -D metadata <{mail}").stderr
        check("X-Spam-Relays-External: [ ip=198.51.100.9 rdns= helo=evil.test by=mx2.backup.test" in seen,
              "SpamAssassin does not look through us", seen[-1500:])
    else:
        notes.append("SpamAssassin is not installed")
    exim = shutil.which("exim4")
    if exim:
        path = w.path("exim.conf")
        path.write_text(snippet(cast.node, "exim"))
        done = sh(exim, "-C", path, "-bP", "+locum_hosts", check=False)
        check("<; 192.0.2.20" in done.stdout, "exim", done.stdout, done.stderr)
    else:
        notes.append("exim4 is not installed (Debian has it instead of Postfix, not beside it): its text alone was compared")
    text = snippet(cast.node, "exim")
    check("hostlist locum_hosts = <; 192.0.2.20\n" in text and
          ".ifdef _OPT_MAIN_HOSTS_XCLIENT\nhosts_xclient = +locum_hosts\n.endif\n" in text, "exim", text)
    text = snippet(cast.node, "exchange")
    commands = [line for line in text.splitlines() if not line.startswith("#")]
    check(commands == ['New-InboundConnector -Name "Backup MX mx2.backup.test" -ConnectorType Partner `',
                       '  -SenderDomains "*" -RequireTls $true -SenderIPAddresses "192.0.2.20"',
                       'Set-InboundConnector -Identity "Backup MX mx2.backup.test" -EFSkipLastIP $false `',
                       '  -EFSkipIPs "192.0.2.20"'], "exchange", text)
    return "; ".join(notes)
