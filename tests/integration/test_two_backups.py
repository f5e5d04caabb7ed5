"""A domain with a primary and two backups that are both Locum."""

import itertools
import re
import time

from common import queue_empty
from harness import Locum, check, make_message, send_one, wait_until
from peers import Dns, Fake
from scenario import scenario

ZONE = """
example.test. MX 10 primary.example.test.
example.test. MX 20 mx2.backup.test.
example.test. MX 30 mx3.backup.test.
primary.example.test. A 192.0.2.10
mx2.backup.test. A 192.0.2.20
mx3.backup.test. A 192.0.2.30
"""


@scenario("two backups: whoever is up or down, no loop, nothing lost, nothing twice", seconds=240)
def every_combination(w):
    primary, dnshost = w.host("primary", 10), w.host("dns", 53)
    Dns(dnshost, ZONE)
    fake = Fake(primary)
    nodes = [Locum(w.host(f"mx{i}", 10 * i), f"mx{i}.backup.test", {"example.test": ""},
                   dns=dnshost.ip) for i in (2, 3)]
    sent, running = {}, set()

    def shape(primary_up, *nodes_up):
        for node, up in zip(nodes, nodes_up):
            if up and node not in running:
                node.start()
                running.add(node)
            elif not up and node in running:
                check(node.stop() == 0, f"{node.name} does not exit 0")
                running.remove(node)
        if primary_up and not fake.listener:
            fake.up()
        elif not primary_up and fake.listener:
            fake.down()

    for ups in itertools.product((True, False), repeat=3):
        words = ", ".join(f"{n} {'up' if up else 'down'}"
                          for n, up in zip(("primary", "mx2", "mx3"), ups))
        shape(*ups)
        for node, up in zip(nodes, ups[1:]):
            for i in range(3 if up else 0):
                ident = f"{node.name}-{''.join('ud'[not u] for u in ups)}-{i}"
                sent[ident] = make_message(ident)
                code, text = send_one(w, node.host.ip, sent[ident])
                check(code == 250, f"{words}: {node.name} refuses", code, text)
        time.sleep(2)
        shape(True, True, True)
        wait_until(lambda: set(sent) <= set(fake.idents()), 40,
                   f"{words}: then all up, but something does not arrive: "
                   f"{set(sent) - set(fake.idents())}")
        for node in nodes:
            queue_empty(node)
    twice = {i: n for i, n in fake.idents().items() if n > 1}
    check(not twice, "delivered more than once", twice)
    for _, _, raw in fake.messages:
        hops = len(re.findall(rb"\(Locum\)", raw))
        check(1 <= hops <= 2, "a message went in circles between the backups", raw[:800])
    return f"{len(sent)} messages"
