"""Clients that are slow, idle, many, or send us our own mail."""

import threading
import time

from common import Cast, queue_empty
from harness import Client, check, make_message, send_one, wait_until
from peers import Fake
from scenario import scenario


@scenario("slow and idle clients do not hold up others", seconds=90)
def slow(w):
    c = Cast(w, postfix=False, extra="limits { sessions_per_client = 1000 }")
    stop = threading.Event()
    text = b"MAIL FROM:<a-slow-writer@src.test>\r\n" * 50
    clients = [Client(w.client, c.mx2.ip) for _ in range(300)]
    in_data = [Client(w.client, c.mx2.ip) for _ in range(100)]
    for s in in_data:
        s.cmd("MAIL FROM:<s@src.test>")
        s.cmd("RCPT TO:<r@example.test>")
        check(s.cmd("DATA")[0] == 354, "DATA refused")

    def drip():
        at = 0
        while not stop.wait(0.5):
            for s in clients[:150] + in_data:  # the other 150 are idle
                s.write(text[at:at + 1])
            at += 1
    t = threading.Thread(target=drip)
    t.start()
    worst = 0
    for i in range(50):
        began = time.monotonic()
        c.send(f"quick{i}")
        worst = max(worst, time.monotonic() - began)
        time.sleep(0.05)
    stop.set()
    t.join()
    check(worst < 2, f"a client waited {worst:.1f} s behind slow ones")
    return f"slowest message {1000 * worst:.0f} ms beside 400 slow and idle clients"


@scenario("more sessions from one address than allowed, over all processes: 421, others are served",
          seconds=60)
def too_many(w):
    c = Cast(w, postfix=False, extra="""
        processes { smtpin = 2 }
        limits { sessions_per_client = 5 }""")

    def call():
        s = Client(w.client, c.mx2.ip)
        check(s.greeting[0] in (220, 421), "neither greeted nor told why", s.greeting)
        return s if s.greeting[0] == 220 else None

    def lives(s):
        try:
            return s.cmd("NOOP")[0] == 250
        except OSError:
            return False

    held = [s for s in (call() for _ in range(20)) if s]
    check(len(held) == 5, "not as many as configured were let in", len(held))
    w.client.add_address(2, device="br0")
    code, text = send_one(w, c.mx2.ip, make_message("other"), source="192.0.2.2")
    check(code == 250, "another address suffers", code, text)
    c.node.kill9("smtpin")  # takes its sessions with it, and only those
    wait_until(lambda: c.node.log().count("child.ready process=\"locum: smtpin") == 3, 10,
               "smtpin is not started again")
    alive = [s for s in held if lives(s)]
    let_in = [s for s in (call() for _ in range(20)) if s]
    check(len(alive) + len(let_in) == 5, "the places of a dead process are lost or doubled",
          len(alive), len(let_in))
    for s in alive + let_in:
        s.close()
    wait_until(lambda: send_one(w, c.mx2.ip, make_message("same"))[0] == 250, 5,
               "the address is not allowed in again")
    return f"{len(held) - len(alive)} of 5 sessions were those of the killed process"


@scenario("a message that was here before is a loop: 554 5.4.6", seconds=60)
def loop(w):
    c = Cast(w, postfix=False)
    fake = Fake(c.primary).up()
    c.send("round")
    wait_until(lambda: fake.messages, 10, "not delivered")
    again = fake.messages[0][2]
    code, text = send_one(w, c.mx2.ip, again)
    check(code == 554 and text.startswith("5.4.6"), "our own message is taken again", code, text)
    code, text = send_one(w, c.mx2.ip, again, rcpts=("someone.else@example.test",))
    check(code == 250, "mail forwarded to another recipient is no loop", code, text)

    hop = b"Received: from a.test by b.test; Tue, 24 Nov 2026 10:00:00 +0000\r\n"
    raw = make_message("hops")
    code, text = send_one(w, c.mx2.ip, hop * 20 + raw)
    check(code == 250, "20 hops are refused", code, text)
    code, text = send_one(w, c.mx2.ip, hop * 150 + make_message("circles"))
    check(code == 554 and text.startswith("5.4.6"), "150 hops are taken", code, text)


@scenario("smtp-source with 50 sessions: everything arrives, the queue is empty again", seconds=90)
def many(w):
    c = Cast(w, postfix=False, extra="limits { sessions_per_client = 200 }")
    fake = Fake(c.primary).up()
    p = w.client.process(["smtp-source", "-s", "50", "-m", "1000", "-l", "4000", "-f", "s@src.test",
                          "-t", "r@example.test", f"{c.mx2.ip}:25"], "smtp-source.log")
    check(p.popen.wait(60) == 0, "smtp-source failed")
    wait_until(lambda: len(fake.messages) >= 1000, 40, "not everything arrives")
    queue_empty(c.node)
    check(len(fake.messages) == 1000, "delivered more than once", len(fake.messages))
