"""The whole story: the primary is away, mail is taken, everything of ours is killed, the primary comes back."""

import time

from common import Cast, arrived_exact, queue_empty
from harness import check, make_message, swaks, wait_until
from scenario import scenario

MESSAGES = 12


def away(c, how):
    if how == "refused":
        c.postfix.stop()
    elif how == "cut":
        c.primary.cut_from(c.mx2)
    else:
        c.postfix.freeze()


def back(c, how):
    if how == "refused":
        c.postfix.start()
    elif how == "cut":
        c.primary.heal()
    else:
        c.postfix.thaw()


def story(w, how):
    c = Cast(w)
    c.postfix.start()
    sent = {"before": c.send("before")}
    wait_until(lambda: c.postfix.count() == 1, 10, "not handed on while the primary works")

    away(c, how)
    for i in range(MESSAGES):
        raw = make_message(f"m{i}", size=500 + 9000 * i, rcpt="r@example.test")
        status, transcript = swaks(w, c.mx2.ip, raw)
        check(status == 0, "swaks was refused while the primary is away", transcript[-600:])
        sent[f"m{i}"] = raw
    time.sleep(2)  # deliveries are tried and fail meanwhile
    c.node.kill9()
    c.node.start()
    check(c.postfix.count() == 1, "something was delivered to a primary that is away")

    back(c, how)
    listening = time.monotonic()
    wait_until(lambda: c.postfix.count() > 1, 30, "nothing is handed over")
    first = time.monotonic() - listening
    check(first <= 10, f"the first delivery came {first:.1f} s after the primary was back, not within 10")
    wait_until(lambda: c.postfix.count() >= len(sent), 30, "not everything is handed over")
    time.sleep(1)
    arrived_exact(c.postfix, sent)
    queue_empty(c.node)
    check(c.node.stop() == 0, "locumd does not exit 0 on SIGTERM")


for way, words in (("refused", "its connections refused"), ("cut", "its link cut"),
                   ("frozen", "its processes frozen")):
    scenario(f"story: primary away with {words}, all of ours killed, every message arrives exact",
             seconds=120, how=way)(story)
