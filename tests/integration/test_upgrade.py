"""New executables take over while clients send: nobody is refused, nothing is lost, no 451."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path

from common import Cast, only_headers_added, queue_empty
from harness import BUILD, Client, check, make_message, wait_until, zombie
from peers import Fake, ident_of
from scenario import scenario

SESSIONS = 200
PROGRAMS = ("locumd", "smtpin", "netd", "spoold", "smtpout", "state")


class Install:
    """A folder of executables that are replaced as a package manager does it."""

    def __init__(self, w):
        self.dir = w.path("bin")
        self.dir.mkdir()
        self.put()

    def put(self, version=None, programs=PROGRAMS):
        """The built ones, or the same with another version string."""
        for name in programs:
            data = (BUILD / name).read_bytes()
            if version and name == "locumd":
                data = data.replace(b"0.1.0", version)
                check(data != (BUILD / name).read_bytes(), "the version string is not found")
            self.write(name, data)

    def write(self, name, data, mode=0o755):
        fresh = self.dir / f".{name}"
        fresh.write_bytes(data)
        fresh.chmod(mode)
        fresh.rename(self.dir / name)


def cast(w, **options):
    c = Cast(w, postfix=False, start=False, extra="processes { smtpin = 2 }\nlimits { sessions_per_client = 2000 }",
             **options)
    c.install = Install(w)
    c.node.bin = c.install.dir
    c.node.start()
    return c


class Senders:
    """Clients that keep their session and send one message after the other, until told to end."""

    def __init__(self, w, ip, count):
        self.w, self.ip = w, ip
        self.acknowledged, self.bad = set(), []
        self.lock, self.stop = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True)
                        for i in range(count)]
        for t in self.threads:
            t.start()

    def run(self, number):
        n = 0
        try:
            c = Client(self.w.client, self.ip, seconds=60)
            check(c.greeting[0] == 220, "greeting", c.greeting)
            while not self.stop.is_set():
                n += 1
                ident = f"u{number}-{n}"
                code, text = c.send(make_message(ident, 2000, awkward=False))
                check(code == 250, ident, code, text)
                with self.lock:
                    self.acknowledged.add(ident)
                # Each session lives for a while: some over one upgrade, some over several.
                if n % (5 + number % 40) == 0:
                    check(c.cmd("QUIT")[0] == 221, "QUIT")
                    c.sock.close()
                    c = Client(self.w.client, self.ip, seconds=60)
                    check(c.greeting[0] == 220, "greeting", c.greeting)
                self.stop.wait(1)
            check(c.cmd("QUIT")[0] == 221, "QUIT")
        except Exception as e:  # pylint: disable=broad-except
            with self.lock:
                self.bad.append(f"{number}: {e!r}")

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(70)
        check(not self.bad, f"{len(self.bad)} clients were not served", self.bad[:5])


class Knocker:
    """Connects, reads the greeting, leaves, all the time."""

    def __init__(self, w, ip):
        self.greeted, self.bad, self.stop = 0, [], threading.Event()

        def run():
            while not self.stop.is_set():
                try:
                    c = Client(w.client, ip, helo=None, seconds=10)
                    check(c.greeting[0] == 220, "greeting", c.greeting)
                    c.close()
                    self.greeted += 1
                except Exception as e:  # pylint: disable=broad-except
                    self.bad.append(repr(e))
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def end(self):
        self.stop.set()
        self.thread.join(15)
        check(not self.bad, f"refused {len(self.bad)} times", self.bad[:5])
        return self.greeted


def upgrade(c):
    """`locum upgrade`, again while it says that the last one is not complete."""
    end = time.monotonic() + 40
    while True:
        done = c.node.command("upgrade", check_status=False)
        said = done.stdout + done.stderr
        if done.returncode == 0 or "not complete" not in said or time.monotonic() > end:
            return done.returncode, said
        time.sleep(0.3)


def living(pids):
    return [p for p in pids if Path(f"/proc/{p}").exists() and not zombie(p)]


@scenario("upgrades under load: nobody is refused, nothing is lost, no 451, old processes end",
          seconds=240)
def under_load(w):
    c = cast(w, options="")
    fake = Fake(c.primary).up()
    knocker, senders = Knocker(w, c.mx2.ip), Senders(w, c.mx2.ip, SESSIONS)
    wait_until(lambda: len(senders.acknowledged) > SESSIONS, 60, "the clients do not get started")
    locumd = c.node.process.pid
    generations = [set(c.node.pids()) - {locumd}]
    for version in (None, b"0.1.9", None):
        c.install.put(version)
        before = len(senders.acknowledged)
        code, said = upgrade(c)
        check(code == 0, "upgrade failed", said)
        check(version is None or version.decode() in said, "the new version is not named", said)
        generations.append(set(c.node.pids()) - {locumd} - set().union(*generations))
        check(generations[-1], "there are no new processes")
        wait_until(lambda: len(senders.acknowledged) > before + SESSIONS, 30,
                   "mail is not accepted any more", lambda: senders.bad[:5])
    arrived = len(fake.messages)
    wait_until(lambda: len(fake.messages) > arrived, 20, "deliveries do not go on")
    senders.end()
    greeted = knocker.end()
    check(c.node.process.alive() and c.node.process.pid == locumd, "locumd is another process")
    old = set().union(*generations[:-1])
    wait_until(lambda: not living(old), 60, "old processes go on", lambda: living(old))
    wait_until(lambda: len(c.node.pids("smtpin")) == 2, 5, "not as many smtpin as configured",
               c.node.pids)
    queue_empty(c.node, 60)
    lost = senders.acknowledged - set(fake.idents())
    check(not lost, "acknowledged messages do not arrive", sorted(lost)[:10])
    for _, _, raw in fake.messages:
        ident = ident_of(raw)
        only_headers_added(raw, make_message(ident, 2000, awkward=False), ident)
    twice = len(fake.messages) - len(set(fake.idents()))
    check(twice == 0, "delivered twice", twice)
    check(" 451" not in c.node.log(), "somebody heard 451")
    return (f"{len(senders.acknowledged)} messages of {SESSIONS} clients, {greeted} knocks, "
            f"3 upgrades")


@scenario("an upgrade lets a session of before finish, and a restart ends it in time", seconds=90)
def old_session(w):
    c = cast(w, options="")
    fake = Fake(c.primary).up()
    old = set(c.node.pids("smtpin"))
    kept = Client(w.client, c.mx2.ip)
    check(kept.cmd("MAIL FROM:<s@src.test>")[0] == 250, "MAIL")
    code, said = upgrade(c)
    check(code == 0, "upgrade failed", said)
    wait_until(lambda: len(living(old)) == 1, 20, "an smtpin without sessions does not end")
    c.send("new")
    check(kept.cmd("RCPT TO:<r@example.test>")[0] == 250, "RCPT in a session of before")
    check(kept.data(make_message("kept"))[0] == 250, "its transaction was not taken")
    check(kept.send(make_message("kept2"))[0] == 250, "nor its next")
    c.node.command("status")
    c.node.command("reload")
    check(kept.send(make_message("kept3"))[0] == 250, "nor one after a reload")
    wait_until(lambda: {"new", "kept", "kept2", "kept3"} <= set(fake.idents()), 20,
               "not everything arrives", fake.idents)
    kept.sock.settimeout(10)
    os.kill(c.node.process.pid, signal.SIGTERM)
    check(kept.reply()[0] == 421, "a session of before hears no 421 at the end")
    wait_until(lambda: not c.node.process.alive(), 20, "locumd does not end")
    check(not living(old), "an smtpin of before outlives locumd")
    w.processes.remove(c.node.process)


@scenario("a wrong configuration or executable: an upgrade says so and changes nothing", seconds=90)
def refused(w):
    c = cast(w, options="")
    Fake(c.primary).up()
    before = c.node.pids()

    def refuses(*words):
        code, said = upgrade(c)
        check(code != 0 and all(x in said for x in words), f"it does not say {words}", code, said)
        check("nothing has changed" in said, "it does not say that nothing has changed", said)
        check(c.node.pids() == before, "processes have changed", before, c.node.pids())
        c.send(f"after-{words[0]}"[:40].replace("/", "-").replace(" ", "-"))

    c.node.write_config(broken='domain "second.test" { acceptence = "live" }')
    refuses(f"{c.node.config.name}:", "acceptence")
    c.node.write_config()
    c.install.write("locumd", b"\x7fELF garbage")
    refuses("cannot be executed")
    c.install.write("locumd", Path("/bin/true").read_bytes())
    refuses("is no locumd")
    (c.install.dir / "locumd").unlink()
    refuses("is not there")
    c.install.put()
    (c.install.dir / "smtpout").unlink()
    refuses("smtpout")
    c.install.put()
    os.kill(c.node.process.pid, signal.SIGUSR2)
    wait_until(lambda: not living(set(before) - {c.node.process.pid}), 60, "SIGUSR2 does not upgrade")
    c.send("after")


@scenario("an upgrade to an smtpin that does not start: the old ones serve, and the next one helps",
          seconds=120)
def broken_worker(w):
    c = cast(w, options="")
    Fake(c.primary).up()
    old = set(c.node.pids("smtpin"))
    c.install.write("smtpin", Path("/bin/false").read_bytes())
    code, said = upgrade(c)
    check(code != 0 and "not all of its processes get ready" in said, "it does not say so", code, said)
    check(set(living(old)) == old, "the old smtpin ended")
    c.send("before")
    c.install.put()
    code, said = upgrade(c)
    check(code == 0, "the next upgrade failed", said)
    wait_until(lambda: not living(old), 20, "the old smtpin do not end")
    c.send("after")


@scenario("an upgrade makes the directories that the version before did not need", seconds=60)
def directories(w):
    c = cast(w)
    shutil.rmtree(c.node.state_dir / "state")
    before = set(c.node.pids("state"))
    c.install.put(b"0.1.9")
    c.node.command("upgrade")
    wait_until(lambda: set(c.node.pids("state")) - before and (c.node.state_dir / "state/data.mdb").exists(), 20,
               "state does not begin", lambda: c.node.log()[-800:])
    c.send("after")
