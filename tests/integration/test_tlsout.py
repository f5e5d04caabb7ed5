"""TLS towards the primaries: what DNSSEC says of a host's certificate is what counts (DANE), and nobody in between can
talk us out of it."""

import hashlib
import json
import re
import socket
import ssl
import threading
import time

from harness import Client, Locum, check, make_message, send_one, sh, wait_until
from peers import Fake, SignedDns
from scenario import scenario


class Ca:
    """An authority of the scenario's own."""

    def __init__(self, w, name="ca"):
        self.w, self.crt, self.key = w, w.path(f"{name}.crt"), w.path(f"{name}.key")
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
           "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.crt)


def certificate(w, file, name, ca=None, days=30):
    """Two paths: a certificate for that name, its authority behind it; without one it signs itself."""
    crt, key, request, extensions = (w.path(f"{file}.{end}") for end in ("crt", "key", "csr", "ext"))
    sh("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=leaf",
       "-keyout", key, "-out", request)
    extensions.write_text(f"subjectAltName=DNS:{name}")
    sign = ["-CA", ca.crt, "-CAkey", ca.key, "-CAcreateserial"] if ca else ["-key", key]
    sh("openssl", "x509", "-req", "-in", request, "-days", days, "-extfile", extensions, "-out", crt, *sign)
    if ca:
        crt.write_text(crt.read_text() + ca.crt.read_text())
    return crt, key


def tlsa(usage, selector, crt):
    """Its data, matching type 1: of the first certificate in the file."""
    der = ssl.PEM_cert_to_DER_cert(re.search(r"-----BEGIN.*?END CERTIFICATE-----\n", crt.read_text(), re.S)[0])
    if selector == 1:
        key = sh("openssl", "x509", "-in", crt, "-noout", "-pubkey").stdout
        der = ssl.PEM_cert_to_DER_cert(key.replace("PUBLIC KEY", "CERTIFICATE"))
    return f"{usage} {selector} 1 {hashlib.sha256(der).hexdigest()}"


WRONG = "3 1 1 " + "ab" * 32


class Primary:
    """One domain, its only host, and what should become of its mail."""

    def __init__(self, name, host, crt, records=(), want="dane", words="", tls=True, zone="test", behaviour=None):
        self.name, self.domain, self.mx = name, f"{name}.{zone}", f"mx.{name}.{zone}"
        self.host, self.crt, self.records, self.want, self.words = host, crt, records, want, words
        self.fake = Fake(host, behaviour, tls=crt if tls else None).up()
        self.insecure = zone != "test"

    def zone(self):
        return (f"{self.domain}. MX 10 {self.mx}.\n{self.mx}. A {self.host.ip}\n" +
                "".join(f"_25._tcp.{self.mx}. TLSA {r}\n" for r in self.records))


def send(w, mx2, domain, ident):
    raw = make_message(ident, rcpt=f"r@{domain}")
    check(send_one(w, mx2.ip, raw, rcpts=(f"r@{domain}",))[0] == 250, f"{ident} is not taken")


def line(node, event, domain):
    """The newest log line of that event about the domain, or None."""
    found = [t for t in node.log().splitlines() if f" {event} " in t and f"domain={domain} " in t]
    return found[-1] if found else None


RESULTS = {"starttls-not-supported", "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted",
           "validation-failure", "tlsa-invalid", "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"}


