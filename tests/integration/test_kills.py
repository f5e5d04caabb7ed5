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
        self.stop = False
        self.threads = [threading.Thread(target=self.session, args=(i,), daemon=True)
                        for i in range(SESSIONS)]
        for t in self.threads:
            t.start()

    def done(self):
        return self.stop or len(self.acknowledged) >= self.target

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


def kills(w, kinds, target, pause):
    c = Cast(w, postfix=False)
    fake = Fake(c.primary).up()
    load = Load(w, c.mx2.ip, target)
    count, turn = 0, 0
    while not load.done():
        time.sleep(w.random.uniform(*pause))
        kind = kinds[turn % len(kinds)]
        turn += 1
        if kind == "all":
            c.node.kill9()
            c.node.start()
        elif kind == "locumd":
            c.node.kill9("locumd")
            c.node.start()
        else:
            wait_until(lambda: c.node.pids(kind), 10, f"{kind} is not started again")
            c.node.kill9(kind)
        count += 1
    for t in load.threads:
        t.join(30)
    check(load.broken, "no session noticed a kill: the test tests nothing")
    wait_until(lambda: load.acknowledged <= set(fake.idents()), 90,
               "acknowledged messages do not arrive", every=0.5)
    queue_empty(c.node, 60)
    for _, _, raw in fake.messages:
        ident = ident_of(raw)
        only_headers_added(raw, make_message(ident, 3000, awkward=False), ident)
    twice = sum(n - 1 for n in fake.idents().values())
    return (f"{len(load.acknowledged)} acknowledged, {count} kills, {load.broken} sessions broken, "
            f"0 lost, {twice} delivered twice")


for one in KINDS:
    scenario(f"kill -9 of {one} at random moments of 700 messages loses none", seconds=180,
             kinds=(one,), target=700, pause=(0.2, 0.8))(kills)
scenario("kill -9 of each process in turn and of all at once, in 5,000 messages, loses none",
         seconds=300, kinds=(*KINDS, "all"), target=5000, pause=(0.3, 1.5))(kills)
