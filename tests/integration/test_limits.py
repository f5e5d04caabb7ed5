"""What one client, one network, and all of them together may have: rates, sessions, stress."""

import threading
import time

from common import Cast
from harness import Client, check, make_message, send_one, wait_until
from scenario import scenario

# Clients of one network, and one of another.
FIRST, SECOND, THIRD, FOURTH = (f"192.0.2.{octet}" for octet in (101, 102, 103, 104))
ELSEWHERE = "198.51.100.1"
SMTPINS = "processes { smtpin = 2 }\n"


def cast(w, extra):
    for octet in (101, 102, 103, 104):
        w.client.add_address(octet, device="br0")
    c = Cast(w, postfix=False, extra=SMTPINS + extra)
    w.client.ip_cmd("addr", "add", f"{ELSEWHERE}/24", "dev", "br0")
    c.mx2.ip_cmd("route", "add", "198.51.100.0/24", "dev", "eth0")
    return c


def call(c, source):
    return Client(c.w.client, c.mx2.ip, source=source)


def sessions(c, source, n):
    """So many that are let in."""
    found = [call(c, source) for _ in range(n)]
    for s in found:
        check(s.greeting[0] == 220, f"{source} is not let in", s.greeting)
    return found


def refused(c, source, why):
    greeting = call(c, source).greeting
    check(greeting[0] == 421 and why in greeting[1], f"{source} does not hear why it must wait", greeting)


def close(clients):
    for s in clients:
        s.close()


# --- rates --------------------------------------------------------------------------------

def ask_for_nobody(s):
    """RCPT to a recipient that does not exist: the code."""
    return s.cmd("RCPT TO:<nobody@elsewhere.test>")[0]


def hammer(c, source):
    """Names recipients that do not exist, three a session, until it is told to come back: how many."""
    for n in range(0, 30, 3):
        s = call(c, source)
        s.cmd("MAIL FROM:<s@src.test>")
        codes = [ask_for_nobody(s) for _ in range(3)]
        if 450 in codes:
            check(set(codes[codes.index(450):]) == {450}, "told to come back, then not", codes)
            return s, n + codes.index(450)
        check(codes == [550] * 3, "an unknown recipient is not refused", codes)
        s.close()
    check(False, "whoever names unknown recipients may go on")
    return None


def goes_on(s):
    """All the same, until it is sent away: its last reply, and after how many of 450."""
    for n in range(40):
        code, text = s.cmd("RCPT TO:<r@example.test>")
        if code != 450:
            return n, code, text
    return n, code, text


@scenario("rates: one address names unknown recipients: 450 at every process, then 421; another flows unhindered",
          seconds=60)
def rates(w):
    c = cast(w, "rates { unknown_recipients = 10 }")
    stop, took = threading.Event(), []

    def flow():
        while not stop.is_set():
            began = time.monotonic()
            code, text = send_one(w, c.mx2.ip, make_message(f"flow{len(took)}"), source=SECOND)
            took.append((time.monotonic() - began, code, text))

    flowing = threading.Thread(target=flow)
    flowing.start()
    try:
        s, named = hammer(c, FIRST)
        check(10 <= named <= 12, "not after as many as configured", named)
        again, code, text = goes_on(s)
        check(code == 421 and "in this hour" in text, "whoever goes on is not sent away", again, code, text)
        for _ in range(6):  # whichever process has it
            other = call(c, FIRST)
            other.cmd("MAIL FROM:<s@src.test>")
            code, text = other.cmd("RCPT TO:<r@example.test>")
            check(code == 450 and text.startswith("4.7.1"), "its next session begins anew", code, text)
            other.close()
        wait_until(lambda: len(took) >= 20 or not flowing.is_alive(), 20, "another address is held up")
    finally:
        stop.set()
        flowing.join()
    suffers = [t for t in took if t[1] != 250]
    check(len(took) >= 20 and not suffers, "another address suffers", len(took), suffers[:1])
    slowest = max(seconds for seconds, _, _ in took)
    check(slowest < 2, "another address waits", slowest)
    check("rate.exceeded" in c.node.log(), "the log does not say it")
    return f"{named} unknown recipients, {again} of 450; beside it {len(took)} messages, the slowest {1000 * slowest:.0f} ms"


# --- sessions -----------------------------------------------------------------------------

@scenario("more sessions from one network than allowed, over all processes: 421, other networks are served", seconds=60)
def network(w):
    c = cast(w, "limits { sessions_per_client = 4 sessions_per_network = 8 }")
    held = sessions(c, FIRST, 3) + sessions(c, SECOND, 3) + sessions(c, THIRD, 2)
    for source in (FIRST, FOURTH):
        refused(c, source, "from your network")
    held += sessions(c, ELSEWHERE, 4)
    held.pop(7).close()
    wait_until(lambda: call(c, FOURTH).greeting[0] == 220, 5, "the network's place is not given to the next")


# --- stress -------------------------------------------------------------------------------

SMALL = "limits { sessions = 20 sessions_per_client = 10 sessions_per_network = 20 }"
STRANGERS_WAIT = "Too busy for clients not known here"


def says(c, state):
    wait_until(lambda: c.node.status()["stress"] == state, 15, f"locum status does not say {state}",
               lambda: c.node.status()["stress"], every=0.3)


def lets_in(c, source, n):
    clients = [call(c, source) for _ in range(n)]
    good = all(s.greeting[0] == 220 for s in clients)
    close(s for s in clients if s.greeting[0] == 220)
    return good


def becomes_known(c, source):
    code, text = send_one(c.w, c.mx2.ip, make_message("friend"), source=source)
    check(code == 250, "a message is not taken", code, text)


@scenario("busy: strangers get a fifth of their sessions, who brought mail before gets them all; then all is as before",
          seconds=60)
def busy(w):
    c = cast(w, SMALL)
    becomes_known(c, ELSEWHERE)
    check(c.node.status()["stress"] == "none", "there is no stress yet")
    held = sessions(c, FIRST, 10) + sessions(c, SECOND, 3) + sessions(c, ELSEWHERE, 3)
    refused(c, SECOND, STRANGERS_WAIT)  # has more than its two
    held += sessions(c, ELSEWHERE, 2)
    close(held)  # and still it is busy for ten seconds
    says(c, "busy")
    check("stress: busy" in c.node.command("status").stdout, "`locum status` does not say it in words")
    wait_until(lambda: lets_in(c, SECOND, 5), 20, "strangers do not get all their sessions again", every=0.3)
    says(c, "none")


def lives(s):
    try:
        return s.cmd("NOOP")[0] == 250
    except OSError:
        return False


@scenario("full: strangers wait outside and idle ones are sent away, who brought mail before gets in; strangers come in again",
          seconds=60)
def full(w):
    c = cast(w, SMALL)
    becomes_known(c, ELSEWHERE)
    strangers = sessions(c, FIRST, 9)
    friends = sessions(c, ELSEWHERE, 10)
    refused(c, THIRD, STRANGERS_WAIT)
    says(c, "full")
    close(friends[:4])
    code, text = send_one(c.w, c.mx2.ip, make_message("friend2"), source=ELSEWHERE)
    check(code == 250, "who brought mail before is not served", code, text)
    refused(c, THIRD, STRANGERS_WAIT)
    for s in strangers:
        code, text = s.reply()
        check(code == 421, "an idle stranger stays", code, text)
    check(all(map(lives, friends[4:])), "an idle client that is known as good was sent away")
    wait_until(lambda: call(c, THIRD).greeting[0] == 220, 15, "strangers stay outside")
