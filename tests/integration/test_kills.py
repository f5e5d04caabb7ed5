"""kill -9 at random moments while mail is accepted and handed on: nothing acknowledged is lost."""

import threading
import time

from common import Cast, only_headers_added, queue_empty
from harness import Client, KINDS, check, make_message, wait_until
from peers import Fake, ident_of
from scenario import scenario

SESSIONS = 16


class Load:
    """Clients that send, reconnect when they are thrown out, and keep what got its 250."""

    def __init__(self, w, ip, target):
        self.w, self.ip, self.target = w, ip, target
        self.acknowledged, self.broken, self.refused = set(), 0, 0
        self.lock = threading.Lock()
        self.enough = threading.Event()  # kills
        self.threads = [threading.Thread(target=self.session, args=(i,), daemon=True)
                        for i in range(SESSIONS)]
        for t in self.threads:
            t.start()

    def done(self):
        return self.enough.is_set() and len(self.acknowledged) >= self.target

    def session(self, number):
        n = 0
        while not self.done():
            try:
                c = Client(self.w.client, self.ip, seconds=20)
                while not self.done():
                    n += 1
                    ident = f"k{number}-{n}"
                    code, _ = c.send(make_message(ident, 3000, awkward=False))
                    if code == 250:
                        with self.lock:
                            self.acknowledged.add(ident)
                    elif code >= 500:
                        raise AssertionError(f"refused for good: {code}")
                    else:
                        self.refused += 1
                        time.sleep(0.1)
                c.close()
            except OSError:
                self.broken += 1
                time.sleep(0.1)


def kills(w, kinds, target, least, noticed=True):
    c = Cast(w, postfix=False)
    fake = Fake(c.primary).up()
    load = Load(w, c.mx2.ip, target)
    count = 0
    while not load.done():
        # At a random moment, but not before it works again.
        goal = len(load.acknowledged) + w.random.randint(20, 120)
        wait_until(lambda: len(load.acknowledged) >= goal or load.done(), 30,
                   "mail is not accepted any more after a kill")
        kind = kinds[count % len(kinds)]
        c.node.kill9(None if kind == "all" else kind)
        if kind in ("all", "locumd"):
            c.node.start()
        count += 1
        if count >= least:
            load.enough.set()
    for t in load.threads:
        t.join(30)
    check(load.broken or load.refused or not noticed,
          "no client noticed a kill: the scenario tests nothing")
    wait_until(lambda: load.acknowledged <= set(fake.idents()), 240,
               "acknowledged messages do not arrive",
               lambda: sorted(load.acknowledged - set(fake.idents()))[:10], every=0.5)
    queue_empty(c.node, 60)
    for _, _, raw in fake.messages:
        ident = ident_of(raw)
        only_headers_added(raw, make_message(ident, 3000, awkward=False), ident)
    twice = sum(n - 1 for n in fake.idents().values())
    return (f"{len(load.acknowledged)} acknowledged, {count} kills, {load.broken} sessions broken, "
            f"{load.refused} told to come back, 0 lost, {twice} delivered twice")


for one in KINDS:
    scenario(f"kill -9 of {one} at random moments under load loses nothing", seconds=150,
             kinds=(one,), target=500, least=6, noticed=one not in ("netd", "smtpout", "state"))(kills)
scenario("kill -9 of each process in turn and of all at once, in 5,000 messages, loses nothing",
         seconds=300, kinds=(*KINDS, "all"), target=5000, least=18)(kills)