def tls_report(node, domain):
    """The only report of a domain, once the node has ended: policies of it, each (type, good, failures by result type), by the
    schema of RFC 8460 4.4."""
    files = list((node.state_dir / "spool" / "tls-reports").glob(f"{domain}-????-??-??.json"))
    check(len(files) == 1, f"{domain}: not one report", files)
    raw = json.loads(files[0].read_text())
    check(set(raw) == {"organization-name", "date-range", "contact-info", "report-id", "policies"}, "another schema", raw)
    check(raw["organization-name"] == "mx2.backup.test" and "@" in raw["contact-info"] and raw["report-id"], "the head", raw)
    begin, end = (time.strptime(raw["date-range"][f"{w}-datetime"], "%Y-%m-%dT%H:%M:%SZ") for w in ("start", "end"))
    check(begin <= end, "the time covered", raw["date-range"])
    policies = []
    for p in raw["policies"]:
        check(set(p) <= {"policy", "summary", "failure-details"}, "another schema", p)
        of, good, failed = p["policy"], *(p["summary"][f"total-{w}-session-count"] for w in ("successful", "failure"))
        check(set(of) <= {"policy-type", "policy-string", "policy-domain", "mx-host"} and
              of["policy-type"] in ("sts", "tlsa", "no-policy-found"), "another policy", of)
        check(all(isinstance(s, str) for s in of.get("policy-string", []) + of.get("mx-host", [])), "not strings", of)
        details = p.get("failure-details", [])
        for d in details:
            check(d["result-type"] in RESULTS and d["receiving-mx-hostname"] and re.fullmatch(r"[0-9.]+", d["receiving-ip"]) and
                  d["failed-session-count"] > 0, "another failure", d)
        check(sum(d["failed-session-count"] for d in details) == failed, "the sum of failures is another", p)
        policies.append((of, good, {d["result-type"]: d["failed-session-count"] for d in details}))
    return policies


def judge_report(node, domain, kind, failure):
    """One policy of that type; every session failed for that reason, or (None) none did."""
    policies = tls_report(node, domain)
    check(len(policies) == 1, f"{domain}: not one policy", policies)
    of, good, failures = policies[0]
    check(of["policy-type"] == kind, f"{domain}: another policy", of)
    if failure:
        check(good == 0 and list(failures) == [failure], f"{domain}: counted otherwise", policies)
    else:
        check(good >= 1 and not failures, f"{domain}: counted otherwise", policies)
    return of


def judge(node, p):
    """Delivered, verified as it should be; or deferred with the reason, and never in the clear."""
    if p.want == "deferred":
        said = wait_until(lambda: line(node, "delivery.refusing", p.domain) or
                          line(node, "delivery.dns_trouble", p.domain), 20, f"{p.name}: no attempt is logged",
                          lambda: node.log()[-1500:])
        check(p.words in said, f"{p.name}: another reason", said)
        rows = [r for r in node.json("queue") if any(x["domain"] == p.domain for x in r["recipients"])]
        check(len(rows) == 1 and rows[0]["state"] == "queued", f"{p.name}: not waiting", rows)
        check(not p.fake.seen and not p.fake.lines("MAIL"), f"{p.name}: a downgrade", p.fake.transcript)
        return
    wait_until(lambda: p.fake.messages, 20, f"{p.name}: not delivered", lambda: line(node, "delivery.refusing", p.domain))
    said = wait_until(lambda: line(node, "delivery.delivered", p.domain), 5, f"{p.name}: not logged")
    policy, verified, encrypted = {"dane": ("dane", "dane", True), "encrypted": ("dane", "no", True),
                                   "plain": ("none", None, False), "opportunistic": ("none", "no", True)}[p.want]
    check(("tls=TLSv1.3" in said) == encrypted, f"{p.name}: TLS", said)
    check(f"tls_policy={policy}" in said, f"{p.name}: another policy", said)
    check(verified is None or f"verified={verified}" in said, f"{p.name}: verified otherwise", said)
    check(len(p.fake.messages) == 1, f"{p.name}: more than once")


