"""A disk that is full, fails, or loses its power."""

import fcntl
import os
import signal
import struct
import threading
import time

from common import Cast, queue_empty
from harness import Client, check, make_message, send_one, sh, wait_until
from peers import Fake
from scenario import scenario

EXT4_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NO_FLUSH = 2


@scenario("disk full: 452 until there is room again, nothing lost", seconds=90)
def full(w):
    disk = w.disk("small", 48)
    os.chmod(disk, 0o777)
    c = Cast(w, postfix=False, state_dir=disk / "state",
             extra='spool { segment_size = "1M"  reserve = "4M" }')
    sent, code = {}, 250
    client = Client(w.client, c.mx2.ip)
    for i in range(200):
        raw = make_message(f"f{i}", 500_000)
        code, text = client.send(raw)
        if code != 250:
            break
        sent[f"f{i}"] = raw
    client.close()
    check(code == 452 and text.startswith("4.3.1"), "a full disk is not answered 452 4.3.1",
          code, text, len(sent))
    check(len(sent) > 20, "full long before the reserve is reached", len(sent))
    status = c.node.status()
    check(not status["accepting"] and status["alerts"], "status does not tell", status)

    fake = Fake(c.primary).up()
    wait_until(lambda: set(sent) <= set(fake.idents()), 30, "what was accepted is not handed over")
    wait_until(lambda: send_one(w, c.mx2.ip, make_message("again", 500_000))[0] == 250, 20,
               "it does not accept again after the drain", every=0.5)
    wait_until(lambda: fake.idents()["again"] == 1, 20, "the last message does not arrive")
    return f"{len(sent)} accepted before 452"


@scenario("disk fails or goes read-only: 4xx, and everything acknowledged is there when it is back",
          seconds=90)
def fails(w):
    disk = w.disk("failing", 64, journal=True)
    os.chmod(disk, 0o777)
    c = Cast(w, postfix=False, state_dir=disk / "state",
             extra='spool { segment_size = "1M"  reserve = "4M" }')
    sent = {f"e{i}": c.send(f"e{i}") for i in range(20)}
    power_cut(disk)
    for i in range(3):
        code, text = send_one(w, c.mx2.ip, make_message(f"not{i}"))
        check(400 <= code < 500, "a failing disk is not answered 4xx", code, text)
        time.sleep(0.5)
    check(c.node.process.alive(), "locumd gave up")
    c.node.kill9()

    # The same folder, readable but not writable. (The first mount lets the journal be replayed.)
    sh("umount", disk)
    sh("mount", "-o", "loop", w.path("failing.img"), disk)
    sh("umount", disk)
    sh("mount", "-o", "loop,ro", w.path("failing.img"), disk)
    try:
        c.node.start(5)
        code, text = send_one(w, c.mx2.ip, make_message("not"))
        check(400 <= code < 500, "a read-only spool is not answered 4xx", code, text)
        c.node.kill9()
    except Exception as e:
        # Refusing to serve is as good, when it says why.
        check("ended at its start" in str(e), "a read-only spool", str(e))
        check("Read-only" in c.node.log() or "read-only" in c.node.log(),
              "the log does not say that the spool is read-only", c.node.log()[-500:])

    sh("umount", disk)
    sh("mount", "-o", "loop", w.path("failing.img"), disk)
    fake = Fake(c.primary).up()
    c.node.start()
    wait_until(lambda: set(sent) <= set(fake.idents()), 20, "acknowledged messages are lost")
    queue_empty(c.node)


def power_cut(mount):
    """The file system stops at once, without writing what it still holds."""
    fd = os.open(mount, os.O_RDONLY)
    fcntl.ioctl(fd, EXT4_SHUTDOWN, struct.pack("I", NO_FLUSH))
    os.close(fd)


@scenario("power cut in the middle of accepting: every 250 survives", seconds=120)
def power(w):
    total = 0
    disk = w.disk("cut", 256, journal=True)
    os.chmod(disk, 0o777)
    c = Cast(w, postfix=False, state_dir=disk / "state",
             extra='spool { segment_size = "2M"  reserve = "4M" }')
    fake = Fake(c.primary)
    acknowledged = set()

    def client(number, turn):
        try:
            s = Client(w.client, c.mx2.ip, seconds=10)
            for n in range(10000):
                ident = f"p{turn}-{number}-{n}"
                if s.send(make_message(ident, 5000, awkward=False))[0] != 250:
                    return
                acknowledged.add(ident)
        except OSError:
            pass

    for turn in range(3):
        threads = [threading.Thread(target=client, args=(i, turn)) for i in range(8)]
        for t in threads:
            t.start()
        time.sleep(w.random.uniform(0.5, 1.5))
        # Power goes for everybody at once. Without the freeze an fdatasync under way in this very moment may
        # return 0 for what the journal then loses (any program sees that; a machine without power does not run).
        for pid in c.node.pids():
            os.kill(pid, signal.SIGSTOP)
        power_cut(disk)
        c.node.kill9()
        for t in threads:
            t.join()
        sh("umount", disk)
        sh("mount", "-o", "loop", w.path("cut.img"), disk)
        check(len(acknowledged) > total, "nothing was accepted before the cut")
        total = len(acknowledged)
        c.node.start()
    fake.up()
    wait_until(lambda: acknowledged <= set(fake.idents()), 40, "acknowledged messages are lost",
               lambda: acknowledged - set(fake.idents()))
    return f"{total} acknowledged, 0 lost"
