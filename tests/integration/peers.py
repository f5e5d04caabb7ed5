"""The other side: NSD with one zone for everything, Postfix as a real primary, smtp-sink as a faulty one,
and a scriptable primary in Python for what smtp-sink cannot do."""

import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from harness import Process, check, sh, wait_until


class Dns:
    """NSD, authoritative for the root: whatever is not written here does not exist. All TTLs are a
    second, so that a change is seen at once, unless `ttl` was set before it."""

    ttl = 1

    def __init__(self, host, records):
        self.host, self.world = host, host.world
        self.dir = self.world.path("nsd")
        self.dir.mkdir()
        self.process = None
        self.records(records)
        (self.dir / "nsd.conf").write_text(f"""
server:
    ip-address: {host.ip}
    username: ""
    chroot: ""
    zonesdir: "{self.dir}"
    zonelistfile: "{self.dir}/zone.list"
    xfrdfile: ""
    pidfile: ""
    database: ""
    server-count: 1
    rrl-ratelimit: 0
    hide-version: yes
remote-control:
    control-enable: no
zone:
    name: "."
    zonefile: "zone"
""" + self.more_zones())
        self.start()

    def more_zones(self):
        return ""

    def records(self, text):
        serial = int(time.time() * 10) % (1 << 32)
        (self.dir / "zone").write_text(
            f"$ORIGIN .\n$TTL {self.ttl}\n@ SOA ns.test. root.test. {serial} 60 60 600 {self.ttl}\n@ NS ns.test.\n"
            f"ns.test. A {self.host.ip}\n" +
            "".join(line.strip() + "\n" for line in text.splitlines()))

    def start(self):
        self.process = self.host.process(["nsd", "-d", "-c", self.dir / "nsd.conf"], "nsd.log")
        query = b"\x12\x34\x01\x00\0\1\0\0\0\0\0\0" + b"\2ns\4test\0" + b"\0\1\0\1"

        def answers():
            check(self.process.alive(), "nsd ended", self.process.log_path.read_text()[-500:])
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.settimeout(0.2)
            try:
                s.sendto(query, (self.host.ip, 53))
                return len(s.recv(512)) > 12
            except OSError:
                return False
            finally:
                s.close()
        wait_until(answers, 10, "nsd does not answer")

    def stop(self):
        self.process.stop()
        self.world.processes.remove(self.process)

    def change(self, records):
        self.stop()
        self.records(records)
        self.start()


class SignedDns(Dns):
    """The same root zone, signed; `insecure` is a zone of its own below it, insecure.test, that nobody signed.
    anchor: the file with the root's key. A name in `spoilt` has a signature that does not fit."""

    def __init__(self, host, records, insecure="", spoilt=()):
        self.insecure, self.spoilt = insecure, spoilt
        super().__init__(host, records)

    def more_zones(self):
        return '\nzone:\n    name: "insecure.test."\n    zonefile: "insecure"\n'

    def records(self, text):
        if not list(self.dir.glob("K*.key")):
            sh("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", ".", cwd=self.dir)
        key = next(self.dir.glob("K*.key"))
        self.anchor = key
        super().records(text + "\ninsecure.test. NS ns.test.")
        sh("ldns-signzone", "-o", ".", "-f", self.dir / "signed", self.dir / "zone", key.with_suffix(""))
        lines = (self.dir / "signed").read_text().splitlines()
        # A signature of another name is a good one, but not for this.
        other = next(line.split()[-1] for line in lines if "RRSIG\tSOA" in line)
        for i, line in enumerate(lines):
            if "\tRRSIG\t" in line and line.split(".\t")[0] in self.spoilt:
                lines[i] = " ".join(line.split()[:-1] + [other])
        (self.dir / "zone").write_text("\n".join(lines) + "\n")
        (self.dir / "insecure").write_text(
            f"$ORIGIN insecure.test.\n$TTL 1\n@ SOA ns.test. root.test. 1 60 60 600 1\n@ NS ns.test.\n" +
            "".join(line.strip() + "\n" for line in self.insecure.splitlines()))