@scenario("dane: every outcome as RFC 7672 says, in one signed tree of names", seconds=120)
def dane(w):
    ca, other = Ca(w), Ca(w, "other")
    octet = iter(range(100, 200))
    made = {}

    def host(name):
        made[name] = w.host(name, next(octet))
        return made[name]

    def new(name, **kw):
        kw.setdefault("crt", certificate(w, name, f"mx.{name}.test", kw.pop("ca", None), kw.pop("days", 30)))
        make = kw.pop("make", None)
        if make:
            kw["records"] = [make(kw["crt"][0])]
        return Primary(name, host(name), **kw)

    primaries = [
        new("ee", make=lambda crt: tlsa(3, 1, crt)),
        new("ta", ca=ca, make=lambda _: tlsa(2, 0, ca.crt)),
        new("expired-ee", days=-1, make=lambda crt: tlsa(3, 1, crt)),
        new("expired-ta", ca=ca, days=-1, make=lambda _: tlsa(2, 0, ca.crt), want="deferred", words="expired"),
        new("foreign-ta", ca=other, make=lambda _: tlsa(2, 0, ca.crt), want="deferred", words="DANE demands"),
        new("wrong-name-ta", crt=certificate(w, "wrong", "mx.elsewhere.test", ca), make=lambda _: tlsa(2, 0, ca.crt),
            want="deferred", words="mismatch"),
        new("mismatch", records=[WRONG], want="deferred", words="matches none of its TLSA records"),
        new("unusable", records=[WRONG.replace("3", "1", 1)], want="encrypted"),
        new("stripped", make=lambda crt: tlsa(3, 1, crt), want="deferred", words="STARTTLS is not offered", tls=False),
        new("refusing", make=lambda crt: tlsa(3, 1, crt), want="deferred", words="STARTTLS is refused",
            behaviour={"STARTTLS": "454 4.7.0 Not now"}),
        new("bogus", make=lambda crt: tlsa(3, 1, crt), want="deferred", words="mx.bogus.test"),
        new("none", want="opportunistic"),
        new("naked", want="plain", tls=False),
        new("below", records=[WRONG], zone="insecure.test", want="opportunistic"),
    ]
    dns = SignedDns(w.host("dns", 53), "mx2.backup.test. A 192.0.2.20\n" +
                    "".join(p.zone() for p in primaries if not p.insecure),
                    insecure="".join(p.zone() for p in primaries if p.insecure), spoilt=("_25._tcp.mx.bogus.test",))
    mx2 = w.host("mx2", 20)
    node = Locum(mx2, "mx2.backup.test", {p.domain: "" for p in primaries},
                 extra=f'dns {{ servers = {{"192.0.2.53:53"}} trust_anchor = "{dns.anchor}" }}').start()
    for p in primaries:
        send(w, mx2, p.domain, p.name)
    for p in primaries:
        judge(node, p)
    check("host=mx.bogus.test" in (line(node, "route.tlsa_trouble", "bogus.test") or ""), "a bogus answer is not told")
    node.stop()
    for name, failure in (("ee", None), ("ta", None), ("expired-ee", None), ("expired-ta", "certificate-expired"),
                          ("foreign-ta", "validation-failure"), ("wrong-name-ta", "certificate-host-mismatch"),
                          ("mismatch", "validation-failure"), ("unusable", "tlsa-invalid"),
                          ("stripped", "starttls-not-supported"), ("refusing", "starttls-not-supported")):
        of = judge_report(node, f"{name}.test", "tlsa", failure)
        check(of["policy-domain"] == f"mx.{name}.test" and re.match(r"[0-3] [01] 1 [0-9a-f]{64}$", of["policy-string"][0]),
              f"{name}: another policy", of)
    judge_report(node, "none.test", "no-policy-found", None)
    judge_report(node, "naked.test", "no-policy-found", "starttls-not-supported")
    return f"{len(primaries)} outcomes"




