"""What DNS says about where to deliver, right, wrong, or nothing at all."""

import sys
import time

from common import Cast, ZONE, queue_empty
from harness import Client, check, wait_until
from peers import DROP, Fake
from scenario import scenario


def arrives(fake, ident, seconds, text):
    wait_until(lambda: fake.idents()[ident] == 1, seconds, text)


@scenario("dns dead: mail is taken, and leaves soon after dns is back", seconds=120)
def dead(w):
    c = Cast(w, postfix=False)
    fake = Fake(c.primary).up()
    c.dns.stop()
    for i in range(5):
        c.send(f"d{i}")
    time.sleep(8)
    check(not fake.messages, "delivered without DNS?")
    c.dns.start()
    for i in range(5):
        arrives(fake, f"d{i}", 45, "not delivered after DNS is back")
    queue_empty(c.node)


KEPT = {
    "dns says that we are the best mx": "example.test. MX 5 mx2.backup.test.",
    "dns names nobody but us": "example.test. MX 10 mx2.backup.test.",
    "dns says that the domain takes no mail (null mx)": "example.test. MX 0 .",
    "dns says that the domain does not exist": "elsewhere.test. A 192.0.2.10",
    "dns knows no address of the primary": "example.test. MX 10 nowhere.example.test.",
}


def kept(w, records):
    c = Cast(w, postfix=False,
             zone=f"{records}\nmx2.backup.test. A 192.0.2.20\nprimary.example.test. A 192.0.2.10")
    fake = Fake(c.primary).up()
    c.send("kept")
    alerts = wait_until(lambda: c.node.status()["alerts"], 15, "no alert tells the operator")
    check(any("example.test" in a for a in alerts), "the alert does not name the domain", alerts)
    check(c.node.status()["messages"] == 1 and not fake.seen, "the message was not kept")
    c.dns.change(ZONE)
    arrives(fake, "kept", 60, "not delivered after DNS was corrected")
    queue_empty(c.node)
    wait_until(lambda: not c.node.status()["alerts"], 10, "the alert stays")
    return alerts[0]


for words, zone in KEPT.items():
    scenario(f"{words}: kept with an alert, not bounced, delivered once it is corrected",
             seconds=120, records=zone)(kept)

WRONG = {
    "a domain that does not exist": "elsewhere.test. A 192.0.2.10",
    "an mx that leads nowhere": """
        example.test. MX 10 primary.example.test.
        primary.example.test. A 192.0.2.99""",
}


def flushed(w, records):
    c = Cast(w, postfix=False, start=False)
    c.dns.ttl = 3600  # as in life: what is wrong stays in every cache
    c.dns.change(records)
    fake = Fake(c.primary).up()
    c.node.start()
    c.send("queued")
    wait_until(lambda: "destination.down" in c.node.log() or "route.none" in c.node.log(), 15,
               "it was not tried")
    time.sleep(1)
    c.dns.change(ZONE)
    c.node.command("flush", "example.test")
    began = time.monotonic()
    arrives(fake, "queued", 5, "not delivered within 5 seconds of a flush")
    queue_empty(c.node)
    return f"delivered {time.monotonic() - began:.1f} s after the flush"


for words, zone in WRONG.items():
    scenario(f"dns named {words}, is corrected: `locum flush` delivers at once", seconds=60,
             records=zone)(flushed)

ROUTES = {
    "a cname leads to the domain's mx": """
        example.test. CNAME other.test.
        other.test. MX 10 primary.example.test.
        primary.example.test. A 192.0.2.10""",
    "no mx but an address: the address is the primary": "example.test. A 192.0.2.10",
    "a dead primary of equal preference beside a living one": """
        example.test. MX 10 dead.example.test.
        example.test. MX 10 primary.example.test.
        dead.example.test. A 192.0.2.10
        primary.example.test. A 192.0.2.11""",
    "several addresses, the first dead": """
        example.test. MX 10 primary.example.test.
        primary.example.test. A 192.0.2.99
        primary.example.test. A 192.0.2.11""",
    "a better mx that refuses connections, then a worse one": """
        example.test. MX 5 dead.example.test.
        example.test. MX 10 primary.example.test.
        example.test. MX 20 mx2.backup.test.
        dead.example.test. A 192.0.2.10
        primary.example.test. A 192.0.2.11""",
    "a primary with an ipv6 address only": """
        example.test. MX 10 primary.example.test.
        example.test. MX 20 mx2.backup.test.
        primary.example.test. AAAA 2001:db8::10""",
}