class Postfix:
    """A real primary: Postfix with its own configuration and queue, delivering to one Maildir a recipient."""

    DAEMONS = "/usr/lib/postfix/sbin"

    def __init__(self, host, domains=("example.test",), tls=True, ip=None, extra="",
                 mailboxes=("r", "r1", "r2", "r3")):
        self.host, self.world, self.ip = host, host.world, ip or host.ip
        self.dir = self.world.path(f"postfix-{host.name}")
        self.process, self.frozen = None, []
        for sub in ("conf", "queue", "data", "mail"):
            (self.dir / sub).mkdir(parents=True)
        sh("chown", "postfix", self.dir / "data")
        sh("chown", "nobody", self.dir / "mail")
        boxes = [f"{r}@{d} {d}/{r}/\n" for d in domains for r in mailboxes]
        (self.dir / "conf/mailboxes").write_text("".join(boxes))
        for d in domains:
            (self.dir / "mail" / d).mkdir()
            sh("chown", "nobody", self.dir / "mail" / d)
        lines = f"""
compatibility_level = 3.6
queue_directory = {self.dir}/queue
data_directory = {self.dir}/data
daemon_directory = {self.DAEMONS}
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {self.dir}/log
maillog_file_prefixes = {self.dir}
myhostname = primary.example.test
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = {', '.join(domains)}
virtual_mailbox_maps = texthash:{self.dir}/conf/mailboxes
virtual_mailbox_base = {self.dir}/mail
virtual_minimum_uid = 1
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_mailbox_limit = 0
mailbox_size_limit = 0
message_size_limit = 52428800
inet_interfaces = {self.ip}
inet_protocols = all
smtpd_peername_lookup = no
disable_dns_lookups = yes
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
local_header_rewrite_clients =
""".strip().splitlines()
        if tls:
            crt, key = self.world.certificate("primary.example.test")
            lines += [f"smtpd_tls_cert_file = {crt}", f"smtpd_tls_key_file = {key}",
                      "smtpd_tls_security_level = may", "smtpd_tls_loglevel = 1"]
        (self.dir / "conf/main.cf").write_text("\n".join(lines) + f"\n{extra}\n")
        services = [("smtp", "inet", "n", "-", "smtpd")]
        services += [(n, "unix", p, m, c) for n, p, m, c in (
            ("cleanup", "n", "0", "cleanup"), ("qmgr", "n", "1", "qmgr"), ("tlsmgr", "-", "1", "tlsmgr"),
            ("rewrite", "-", "-", "trivial-rewrite"), ("bounce", "-", "0", "bounce"),
            ("defer", "-", "0", "bounce"), ("trace", "-", "0", "bounce"), ("verify", "-", "1", "verify"),
            ("proxymap", "-", "-", "proxymap"), ("error", "-", "-", "error"), ("retry", "-", "-", "error"),
            ("virtual", "-", "-", "virtual"), ("anvil", "-", "1", "anvil"), ("showq", "n", "-", "showq"),
            ("flush", "n", "0", "flush"))]
        (self.dir / "conf/master.cf").write_text(
            "".join(f"{n} {t} {private} {'n' if n == 'virtual' else '-'} n - {limit} {command}\n"
                    for n, t, private, limit, command in services) +
            "postlog unix-dgram n - n - 1 postlogd\n")
        host.run("postfix", "-c", self.dir / "conf", "check")

    def start(self):
        (self.dir / "queue/pid/master.pid").unlink(missing_ok=True)
        self.process = self.host.process([f"{self.DAEMONS}/master", "-c", self.dir / "conf"],
                                         f"postfix-{self.host.name}.err")
        self.wait_listening()
        return self

    def wait_listening(self):
        def greets():
            check(self.process.alive(), "Postfix ended", self.log()[-500:])
            try:
                with self.host.connect(self.ip, 25, 3) as s:
                    return s.recv(100).startswith(b"220")
            except OSError:
                return False
        wait_until(greets, 15, "Postfix does not listen")

    def stop(self):
        """As `postfix stop`: the port refuses connections afterwards."""
        pids = self.pids()
        self.process.stop()
        self.world.processes.remove(self.process)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def pids(self):
        return [self.process.pid, *(int(p) for p in Path(
            f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split())]

    def freeze(self):
        self.frozen = self.pids()
        for pid in self.frozen:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in self.frozen:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass

    def log(self):
        path = self.dir / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def mail(self, rcpt="r@example.test"):
        """What the recipient has: raw bytes with CRLF, in no order."""
        local, domain = rcpt.split("@")
        found = []
        for f in (self.dir / "mail" / domain / local / "new").glob("*"):
            found.append(f.read_bytes().replace(b"\n", b"\r\n"))
        return found

    def count(self, rcpt="r@example.test"):
        local, domain = rcpt.split("@")
        try:
            return len(os.listdir(self.dir / "mail" / domain / local / "new"))
        except FileNotFoundError:
            return 0

    def idents(self, rcpt="r@example.test"):
        return Counter(ident_of(m) for m in self.mail(rcpt))


def ident_of(raw):
    """The scenario's own name of a message, from its Message-ID."""
    m = re.search(rb"(?im)^message-id: <([^@>]+)@src\.test>", raw)
    return m.group(1).decode() if m else None


def smtp_sink(host, *flags, port=25):
    """Postfix's smtp-sink on the host; flags as in its manual."""
    p = host.process(["smtp-sink", "-u", "nobody", *flags, f"{host.ip}:{port}", "256"],
                     f"smtp-sink-{host.name}.log")

    def listens():
        try:
            host.connect(host.ip, port, 2).close()
            return True
        except OSError:
            return False
    wait_until(listens, 10, "smtp-sink does not listen")
    return p


DROP, STALL = object(), object()


class Fake:
    """A primary that does what the scenario says. Behaviour is a dict from the point of the dialogue
    (CONNECT EHLO STARTTLS MAIL RCPT DATA DOT AFTER RSET QUIT) to a reply, DROP, STALL, or a function of
    (session, argument) that returns one of these or None for the usual reply. It can be changed
    while it runs. Keeps every message that it took responsibility for, byte for byte."""

    USUAL = {"CONNECT": "220 fake.example.test ESMTP", "EHLO": None, "MAIL": "250 2.1.0 Ok",
             "RCPT": "250 2.1.5 Ok", "DATA": "354 Go on", "DOT": "250 2.0.0 Ok: taken",
             "RSET": "250 2.0.0 Ok", "NOOP": "250 2.0.0 Ok", "QUIT": "221 2.0.0 Bye",
             "HELO": "250 fake.example.test"}

    def __init__(self, host, behaviour=None, port=25, ip=None, extensions=("PIPELINING", "8BITMIME"),
                 tls=None):
        self.host, self.port, self.ip = host, port, ip or host.ip
        self.behaviour = behaviour or {}
        self.extensions = list(extensions)
        self.tls = tls
        self.messages = []     # (sender, [rcpts], raw) acknowledged by us
        self.seen = []         # every whole message that came, acknowledged or not
        self.sessions = 0
        self.transcript = []   # (session number, line) as received
        self.first_at = None
        self.lock = threading.Lock()
        self.open = set()
        self.listener = None
        host.world.closing.append(self.down)

    def up(self):
        self.listener = self.host.listen(self.port, self.ip)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def down(self):
        """The port refuses connections; open ones break."""
        if self.listener:
            try:
                self.listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.listener.close()
            self.listener = None
        for s in list(self.open):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def idents(self):
        return Counter(ident_of(raw) for _, _, raw in self.messages)

    def lines(self, verb):
        return [line for _, line in self.transcript if line.upper().startswith(verb)]

    def _accept(self, listener):
        while True:
            try:
                s, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.sessions += 1
                number = self.sessions
            threading.Thread(target=self._serve, args=(s, number), daemon=True).start()

    def _serve(self, sock, number):
        self.open.add(sock)
        try:
            Session(self, sock, number).run()
        except (OSError, ssl.SSLError):
            pass
        finally:
            self.open.discard(sock)
            sock.close()


class Hangup(OSError):
    pass


class Session:
    def __init__(self, fake, sock, number):
        self.fake, self.sock, self.number = fake, sock, number
        self.file = sock.makefile("rb")
        self.sender, self.rcpts, self.tls = None, [], False
        self.transactions = 0

    def act(self, point, argument=None):
        """Sends the reply of this point; the code, as a string."""
        what = self.fake.behaviour.get(point)
        if callable(what):
            what = what(self, argument)
        if what is DROP:
            raise Hangup
        if what is STALL:
            while self.sock.recv(4096):
                pass
            raise Hangup
        if what is None:
            what = self.usual(point)
        self.sock.sendall(what.encode() + b"\r\n")
        return what[:3]

    def usual(self, point):
        if point == "EHLO":
            lines = ["fake.example.test", *self.fake.extensions]
            if self.fake.tls and not self.tls:
                lines.append("STARTTLS")
            return "\r\n".join(f"250{' ' if i == len(lines) - 1 else '-'}{t}"
                               for i, t in enumerate(lines))
        if point == "STARTTLS":
            return "220 2.0.0 Ready" if self.fake.tls else "502 5.5.1 No"
        return self.fake.USUAL.get(point, "502 5.5.2 What?")

    def run(self):
        if self.act("CONNECT") != "220":
            return
        while True:
            line = self.file.readline()
            if not line:
                return
            text = line.decode("latin-1").strip()
            self.fake.transcript.append((self.number, text))
            verb = text.split(" ")[0].upper()
            if verb == "DATA" and not self.rcpts:
                self.sock.sendall(b"554 5.5.1 No valid recipients\r\n")
                continue
            code = self.act(verb, text)
            if verb == "QUIT" or code == "421":
                return
            if code[0] not in "23":
                continue
            if verb in ("EHLO", "HELO", "RSET"):
                self.sender, self.rcpts = None, []
            elif verb == "MAIL":
                self.sender, self.rcpts = text, []
            elif verb == "RCPT":
                self.rcpts.append(re.search(r"<([^>]*)>", text).group(1))
            elif verb == "STARTTLS":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*map(str, self.fake.tls))
                self.sock = context.wrap_socket(self.sock, server_side=True)
                self.file = self.sock.makefile("rb")
                self.tls = True
            elif verb == "DATA":
                self.data()
                if self.fake.behaviour.get("AFTER") is DROP:
                    return

    def data(self):
        raw = bytearray()
        while True:
            line = self.file.readline()
            if not line:
                raise Hangup
            if line == b".\r\n":
                break
            raw += line[1:] if line.startswith(b".") else line
            drop = self.fake.behaviour.get("BODY")
            if drop and drop(self, len(raw)) is DROP:
                raise Hangup
        self.transactions += 1
        entry = (self.sender, list(self.rcpts), bytes(raw))
        with self.fake.lock:
            self.fake.seen.append(entry)
        self.sender, self.rcpts = None, []
        # Taken before the reply goes out: what a client may believe must be in the list.
        what = self.fake.behaviour.get("DOT")
        if what is None:
            with self.fake.lock:
                self.fake.messages.append(entry)
                self.fake.first_at = self.fake.first_at or time.monotonic()
            self.act("DOT", bytes(raw))
            return
        self.entry = entry
        if self.act("DOT", bytes(raw)).startswith("2"):
            with self.fake.lock:
                self.fake.messages.append(entry)
                self.fake.first_at = self.fake.first_at or time.monotonic()
