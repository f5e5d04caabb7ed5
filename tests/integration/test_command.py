"""The command line against a living node."""

import os
import signal
import subprocess
import threading
import time

from common import Cast, only_headers_added, queue_empty
from harness import BUILD, Client, check, make_message, send_one, wait_until
from peers import Fake
from scenario import scenario


@scenario("locum status, queue, show, trace and export tell the truth about a message", seconds=60)
def told(w):
    c = Cast(w, postfix=False)
    raw = c.send("told", sender="alice@src.test", rcpts=("r1@example.test", "r2@example.test"))
    status = c.node.status()
    check(status["messages"] == 1 and status["accepting"] and status["hostname"] == "mx2.backup.test",
          "status", status)
    rows = c.node.json("queue")
    check(len(rows) == 1 and rows[0]["bytes"] == len(raw), "queue", rows)
    check(len(c.node.json("queue", "example.test")) == 1, "queue of the domain")
    ident = rows[0]["id"]
    shown = c.node.json("show", ident)
    check(shown["reverse_path"] == "alice@src.test"
          and [r["address"] for r in shown["recipients"]] == ["r1@example.test", "r2@example.test"]
          and "192.0.2.1" in str(shown), "show", shown)
    events = c.node.json("trace", ident)["events"]
    check(any(e["event"] == "accepted" for e in events), "trace by id", events)
    check(c.node.json("trace", "r2@example.test"), "trace by address")
    exported = subprocess.run([BUILD / "locum", "--config", c.node.config, "export", ident],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=20).stdout
    check(ident.encode() in only_headers_added(exported, raw, "export"), "export", exported[:300])
    for words in (["show", "01ARZ3NDEKTSV4RRFFQ69G5FAV"], ["show", "nonsense"], ["frobnicate"],
                  ["export"], ["drop", "example.test"]):
        done = c.node.command(*words, check_status=False)
        check(done.returncode != 0 and done.stderr.strip(), "a wrong command is not refused with words",
              words, done.stdout, done.stderr)

    fake = Fake(c.primary).up()
    wait_until(lambda: fake.messages, 15, "not delivered")
    queue_empty(c.node)
    events = c.node.json("trace", ident)["events"]
    check(any(e["event"] == "delivered" for e in events), "the trace does not end with the delivery", events)
    check(c.node.status()["delivered_total"] >= 1, "delivered_total")


@scenario("locum hold, release, drop and flush decide", seconds=90)
def decide(w):
    c = Cast(w, postfix=False)
    for name in ("stays", "goes", "dies"):
        c.send(name, sender=f"{name}@src.test")
    ids = {r["reverse_path"].split("@")[0]: r["id"] for r in c.node.json("queue")}
    c.node.command("hold", ids["stays"])
    c.node.command("drop", ids["dies"], "--yes")
    check(c.node.status()["messages"] == 2 and c.node.status()["messages_held"] == 1, "hold and drop",
          c.node.status())
    fake = Fake(c.primary).up()
    c.node.command("flush", "example.test")
    wait_until(lambda: fake.idents()["goes"] == 1, 10, "not delivered after a flush")
    time.sleep(1)
    check(set(fake.idents()) == {"goes"}, "a held or dropped message was delivered", fake.idents())
    c.node.kill9()
    c.node.start()
    time.sleep(2)
    check(set(fake.idents()) == {"goes"}, "hold or drop do not survive a crash", fake.idents())
    c.node.command("release", ids["stays"])
    wait_until(lambda: fake.idents()["stays"] == 1, 10, "not delivered after its release")
    queue_empty(c.node)

    fake.down()
    for i in range(5):
        c.send(f"dom{i}")
    c.node.command("hold", "example.test")
    wait_until(lambda: c.node.status()["messages_held"] == 5, 5, "hold of a domain")
    c.node.command("release", "example.test")
    wait_until(lambda: c.node.status()["messages_held"] == 0, 5, "release of a domain")
    c.node.command("drop", "example.test", "--yes")
    queue_empty(c.node, 5)