@scenario("tls = encrypt and verify: never less, the reason is told, no other domain of that primary waits", seconds=90)
def option(w):
    ca = Ca(w)
    trusted = certificate(w, "trusted", "mx.good.test", ca)
    good, bad, plain = w.host("good", 100), w.host("bad", 101), w.host("plain", 102)
    fakes = {good: Fake(good, tls=trusted).up(), bad: Fake(bad, tls=certificate(w, "self", "mx.bad.test")).up(),
             plain: Fake(plain).up()}
    wants = {  # domain: its host, its tls, what is logged when it arrives, or why it waits
        "verify-good.test": ("mx.good.test", "verify", "verified=pkix", None),
        "verify-bad.test": ("mx.bad.test", "verify", None, "tls demands TLS with a verified host"),
        "encrypt-bad.test": ("mx.bad.test", "encrypt", "verified=no", None),
        "encrypt-plain.test": ("mx.plain.test", "encrypt", None, "STARTTLS is not offered"),
        "may-plain.test": ("mx.plain.test", "may", "tls_policy=none", None),
    }
    dns = SignedDns(w.host("dns", 53), "mx2.backup.test. A 192.0.2.20\n" +
                    "".join(f"mx.{h.name}.test. A {h.ip}\n" for h in fakes) +
                    "".join(f"{d}. MX 10 {host}.\n" for d, (host, *_) in wants.items()))
    mx2 = w.host("mx2", 20)
    node = Locum(mx2, "mx2.backup.test", {d: f"tls = {tls}" for d, (_, tls, *_) in wants.items()},
                 extra=f'tls_ca = "{ca.crt}"\ndns {{ servers = {{"192.0.2.53:53"}} trust_anchor = "{dns.anchor}" }}').start()
    for d in wants:
        send(w, mx2, d, d)
    for d, (_, _, arrives, waits) in wants.items():
        event = "delivery.delivered" if arrives else "delivery.deferred"
        said = wait_until(lambda: line(node, event, d), 20, f"{d}: no {event}", lambda: node.log()[-1500:])
        check((arrives or waits) in said, f"{d}: another outcome", said)
    check(
          [m[1] for m in fakes[plain].messages] == [["r@may-plain.test"]], "mail left in plain text",
          fakes[plain].messages)
    check([m[1] for m in fakes[bad].messages] == [["r@encrypt-bad.test"]], "mail left to an unverified host")
    down = [r for r in node.status()["destinations"] if r["state"] != "up"]
    check(not down, "a primary is down because one domain asks more of it", down)
    # What waits leaves once the primary is in order.
    fakes[plain].tls = certificate(w, "plain", "mx.plain.test")
    node.command("flush", "encrypt-plain.test")
    wait_until(lambda: line(node, "delivery.delivered", "encrypt-plain.test"), 30, "not delivered once TLS is there")


@scenario("requiretls: only to a verified host whose name is beyond doubt; else held with the reason", seconds=90)
def requiretls(w):
    ca = Ca(w)
    octet = iter(range(100, 200))
    primaries = []
    for name, authority, records, zone, words in (
            ("dane", None, True, "test", None), ("pkix", ca, False, "test", None),
            ("unknown", None, False, "test", "certificate that could not be verified"),
            ("unsigned", ca, False, "insecure.test", "found by DNS without DNSSEC")):
        crt = certificate(w, name, f"mx.{name}.{zone}", authority)
        p = Primary(name, w.host(name, next(octet)), crt, [tlsa(3, 1, crt[0])] if records else [], zone=zone, words=words)
        p.fake.extensions.append("REQUIRETLS")
        primaries.append(p)
    dns = SignedDns(w.host("dns", 53), "mx2.backup.test. A 192.0.2.20\n" +
                    "".join(p.zone() for p in primaries if not p.insecure),
                    insecure="".join(p.zone() for p in primaries if p.insecure))
    mx2 = w.host("mx2", 20)
    node = Locum(mx2, "mx2.backup.test", {p.domain: "acceptance = queue" for p in primaries},
                 tls=w.certificate("mx2.backup.test"),
                 extra=f'tls_ca = "{ca.crt}"\ndns {{ servers = {{"192.0.2.53:53"}} trust_anchor = "{dns.anchor}" }}').start()
    wait_until(lambda: all(p.fake.sessions for p in primaries), 20, "the primaries are not looked at")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def offered():
        c = Client(w.client, mx2.ip)
        c.cmd("STARTTLS")
        c.sock = context.wrap_socket(c.sock)
        c.file = c.sock.makefile("rb")
        return c if "REQUIRETLS" in c.cmd("EHLO client.src.test")[1] else c.close()
    c = wait_until(offered, 20, "REQUIRETLS is not offered")
    for p in primaries:
        wait_until(lambda: c.cmd("MAIL FROM:<s@src.test> REQUIRETLS")[0] == 250 and
                   (c.cmd(f"RCPT TO:<r@{p.domain}>")[0] == 250 or c.cmd("RSET")[0] != 250), 20, f"{p.name}: not taken")
        check(c.data(make_message(p.name, rcpt=f"r@{p.domain}"))[0] == 250, "not taken")
    for p in primaries:
        if p.words:
            said = wait_until(lambda: line(node, "delivery.host_lacks", p.domain), 20, f"{p.name}: not judged")
            check(p.words in said, f"{p.name}: another reason", said)
            check(not p.fake.lines("MAIL"), f"{p.name}: sent all the same")
        else:
            wait_until(lambda: p.fake.messages, 20, f"{p.name}: not delivered", lambda: node.log()[-1500:])
            check("REQUIRETLS" in p.fake.messages[0][0], f"{p.name}: not passed on", p.fake.messages[0][0])
    check(node.status()["messages_held"] == 2, "not held")


