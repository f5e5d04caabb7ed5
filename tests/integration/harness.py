"""What integration scenarios stand on: hosts, processes, the nodes of Locum, and waiting.

Every scenario runs in network, mount and process namespaces of its own (the `run` script makes them). A
host is a further network namespace on a common bridge, so real ports can be used, links can be cut, and
nothing reaches the machine or leaves it:

    192.0.2.1  client (and the scenario itself)     192.0.2.53  DNS
    192.0.2.10 the primary                          192.0.2.20, .30  backups

Threads enter a host's namespace only to create a socket; a socket stays where it was made, so
servers and clients written in Python live in the scenario's own process.
"""

import ctypes
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("LOCUM_BUILD", ROOT / "build")).resolve()
CLONE_NEWNET = 0x40000000
KINDS = ("smtpin", "netd", "spoold", "smtpout", "state", "locumd")

_libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """A promise was broken; the text says which."""


def check(condition, text, *details):
    if not condition:
        raise Failure(" ".join([text, *(f"[{d!r}]" for d in details)]))


def wait_until(condition, seconds, text, details=None, every=0.05):
    """Polls until condition() is true; returns its value. Fails with `text` (and details()) past the
    time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"{text} (waited {seconds} s){f' [{details()!r}]' if details else ''}")
        time.sleep(every)


def sh(*argv, **kw):
    kw.setdefault("check", True)
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, **{**kw, "check": False})
    if kw["check"] and done.returncode != 0:
        raise Failure(f"{' '.join(map(str, argv))}: {done.stdout}{done.stderr}".strip())
    return done


class Process:
    """A program of the scenario: its log, and an end by pid."""

    def __init__(self, argv, log, netns=None, **kw):
        argv = [str(a) for a in argv]
        if netns:
            argv = ["nsenter", f"--net=/run/netns/{netns}", "--", *argv]
        self.log_path = Path(log)
        self.log = open(log, "ab")
        kw.setdefault("stdout", self.log)
        self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=self.log, **kw)

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def stop(self, seconds=10):
        """SIGTERM, then SIGKILL; returns the exit status."""
        self.signal(signal.SIGTERM)
        try:
            self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.log.close()
        return self.popen.returncode


class Host:
    """A machine of the test network."""

    def __init__(self, world, name, octet):
        self.world, self.name, self.octet = world, name, octet
        self.ip, self.ip6 = f"192.0.2.{octet}", f"2001:db8::{octet}"
        self.netns = None if name == "client" else name
        if self.netns:
            link = f"v-{name}"[:15]
            sh("ip", "netns", "add", name)
            sh("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
            sh("ip", "link", "set", link, "master", "br0", "up")
            self.ip_cmd("link", "set", "lo", "up")
            self.ip_cmd("link", "set", "eth0", "up")
            self.add_address(octet)

    def ip_cmd(self, *args):
        where = ["-n", self.netns] if self.netns else []
        return sh("ip", *where, *args)

    def add_address(self, octet, prefix=24, device="eth0"):
        self.ip_cmd("addr", "add", f"192.0.2.{octet}/{prefix}", "dev", device)
        self.ip_cmd("addr", "add", f"2001:db8::{octet}/64", "dev", device, "nodad")

    def run(self, *argv, **kw):
        where = ["nsenter", f"--net=/run/netns/{self.netns}", "--"] if self.netns else []
        return sh(*where, *argv, **kw)

    def process(self, argv, log, **kw):
        p = Process(argv, self.world.path(log), self.netns, **kw)
        self.world.processes.append(p)
        return p

    def nft(self, *lines):
        self.run("nft", "; ".join(lines))

    def cut_from(self, *hosts):
        """Drops every packet between this host and those, silently: a cut link."""
        self.nft("add table inet cut", "add chain inet cut in { type filter hook input priority 0; }",
                 *(f"add rule inet cut in ip saddr {h.ip} drop" for h in hosts),
                 *(f"add rule inet cut in ip6 saddr {h.ip6} drop" for h in hosts))

    def heal(self):
        self.nft("delete table inet cut")

    def socket(self, family=socket.AF_INET):
        """A TCP socket that lives in this host."""
        if not self.netns:
            return socket.socket(family)
        made = []

        def enter():
            with open(f"/run/netns/{self.netns}", "rb") as ns:
                if _libc.setns(ns.fileno(), CLONE_NEWNET) != 0:
                    made.append(OSError(ctypes.get_errno(), "setns"))
                    return
            made.append(socket.socket(family))
        t = threading.Thread(target=enter)
        t.start()
        t.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def listen(self, port, ip=None):
        ip = ip or self.ip
        s = self.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((ip, port))
        s.listen(256)
        return s

    def connect(self, ip, port=25, seconds=10, source=None):
        s = self.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET)
        s.settimeout(seconds)
        if source:
            s.bind((source, 0))
        s.connect((ip, port))
        return s


class World:
    """One scenario's machines and files."""

    def __init__(self, name, directory):
        self.name, self.dir = name, Path(directory)
        self.processes, self.closing = [], []
        self.random = random.Random(int(os.environ.get("SEED", "0")) or name)
        sh("ip", "link", "set", "lo", "up")
        os.makedirs("/run/netns", exist_ok=True)
        sh("mount", "-t", "tmpfs", "netns", "/run/netns")
        sh("ip", "link", "add", "br0", "type", "bridge")
        sh("ip", "link", "set", "br0", "up")
        self.client = Host(self, "client", 1)
        self.client.add_address(1, device="br0")
        self.hosts = {"client": self.client}

    def host(self, name, octet):
        self.hosts[name] = Host(self, name, octet)
        return self.hosts[name]

    def path(self, name):
        return self.dir / name

    def certificate(self, name):
        """A self-signed certificate and key for `name`: two paths."""
        crt, key = self.path(f"{name}.crt"), self.path(f"{name}.key")
        if not crt.exists():
            sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
               "-nodes", "-days", "30", "-subj", f"/CN={name}", "-keyout", key, "-out", crt)
        return crt, key

    def disk(self, name, megabytes, journal=False):
        """A small ext4 file system of its own, mounted; its path."""
        image, where = self.path(f"{name}.img"), self.path(name)
        with open(image, "wb") as f:
            f.truncate(megabytes << 20)
        where.mkdir()
        sh("mkfs.ext4", "-q", "-O", "has_journal" if journal else "^has_journal", image)
        sh("mount", "-o", "loop", image, where)
        self.closing.append(lambda: sh("umount", "-l", where, check=False))
        return where

    def close(self):
        for p in reversed(self.processes):
            p.signal(signal.SIGCONT)
            p.stop(5)
        for f in reversed(self.closing):
            f()