@scenario("a wrong configuration at reload changes nothing and says where it is wrong", seconds=60)
def reload(w):
    c = Cast(w, postfix=False)
    c.node.write_config(broken='domain "second.test" { acceptence = "live" }')
    lines = c.node.config.read_text().splitlines()
    done = c.node.command("reload", check_status=False)
    said = done.stdout + done.stderr
    check(done.returncode != 0 and f"{c.node.config.name}:{len(lines)}" in said and "acceptence" in said,
          "reload does not say file, line and word", said)
    check(c.node.command("check", check_status=False).returncode != 0, "`locum check` finds nothing")
    os.kill(c.node.process.pid, signal.SIGHUP)
    time.sleep(1)
    c.send("after")
    code, text = send_one(w, c.mx2.ip, make_message("no"), rcpts=("r@second.test",))
    check(code == 550, "a domain of the wrong file is served", code, text)

    c.node.domains["second.test"] = ""
    c.node.write_config()
    check(c.node.command("check").returncode == 0, "`locum check` refuses a right file")
    c.node.command("reload")
    wait_until(lambda: send_one(w, c.mx2.ip, make_message("yes"), rcpts=("r@second.test",))[0] == 250,
               5, "the new domain is not served after a reload")
    del c.node.domains["second.test"]
    c.node.write_config()
    os.kill(c.node.process.pid, signal.SIGHUP)
    wait_until(lambda: send_one(w, c.mx2.ip, make_message("no"), rcpts=("r@second.test",))[0] == 550,
               5, "SIGHUP does not reload")
    check(c.node.status()["messages"] == 2, "mail of a removed domain is gone")


@scenario("a reload moves port 25 between addresses: clients are served all the while", seconds=60)
def move_port(w):
    c = Cast(w, postfix=False, extra="processes { smtpin = 2 }")
    kept = Client(w.client, c.mx2.ip)  # a session of before goes on
    stop, served, gaps = threading.Event(), [], [0]

    def knock():
        since = None
        while not stop.is_set():
            try:
                s = Client(w.client, c.mx2.ip, helo=None, seconds=5)
                served.append(s.greeting[0])
                s.close()
                if since:
                    gaps.append(time.monotonic() - since)
                since = None
            except OSError:
                since = since or time.monotonic()
    knocking = threading.Thread(target=knock)
    knocking.start()
    moves = ["0.0.0.0:25", f"{c.mx2.ip}:25", "[::]:25", "0.0.0.0:25", "[::]:25", f"{c.mx2.ip}:25"]
    for address in moves:
        c.node.listen = [address]
        c.node.write_config()
        c.node.command("reload")
        before = len(served)
        wait_until(lambda: len(served) > before + 3, 5, f"not served after the move to {address}")
    code, text = kept.send(make_message("kept"))
    check(code == 250, "a session of before was ended", code, text)

    c.node.listen = ["0.0.0.0:25", "192.0.2.99:26"]  # an address that is not here
    c.node.write_config()
    done = c.node.command("reload", check_status=False)
    check(done.returncode != 0 and "192.0.2.99:26" in done.stdout + done.stderr,
          "a wrong address is not named", done.stdout, done.stderr)
    before = len(served)
    wait_until(lambda: len(served) > before + 3, 5, "the old address is lost after a failed move")
    stop.set()
    knocking.join()
    check(max(gaps) < 0.5, "refused longer than for a moment", gaps)
    return (f"{len(served)} served during 6 moves and one that failed, "
            f"the longest gap {1000 * max(gaps):.0f} ms")


@scenario("locum without a running locumd, and locumd beside another: told, not guessed", seconds=60)
def absent(w):
    c = Cast(w, postfix=False)
    second = c.mx2.process([BUILD / "locumd", "--config", str(c.node.config)], "second.log")
    check(second.popen.wait(15) != 0, "a second locumd runs on the same files")
    w.processes.remove(second)
    check((w.dir / "second.log").read_text().strip(), "the second locumd does not say why it ends")
    c.send("still")
    c.node.stop()
    done = c.node.command("status", check_status=False)
    check(done.returncode != 0 and done.stderr.strip(), "`locum status` without locumd", done.stderr)