class PolicyHost:
    """HTTPS at port 443, a certificate by SNI name: what each mta-sts.DOMAIN answers; None: the connection breaks."""

    def __init__(self, host):
        self.host, self.answers, self.contexts, self.asked = host, {}, {}, []
        self.listener = host.listen(443)
        host.world.closing.append(self.listener.close)
        threading.Thread(target=self.accept, daemon=True).start()

    def add(self, domain, crt, answer):
        name = f"mta-sts.{domain}"
        self.contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.contexts[name].load_cert_chain(*map(str, crt))
        self.contexts[name].sni_callback = self.choose
        self.answers[name] = answer

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def choose(self, sock, name, _):
        sock.chosen, sock.context = name, self.contexts[name]

    def serve(self, s):
        any_context = next(iter(self.contexts.values()))
        try:
            s.settimeout(10)
            tls = any_context.wrap_socket(s, server_side=True)
            request = b""
            while b"\r\n\r\n" not in request:
                got = tls.recv(4096)
                if not got:
                    return
                request += got
            self.asked.append((tls.chosen, request))
            answer = self.answers[tls.chosen]
            if answer is not None:
                tls.sendall(answer)
                tls.unwrap()
        except (OSError, ssl.SSLError, KeyError):
            pass
        finally:
            s.close()


def policy(mode, *mx, age=86400):
    body = f"version: STSv1\r\nmode: {mode}\r\n" + "".join(f"mx: {m}\r\n" for m in mx) + f"max_age: {age}\r\n"
    return (f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
            f"{body}").encode()


