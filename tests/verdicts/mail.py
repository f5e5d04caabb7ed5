"""Messages of the corpora, each with a client that brings it: its address, HELO and sender, forged or not; and the zone in which
those names are what they are. The same every time."""

import base64
import hashlib
import random
import re
import subprocess

from harness import check

BYTES_MAX = 100_000
IPV4 = [f"198.51.100.{n}" for n in range(1, 61)]
IPV6 = [f"2001:db8:c::{n:x}" for n in range(1, 9)]
ADDRESSES = IPV4 + IPV6

# What a sender's domain says of who may send, %d: the number of the one address it names.
POLICIES = (
    "v=spf1 ip4:198.51.100.{n} -all",
    "v=spf1 ip4:198.51.100.{n} ~all",
    "v=spf1 ip4:198.51.100.{n} ?all",
    "v=spf1 ip4:198.51.100.0/26 ip6:2001:db8:c::/64 -all",
    "v=spf1 mx a:c{n}.clients.test -all",
    "v=spf1 include:s0.test -all",
    "v=spf1 exists:%{{i}}.ok.s.test -all",
    "v=spf1 exists:%{{h}}.helo.s.test ~all",
    "v=spf1 ptr:clients.test -all",
    "v=spf1 redirect=s0.test",
    "v=spf1 -all",
    "v=spf1 nonsense:here -all",
    "v=spf1 include:nowhere.test -all",
    None,
)
DMARC = ("p=reject", "p=quarantine", "p=none", "p=reject; aspf=s; adkim=s", "p=none; sp=reject", None)
SENDERS = 56
SIGNED_EVERY = 4


def is_about_client(symbol):
    return symbol.startswith(("R_SPF", "SPF", "DMARC", "R_DKIM", "DKIM", "HFILTER", "RDNS", "RBL_", "DWL_", "SEM", "HELO",
                              "FROM_NAME_HAS", "AUTH_NA", "ARC", "VIOLATED", "BAD_REP", "RECEIVED_SPAMHAUS"))


class Message:
    def __init__(self, number, raw, address, helo, ehlo, sender):
        self.number, self.raw, self.address = number, raw, address
        self.helo, self.ehlo, self.sender = helo, ehlo, sender

    def stuffed(self):
        return re.sub(rb"(?m)^\.", b"..", self.raw) + b".\r\n"


def read(path):
    """A corpus file as it may go over SMTP: CRLF, no mbox line; None when it is none that can."""
    raw = path.read_bytes()
    if len(raw) > BYTES_MAX or b"\0" in raw:
        return None
    raw = re.sub(rb"\r*\n", b"\r\n", raw)
    if re.search(rb"\r(?!\n)", raw):
        return None
    if raw.startswith(b"From "):
        raw = raw.split(b"\r\n", 1)[1]
    lines = raw.split(b"\r\n")
    if max(map(len, lines)) > 990 or not re.match(rb"[A-Za-z-]+:", raw) or b"\r\n\r\n" not in raw:
        return None
    if len(re.findall(rb"(?im)^received:", raw.split(b"\r\n\r\n", 1)[0])) > 25:
        return None
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


# --- DKIM (RFC 6376, relaxed/relaxed), so that some of the mail is signed ---


def relaxed_body(body):
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def relaxed_field(field):
    name, value = field.split(b":", 1)
    return name.lower().strip() + b":" + re.sub(rb"[ \t]+", b" ", re.sub(rb"\r\n", b"", value)).strip()


def sign(raw, domain, key):
    head, body = raw.split(b"\r\n\r\n", 1)
    fields = re.findall(rb"(?:^|(?<=\r\n))[^ \t\r\n][^\r\n]*(?:\r\n[ \t][^\r\n]*)*", head)
    digest = base64.b64encode(hashlib.sha256(relaxed_body(body)).digest()).decode()
    wanted = [f for name in (b"from", b"subject") for f in reversed(fields) if f.lower().startswith(name + b":")][:2]
    names = ":".join(f.split(b":", 1)[0].decode().lower() for f in wanted)
    header = f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s=sel; h={names}; bh={digest}; b="
    data = b"".join(relaxed_field(f) + b"\r\n" for f in wanted) + relaxed_field(header.encode())
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=data, capture_output=True, check=True).stdout
    return header.encode() + base64.b64encode(signature) + b"\r\n" + raw


# --- choosing ---


def helo_of(rng, n, address):
    literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    return rng.choice([f"c{n}.clients.test"] * 4 + [
        literal, "localhost", "pc", "friend", "mail.nowhere.test", "primary.example.test", "queue.backup.test", "198.51.100.77",
        "good.helo.test", "under_score.clients.test", f"c{(n + 1) % 60}.clients.test", "s0.test"])


def sender_of(rng, raw, k):
    found = re.search(rb"(?im)^from:[^\r\n]*?([A-Za-z0-9._+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,})", raw)
    own = found.group(1).decode() if found else None
    return rng.choice([f"u{k}@s{k}.test"] * 4 + [own or f"x@s{k}.test"] * 2 + [""])