def children_of(pid):
    """pid → {child pid: program name}, from /proc."""
    found = {}
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            try:
                found[int(child)] = Path(f"/proc/{child}/comm").read_text().strip()
            except OSError:
                pass
    return found


def spooled(options):
    """The spool is what most scenarios are about: mail goes there unless a scenario says otherwise."""
    return options if "acceptance" in options else f'{options} acceptance = "queue"'


class Locum:
    """A node: writes its configuration, starts it, kills parts of it, asks it."""

    def __init__(self, host, hostname, domains, dns=None, state_dir=None, extra="", listen=None,
                 tls=None, user="nobody"):
        self.host, self.hostname, self.domains, self.dns = host, hostname, domains, dns
        self.world, self.name, self.extra, self.tls = host.world, host.name, extra, tls
        self.state_dir = Path(state_dir or self.world.path(f"{self.name}-state"))
        self.listen = listen or [f"{host.ip}:25"]
        self.config = self.world.path(f"{self.name}.conf")
        self.user = user
        self.process = None
        self.bin = BUILD  # where locumd and its processes are
        self.write_config()

    def write_config(self, extra=None, broken=None):
        tls = ""
        if self.tls:
            tls = f'  tls_certificate = "{self.tls[0]}"  tls_key = "{self.tls[1]}"'
        lines = [f'hostname = "{self.hostname}"', f'state_dir = "{self.state_dir}"',
                 f'user = "{self.user}"']
        lines += [f'listen "mx{i}" {{ address = "{a}"{tls} }}' for i, a in enumerate(self.listen)]
        if self.dns:
            lines.append(f'dns {{ servers = {{"{self.dns}:53"}} }}')
        lines.append(self.extra if extra is None else extra)
        lines += [f'domain "{d}" {{ {spooled(options)} }}' for d, options in self.domains.items()]
        if broken:
            lines.append(broken)
        self.config.write_text("\n".join(lines) + "\n")

    def start(self, seconds=15):
        """Returns when it says that it serves."""
        out = self.world.path(f"{self.name}.out")
        stdout = open(out, "ab")
        before = out.stat().st_size
        self.process = self.host.process([self.bin / "locumd", "--config", self.config],
                                         f"{self.name}.log", stdout=stdout, start_new_session=True)
        stdout.close()

        def serving():
            check(self.process.alive(), f"locumd on {self.name} ended at its start", self.log()[-800:])
            return "locumd: serving" in out.read_text()[before:]
        wait_until(serving, seconds, f"locumd on {self.name} does not say that it serves")
        return self

    def stop(self, seconds=20):
        status = self.process.stop(seconds)
        self.world.processes.remove(self.process)
        return status

    def log(self):
        path = self.world.path(f"{self.name}.log")
        return path.read_text(errors="replace") if path.exists() else ""

    def pids(self, kind=None):
        """Living processes of this node: {pid: name}, locumd included."""
        found = {self.process.pid: "locumd", **children_of(self.process.pid)}
        return {p: n for p, n in found.items() if kind in (None, n)}

    def kill9(self, kind=None):
        """kill -9 of one process of that kind, or of all of them."""
        # A child that was just born has locumd's title.
        victims = [self.process.pid] if kind == "locumd" else list(self.pids(kind))
        if kind:
            victims = [self.world.random.choice(victims)] if victims else []
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if kind in (None, "locumd"):
            self.process.popen.wait()
            self.world.processes.remove(self.process)
            # Its children end by themselves when it is gone; a new start must not race with them.
            wait_until(lambda: not any(Path(f"/proc/{p}").exists() and not zombie(p) for p in victims),
                       5, "processes survive kill -9")

    def command(self, *args, check_status=True):
        done = sh(BUILD / "locum", "--config", self.config, *args, check=False, timeout=30)
        if check_status:
            check(done.returncode == 0, f"locum {' '.join(map(str, args))} failed",
                  done.stdout[-400:] + done.stderr[-400:])
        return done

    def json(self, *args):
        return json.loads(self.command(*args, "--json").stdout)

    def status(self):
        return self.json("status")


def zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


# --- messages and clients -----------------------------------------------------------------

AWKWARD = (b"..two dots\r\n.one dot\r\n.\tdot and tab\r\n\r\n \r\ntrailing space \r\n"
           b"8 bit: \xc3\xa9\xff\xfe\r\n" + b"x" * 990 + b"\r\nFrom here\r\n>From there\r\n")


def make_message(ident, size=2000, sender="s@src.test", rcpt="r@example.test", awkward=True):
    """A message as it goes over the wire before dot-stuffing; `ident` is in its Message-ID."""
    head = (f"Message-ID: <{ident}@src.test>\r\nFrom: {sender}\r\nTo: {rcpt}\r\n"
            f"Subject: scenario {ident}\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
            "X-Folded: one\r\n\ttwo\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
    body = AWKWARD if awkward else b""
    line = b"The quick brown fox jumps over the lazy dog, again and again.\r\n"
    body += line * max(1, (size - len(head) - len(body)) // len(line))
    return head.encode() + body


class Client:
    """A plain SMTP client: one line out, one reply in."""

    def __init__(self, host, ip, port=25, helo="client.src.test", seconds=30, source=None):
        self.sock = host.connect(ip, port, seconds, source)
        self.file = self.sock.makefile("rb")
        self.greeting = self.reply()
        if helo and self.greeting[0] == 220:
            self.ehlo = self.cmd(f"EHLO {helo}")

    def reply(self):
        lines = []
        while True:
            line = self.file.readline()
            if not line:
                raise ConnectionError("the server closed the connection")
            lines.append(line[4:].decode(errors="replace").strip())
            if line[3:4] != b"-":
                return int(line[:3]), "\n".join(lines)

    def write(self, data):
        self.sock.sendall(data)

    def cmd(self, line):
        self.write(line.encode("latin-1") + b"\r\n")
        return self.reply()

    def data(self, raw):
        """DATA and the message; the reply to the dot, or to DATA when that was refused."""
        r = self.cmd("DATA")
        if r[0] != 354:
            return r
        self.write(re.sub(rb"(?m)^\.", b"..", raw) + b".\r\n")
        return self.reply()

    def send(self, raw, sender="s@src.test", rcpts=("r@example.test",)):
        """One transaction; the first refusal or the reply to the dot."""
        r = self.cmd(f"MAIL FROM:<{sender}>")
        if r[0] != 250:
            return r
        for rcpt in rcpts:
            r = self.cmd(f"RCPT TO:<{rcpt}>")
            if r[0] not in (250, 251):
                self.cmd("RSET")
                return r
        return self.data(raw)

    def close(self):
        try:
            self.cmd("QUIT")
        except OSError:
            pass
        self.file.close()
        self.sock.close()


def send_one(world, ip, raw, sender="s@src.test", rcpts=("r@example.test",), source=None):
    c = Client(world.client, ip, source=source)
    try:
        return c.send(raw, sender, rcpts)
    finally:
        c.close()


def swaks(world, ip, raw, rcpt="r@example.test", sender="s@src.test", *more):
    """Sends raw (CRLF) with swaks; its exit status and transcript."""
    path = world.path(f"swaks-{time.monotonic_ns()}.eml")
    # swaks adds the last line end itself.
    path.write_bytes(raw.replace(b"\r\n", b"\n").removesuffix(b"\n"))
    done = subprocess.run(["swaks", "--server", ip, "--ehlo", "client.src.test", "--from", sender,
                           "--to", rcpt, "--data", f"@{path}", "--suppress-data", *more],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                          timeout=120)
    path.unlink()
    return done.returncode, done.stdout + done.stderr


def fresh_directory(name):
    # Not below the work tree: the unprivileged users of the peers must be able to get there.
    base = Path(os.environ.get("INTEGRATION_DIR", "/var/tmp/locum-integration"))
    where = base / name
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    os.chmod(where, 0o755)
    return where