@scenario("mta-sts: every outcome as RFC 8461 says", seconds=120)
def mta_sts(w):
    ca = Ca(w)
    octet = iter(range(100, 200))
    web = w.host("web", 90)
    https = PolicyHost(web)
    primaries, zone = [], "mx2.backup.test. A 192.0.2.20\n"

    def new(name, answer, want, words="", authority=ca, days=30, tls=True, policy_ca=ca):
        nonlocal zone
        crt = certificate(w, name, f"mx.{name}.test", authority, days)
        p = Primary(name, w.host(name, next(octet)), crt, want=want, words=words, tls=tls)
        https.add(p.domain, certificate(w, f"sts-{name}", f"mta-sts.{p.domain}", policy_ca), answer)
        zone += p.zone() + f'_mta-sts.{p.domain}. TXT "v=STSv1; id=1;"\nmta-sts.{p.domain}. A {web.ip}\n'
        primaries.append(p)
        return p

    own = "*.{}.test".format
    new("good", policy("enforce", own("good")), "sts")
    new("elsewhere", policy("enforce", "mx.other.test"), "deferred", "MTA-STS policy does not name it")
    new("expired", policy("enforce", own("expired")), "deferred", "expired", days=-1)
    new("self", policy("enforce", own("self")), "deferred", "self-signed", authority=None)
    new("stripped", policy("enforce", own("stripped")), "deferred", "STARTTLS is not offered", tls=False)
    new("testing", policy("testing", "mx.other.test"), "testing", authority=None)
    new("none", policy("none"), "unknown", authority=None)
    new("malformed", policy("enforce", own("malformed")).replace(b"STSv1", b"STSv9"), "unknown", authority=None)
    new("moved", b"HTTP/1.1 302 Found\r\nLocation: https://mta-sts.good.test/.well-known/mta-sts.txt\r\n\r\n", "unknown",
        authority=None)
    new("impostor", policy("enforce", own("impostor")), "unknown", authority=None, policy_ca=None)
    kept = new("kept", policy("enforce", own("kept")), "sts")
    dns = SignedDns(w.host("dns", 53), zone)
    mx2 = w.host("mx2", 20)
    # Nothing is validated: MTA-STS needs no DNSSEC.
    node = Locum(mx2, "mx2.backup.test", {p.domain: "acceptance = queue" for p in primaries}, dns=dns.host.ip,
                 extra=f'tls_ca = "{ca.crt}"').start()
    for p in primaries:
        send(w, mx2, p.domain, p.name)
    for p in primaries:
        if p.want == "deferred":
            said = wait_until(lambda: line(node, "delivery.deferred", p.domain), 20, f"{p.name}: not deferred",
                              lambda: node.log()[-2000:])
            check(p.words in said, f"{p.name}: another reason", said)
            check(not p.fake.lines("MAIL") and not p.fake.seen, f"{p.name}: sent all the same")
            continue
        said = wait_until(lambda: line(node, "delivery.delivered", p.domain), 20, f"{p.name}: not delivered",
                          lambda: (line(node, "delivery.deferred", p.domain), line(node, "sts.failed", p.domain)))
        want = {"sts": "tls_policy=sts verified=pkix", "testing": "tls_policy=sts-testing verified=no",
                "unknown": "tls_policy=none verified=no"}[p.want]
        check(want in said, f"{p.name}: another policy", said)
    for name in ("malformed", "moved", "impostor"):
        check(line(node, "sts.failed", f"{name}.test"), f"{name}: a policy that cannot be had is not told")
    # A cached policy is not forgotten because the policy host, or the record, is gone (RFC 8461 3.3).
    https.listener.shutdown(socket.SHUT_RDWR)
    kept.fake.tls = certificate(w, "kept-bad", "mx.kept.test")
    time.sleep(7)  # the connection in the pool is closed after five
    send(w, mx2, kept.domain, "again")
    said = wait_until(lambda: line(node, "delivery.deferred", kept.domain), 20, "a host without its certificate is used")
    check("MTA-STS demands TLS with a verified host" in said and len(kept.fake.messages) == 1, "another reason", said)
    node.stop()
    # testing: a host that is not named and used all the same counts as failed
    for name, failure in (("good", None), ("elsewhere", "validation-failure"), ("expired", "certificate-expired"),
                          ("self", "certificate-not-trusted"), ("stripped", "starttls-not-supported"),
                          ("testing", "validation-failure"), ("malformed", "sts-policy-invalid"), ("moved", "sts-policy-fetch-error"),
                          ("impostor", "sts-webpki-invalid")):
        of = judge_report(node, f"{name}.test", "sts", failure)
        check(of["policy-domain"] == f"{name}.test", f"{name}: another policy domain", of)
        if name in ("good", "testing"):
            check(of["policy-string"][:1] == ["version: STSv1"] and of["policy-string"][-1] == "max_age: 86400" and
                  of["mx-host"] == [own("good") if name == "good" else "mx.other.test"], f"{name}: another policy", of)
    judge_report(node, "none.test", "no-policy-found", None)
    (of, good, failures), = tls_report(node, "kept.test")
    check(good >= 1 and list(failures) == ["certificate-not-trusted"], "kept: counted otherwise", (good, failures))