def with_from(raw, k):
    """A forged author of a domain that says something of itself."""
    return re.sub(rb"(?im)^from:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*", f"From: Somebody <u@s{k}.test>".encode(), raw, count=1)


def choose(corpora, count, directory):
    rng = random.Random(5)
    key = directory / "dkim.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "1024"], check=True, capture_output=True)
    paths = [corpora / "index" / line.split(" ", 1)[1] for line in
             (corpora / "index/sa-full").read_text().splitlines() if line]
    rng.shuffle(paths)
    messages = []
    for path in paths:
        if len(messages) == count:
            break
        raw = read(path)
        if raw is None:
            continue
        k, n = rng.randrange(SENDERS), rng.randrange(len(ADDRESSES))
        if rng.random() < 0.6:
            raw = with_from(raw, k)
        if len(messages) % SIGNED_EVERY == 0:
            raw = sign(raw, f"s{k}.test", key)
            if rng.random() < 0.25:
                raw = raw.replace(b"\r\n\r\n", b"\r\n\r\nAdded on the way.\r\n", 1)
        raw = f"X-Verdict-Number: {len(messages)}\r\n".encode() + raw
        # SPF and HELO of a domain that names one address are right for its client in half of the cases.
        if rng.random() < 0.5:
            n = k % len(IPV4)
        messages.append(Message(len(messages), raw, ADDRESSES[n], helo_of(rng, n, ADDRESSES[n]), rng.random() < 0.85,
                                sender_of(rng, raw, k)))
    check(len(messages) == count, "the corpora have not so many messages", len(messages))
    public = subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
    choose.public = base64.b64encode(public).decode()
    return messages


# --- the zone ---


def reverse(address):
    if ":" not in address:
        return ".".join(reversed(address.split("."))) + ".in-addr.arpa."
    import ipaddress
    return ipaddress.ip_address(address).reverse_pointer + "."


def forged_domains(messages):
    """Domains of real authors and senders, which say that the mail is not theirs."""
    found = set()
    for m in messages:
        for address in [m.sender, *re.findall(r"(?im)^from:[^\r\n]*@([A-Za-z0-9.-]+)", m.raw.decode("latin-1"))]:
            domain = address.rsplit("@", 1)[-1].lower().strip(".")
            if re.fullmatch(r"([a-z0-9-]{1,60}\.)+[a-z]{2,10}", domain) and not domain.endswith(".test"):
                found.add(domain)
    return sorted(found)


def zone(messages):
    lines = ["s0.test. TXT \"v=spf1 ip4:198.51.100.0/27 ip6:2001:db8:c::/64 -all\"", "good.helo.test. A 198.51.100.9",
             "good.helo.test.helo.s.test. A 127.0.0.2", "*.clients.test.helo.s.test. A 127.0.0.2",
             "7.100.51.198.zen.spamhaus.org. A 127.0.0.2", "8.100.51.198.zen.spamhaus.org. A 127.0.0.4",
             "9.100.51.198.b.barracudacentral.org. A 127.0.0.2"]
    for n, address in enumerate(ADDRESSES):
        kind = "AAAA" if ":" in address else "A"
        # A quarter each: right, none, a name that leads elsewhere, a name that looks dynamic.
        if n % 4 != 1:
            name = (f"c{n}.clients.test", None, f"lost{n}.clients.test", f"198-51-100-{n}.dsl.dynamic.clients.test")[n % 4]
            lines.append(f"{reverse(address)} PTR {name}.")
            if n % 4 == 3:
                lines.append(f"{name}. {kind} {address}")
        lines.append(f"c{n}.clients.test. {kind} {address}")
        if n % 3 == 0 and ":" not in address:
            lines.append(f"{address}.ok.s.test. A 127.0.0.2")
    for k in range(SENDERS):
        policy, dmarc = POLICIES[k % len(POLICIES)], DMARC[k % len(DMARC)]
        if k and policy:
            lines.append(f's{k}.test. TXT "{policy.format(n=k % len(IPV4) + 1)}"')
        if dmarc:
            lines.append(f'_dmarc.s{k}.test. TXT "v=DMARC1; {dmarc}"')
        lines += [f"s{k}.test. MX 10 catcher.test.", f"s{k}.test. A 192.0.2.40",
                  f'sel._domainkey.s{k}.test. TXT "v=DKIM1; k=rsa; p={choose.public}"']
    for i, domain in enumerate(forged_domains(messages)):
        lines += [f"{domain}. MX 10 catcher.test.", f'{domain}. TXT "v=spf1 ip4:203.0.113.{i % 250} {"-~?"[i % 3]}all"']
        if i % 2:
            lines.append(f'_dmarc.{domain}. TXT "v=DMARC1; {DMARC[i % 5]}"')
    return "\n".join(lines) + "\n"