def route(w, records):
    c = Cast(w, postfix=False, zone=records + "\nmx2.backup.test. A 192.0.2.20", start=False)
    c.primary.add_address(11)
    v6 = "AAAA" in records
    ip = c.primary.ip6 if v6 else "192.0.2.11" if "192.0.2.11" in records else c.primary.ip
    if "dead" not in records and "192.0.2.99" not in records:
        check(ip != "192.0.2.11", "scenario")
    if v6:
        c.mx2.ip_cmd("-6", "route", "show")
    fake = Fake(c.primary, ip=ip).up()
    c.node.start()
    for i in range(6):
        c.send(f"a{i}")
    for i in range(6):
        arrives(fake, f"a{i}", 60, "not delivered")
    queue_empty(c.node)


for words, zone in ROUTES.items():
    scenario(f"dns: {words}", seconds=100, records=zone)(route)


@scenario("dns: equal preferences share the mail", seconds=60)
def shared(w):
    c = Cast(w, postfix=False, start=False, zone="""
        example.test. MX 10 one.example.test.
        example.test. MX 10 two.example.test.
        example.test. MX 20 mx2.backup.test.
        one.example.test. A 192.0.2.10
        two.example.test. A 192.0.2.11""")
    c.primary.add_address(11)
    # They close after each message: a connection that is kept would go on to the same one, rightly.
    fakes = [Fake(c.primary, {"AFTER": DROP}, ip=ip).up() for ip in (c.primary.ip, "192.0.2.11")]
    c.node.start()
    for i in range(30):
        c.send(f"s{i}")
        time.sleep(0.05)
    wait_until(lambda: sum(len(f.messages) for f in fakes) == 30, 30, "not everything arrives",
               lambda: [len(f.messages) for f in fakes])
    check(all(f.messages for f in fakes), "one of two equal primaries got everything",
          [len(f.messages) for f in fakes])
    return " and ".join(str(len(f.messages)) for f in fakes)


# Passes on what is asked, but never answers for names under slow.test.
RELAY = """
import select, socket, sys
own, up = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
own.bind((sys.argv[1], 53))
asked = {}
while True:
    for s in select.select([own, up], [], [])[0]:
        packet, who = s.recvfrom(4096)
        if s is up:
            own.sendto(packet, asked.pop(packet[:2], who))
        elif b"\\x04slow\\x04test" not in packet.lower():
            asked[packet[:2]] = who
            up.sendto(packet, (sys.argv[2], 53))
"""


@scenario("dns: hundreds of clients with names that never answer delay no delivery", seconds=90)
def stalled(w):
    c = Cast(w, postfix=False, start=False)
    relay = w.host("relay", 54)
    relay.process([sys.executable, "-c", RELAY, relay.ip, c.dnshost.ip], "relay.log")
    fake = Fake(c.primary).up()
    c.node.dns = relay.ip
    c.node.extra = "limits { sessions_per_client = 1000 }"
    c.node.write_config()
    c.node.start()
    clients = [Client(w.client, c.mx2.ip, helo=f"{i}.slow.test") for i in range(500)]
    started = time.monotonic()
    c.send("soon")
    arrives(fake, "soon", 30, "not delivered")
    took = time.monotonic() - started
    check(took < 3, "clients' DNS delayed the delivery", f"{took:.1f} s")
    check(all(x.cmd("NOOP")[0] == 250 for x in clients[::50]), "the clients are gone")
    return f"delivered {took:.1f} s after it came"


# Passes on what is asked, reverse names a third of a second later: as long as a resolver waits before it asks again.
SLOW_REVERSE = """
import select, socket, sys, time
own, up = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
own.bind((sys.argv[1], 53))
asked, later = {}, []
while True:
    for s in select.select([own, up], [], [], 0.02)[0]:
        packet, who = s.recvfrom(4096)
        if s is up:
            at = time.monotonic() + (0.3 if b"\\x07in-addr" in packet.lower() else 0)
            later.append((at, packet, asked.pop(packet[:2], who)))
        else:
            asked[packet[:2]] = who
            up.sendto(packet, (sys.argv[2], 53))
    for x in [x for x in later if x[0] <= time.monotonic()]:
        own.sendto(x[1], x[2])
        later.remove(x)
"""


@scenario("dns: a client quicker than DNS does not come without its name", seconds=60)
def quick_client(w):
    c = Cast(w, postfix=False, start=False, zone=ZONE + """
1.2.0.192.in-addr.arpa. PTR quick.src.test.
quick.src.test. A 192.0.2.1
""")
    relay = w.host("relay", 54)
    relay.process([sys.executable, "-c", SLOW_REVERSE, relay.ip, c.dnshost.ip], "relay.log")
    fake = Fake(c.primary).up()
    c.node.dns = relay.ip
    c.node.write_config()
    c.node.start()
    started = time.monotonic()
    raw = c.send("quick")
    took = time.monotonic() - started
    arrives(fake, "quick", 30, "not delivered")
    got = fake.messages[0][2]
    check(got.endswith(raw) and b"(quick.src.test [192.0.2.1])" in got[:len(got) - len(raw)],
          "it came without its name", got[:300])
    return f"taken after {took:.1f} s"
