#!/usr/bin/env python3
"""Plays dialogues against a real locumd and compares what it says.

usage: tests/golden/run.py [--build DIR] [--verbose] [FILE.smtp ...]

A FILE.smtp holds cases. A case starts with `== NAME`; its name is the requirement. Lines:

  C: TEXT        the client sends TEXT and CRLF
  C> TEXT        it sends TEXT as it is
  S: REGEX       the server's next reply (all its lines) starts like this
  S+ REGEX       some line of that reply contains this
  S- REGEX       no line of it does
  replies N REGEX   so many replies that all start like this
  each REGEX => TEXT | TEXT ...   the client sends each TEXT and CRLF in turn, and each gets a reply that starts like this
  closed         the server closes the connection
  silent SECONDS the server says nothing for so long
  repeat N TEXT  the client sends TEXT N times, as it is
  wait SECONDS
  cut            the client closes its connection
  starttls [NAME]   the client makes its TLS handshake (also with a listener of implicit TLS), asking for that server
  resume [NAME]  the same with the ticket of the last handshake of this case
  connect NAME [ADDRESS]   to the listener of that name instead of "mx", from that address of 127/8
  bytes HEX      the client sends these bytes
  again [NAME]   a new connection, beside the present one, which is forgotten but stays open
  early TEXT     a new connection on which TEXT is there before the server looks
  log REGEX      locumd logs this, soon
  reload NAME = VALUE   the limits block gets another value, and locumd SIGHUP (after `restart`)
  restart        a locumd of its own for what follows in this case; `terminate` sends it SIGTERM

TEXT knows \\0 \\r \\n \\t \\\\ and \\xHH. A file may start with lines `config NAME = VALUE` for the limits (rates_NAME: for the rates)
block of its locumd, or `config greet_delay = VALUE`. `#` starts a comment line.
"""
import argparse
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
REPLY_SECONDS = 10
LIMITS = {"message_size": '"256K"', "recipients": "5", "hops": "10", "sessions_per_client": "20"}

TOP = ("greet_delay",)


class Failed(Exception):
    pass


def unescape(text):
    """\\xHH and friends → bytes."""
    names = {"0": b"\0", "r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}

    def one(match):
        word = match.group(1)
        return bytes([int(word[1:], 16)]) if word[0] == "x" else names[word]

    parts = re.split(r"(\\(?:x[0-9a-fA-F]{2}|[0rnt\\]))", text)
    return b"".join(one(re.match(r"\\(.*)", p)) if i % 2 else p.encode() for i, p in enumerate(parts))


class Locumd:
    """A locumd with a state directory and ports of its own."""

    def __init__(self, build, limits, work):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="golden-", dir=work))
        self.ports = {name: self.free_port() for name in ("mx", "plain", "implicit", "proxy", "proxy-implicit")}
        self.lines = []
        self.write_config(limits)
        self.process = subprocess.Popen(
            [str(build / "locumd"), "--config", str(self.dir / "locum.conf")],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env={**os.environ, "LOCUM_LOG": "debug"})
        self.reader = threading.Thread(target=self.read_log, daemon=True)
        self.reader.start()
        self.wait_until_serving()

    @staticmethod
    def free_port():
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    def write_config(self, limits):
        cert, key = self.dir / "cert.pem", self.dir / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-subj", "/CN=mx2.example.net", "-days", "30", "-keyout", key,
                        "-out", cert], check=True, capture_output=True)
        (self.dir / "users").write_text("user@listed.example\n")
        (self.dir / "state").mkdir(exist_ok=True)
        self.dir.chmod(0o755)
        rates = {"unknown_recipients": 0, "errors": 0}
        rates.update({k[6:]: v for k, v in limits.items() if k.startswith("rates_")})
        rates = "  ".join(f"{k} = {v}" for k, v in rates.items())
        top = "".join(f"{k} = {v}\n" for k, v in limits.items() if k in TOP)
        rows = "\n".join(f"    {k} = {v}" for k, v in limits.items() if not k.startswith("rates_") and k not in TOP)
        (self.dir / "locum.conf").write_text(f'''
hostname  = "mx2.example.net"
aliases   = {{"mx2-old.example.net"}}
state_dir = "{self.dir}/state"
user      = "{os.environ.get("GOLDEN_USER", "nobody")}"
processes {{ smtpin = 1 }}
{top}rates {{ {rates} }}
listen "mx" {{
    address = "127.0.0.1:{self.ports['mx']}"
    tls_certificate = "{cert}"
    tls_key = "{key}"
}}
listen "plain" {{ address = "127.0.0.1:{self.ports['plain']}" }}
listen "implicit" {{
    address = "127.0.0.1:{self.ports['implicit']}"
    tls = "implicit"
    tls_certificate = "{cert}"
    tls_key = "{key}"
}}
listen "proxy" {{
    address = "127.0.0.1:{self.ports['proxy']}"
    proxy_protocol = true
    proxy_from = {{"127.0.0.3/32"}}
}}
listen "proxy-implicit" {{
    address = "127.0.0.1:{self.ports['proxy-implicit']}"
    proxy_protocol = true
    proxy_from = {{"127.0.0.3/32"}}
    tls = "implicit"
    tls_certificate = "{cert}"
    tls_key = "{key}"
}}
trusted = {{"127.0.0.2/32", "192.0.2.22/32"}}
dns {{ servers = {{"127.0.0.1:1"}} }}
spool {{ reserve = "1M" }}
limits {{
{rows}
}}
domain "ours.example" {{
    primary = {{"127.0.0.1:1"}}
    acceptance = "queue"
}}
domain "listed.example" {{
    primary = {{"127.0.0.1:1"}}
    acceptance = "queue"
    recipients = "file:{self.dir}/users"
}}
domain "strict.example" {{
    primary = {{"127.0.0.1:1"}}
    acceptance = "queue"
    checks = {{"helo-literal=refuse", "helo-bare-word=off", "pipelining=refuse", "unknown-commands=refuse"}}
}}
domain "xn--bcher-kva.example" {{
    primary = {{"127.0.0.1:1"}}
    acceptance = "queue"
}}
domain "any.example" {{
    primary = {{"127.0.0.1:1"}}
    acceptance = "queue"
    recipients = "any"
}}
''')

    def reload(self, limits):
        self.write_config(limits)
        self.process.send_signal(signal.SIGHUP)

    def read_log(self):
        for line in self.process.stdout or []:
            self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))

    def wait_until_serving(self):
        for _ in range(200):
            if self.process.poll() is not None:
                break
            try:
                with Connection(self.ports["mx"]) as c:
                    if c.reply()[0].startswith("220"):
                        return
            except (OSError, Failed):
                pass
            time.sleep(0.05)
        raise SystemExit("locumd does not serve:\n" + "\n".join(self.lines[-20:]))

    def children(self):
        pid = self.process.pid
        return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def smtpin(self):
        return [p for p in self.children()
                if pathlib.Path(f"/proc/{p}/comm").read_text().strip() == "smtpin"]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(45)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
        return self.process.returncode


class Connection:
    def __init__(self, port, first=b"", source=""):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=REPLY_SECONDS,
                                               source_address=(source, 0) if source else None)
        self.input = b""
        if first:
            self.socket.sendall(first)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # what the server said before it closed is still to be read

    def more(self, seconds=REPLY_SECONDS):
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(65536)
        except (TimeoutError, socket.timeout, ssl.SSLWantReadError):
            return None
        except (ConnectionResetError, ssl.SSLEOFError):
            data = b""
        self.input += data
        return len(data) > 0

    def line(self):
        while b"\n" not in self.input:
            got = self.more()
            if got is None:
                raise Failed(f"no reply within {REPLY_SECONDS} s (so far {self.input!r})")
            if not got:
                raise Failed(f"connection closed (so far {self.input!r})")
        line, self.input = self.input.split(b"\n", 1)
        if not line.endswith(b"\r"):
            raise Failed(f"a reply line without CR: {line!r}")
        return line[:-1].decode("ascii", "backslashreplace")

    def reply(self):
        lines = [self.line()]
        while re.match(r"\d{3}-", lines[-1]):
            lines.append(self.line())
        return lines

    def start_tls(self, context, name, session=None):
        if self.input:
            raise Failed(f"input before the handshake: {self.input!r}")
        self.socket.settimeout(REPLY_SECONDS)
        self.socket = context.wrap_socket(self.socket, server_hostname=name or None, session=session)


class Player:
    """Plays one case."""

    def __init__(self, runner, locumd):
        self.runner, self.locumd, self.own = runner, locumd, None
        self.log_from = len(locumd.lines)
        self.opened, self.connection, self.last = [], None, []
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.tls.check_hostname = False
        self.tls.verify_mode = ssl.CERT_NONE
        self.secure = None  # the connection with the last handshake

    def now(self):
        return self.own or self.locumd

    def open(self, words="mx", first=b""):
        name, _, source = words.partition(" ")
        self.connection = Connection(self.now().ports[name or "mx"], first, source)
        self.opened.append(self.connection)

    def current(self):
        if not self.connection:
            self.open()
        return self.connection

    def start_tls(self, name, resume=False):
        # Its ticket came with what was read since.
        ticket = self.secure.socket.session if resume else None
        self.current().start_tls(self.tls, name, ticket)
        self.secure = self.current()
        if resume and not self.secure.socket.session_reused:
            raise Failed("a full handshake")

    def expect_reply(self, pattern):
        self.last = self.current().reply()
        if not re.match(pattern, self.last[0]):
            raise Failed(f"expected {pattern!r}, got {self.last!r}")

    def expect_replies(self, rest):
        count, pattern = rest.split(" ", 1)
        for _ in range(int(count)):
            self.expect_reply(pattern)

    def each(self, rest):
        pattern, texts = rest.split(" => ", 1)
        for text in texts.split(" | "):
            self.current().send(unescape(text) + b"\r\n")
            try:
                self.expect_reply(pattern)
            except Failed as e:
                raise Failed(f"{text}: {e}") from e

    def expect_line(self, pattern, wanted):
        if any(re.search(pattern, line) for line in self.last) != wanted:
            raise Failed(f"{'no' if wanted else 'a'} line has {pattern!r} in {self.last!r}")

    def expect_closed(self, _):
        while True:
            got = self.current().more()
            if got is None:
                raise Failed("the connection stays open")
            if not got:
                break
        if self.current().input:
            raise Failed(f"more before the close: {self.current().input!r}")

    def expect_silence(self, seconds):
        if self.current().input or self.current().more(float(seconds)) is not None:
            raise Failed(f"not silent: {self.current().input!r}")

    def repeat(self, rest):
        count, text = rest.split(" ", 1)
        data, left = unescape(text), int(count)
        batch = max(1, 60000 // len(data))
        while left > 0:
            self.current().send(data * min(batch, left))
            left -= batch

    def early(self, text):
        """The process is stopped while the connection and its bytes arrive, so there is no race."""
        pids = self.now().smtpin()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            self.open("mx", unescape(text))
            time.sleep(0.1)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def expect_log(self, pattern):
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if any(re.search(pattern, line) for line in self.now().lines[self.log_from:]):
                return
            time.sleep(0.02)
        raise Failed(f"not logged: {pattern!r} in {self.now().lines[self.log_from:]!r}")

    def restart(self, _):
        self.own, self.log_from = self.runner.start(self.runner.limits), 0

    def reload(self, rest):
        name, value = (part.strip() for part in rest.split("=", 1))
        self.own.reload({**self.runner.limits, name: value})
        self.expect_log("reload.done")
        time.sleep(0.2)

    def terminate(self, _):
        self.now().process.terminate()

    def play(self, lines):
        actions = {
            "C:": lambda t: self.current().send(unescape(t) + b"\r\n"),
            "C>": lambda t: self.current().send(unescape(t)),
            "bytes": lambda t: self.current().send(bytes.fromhex(t)),
            "S:": self.expect_reply,
            "S+": lambda p: self.expect_line(p, True),
            "S-": lambda p: self.expect_line(p, False),
            "replies": self.expect_replies,
            "each": self.each,
            "closed": self.expect_closed,
            "silent": self.expect_silence,
            "repeat": self.repeat,
            "wait": lambda s: time.sleep(float(s)),
            "cut": lambda _: self.current().socket.close(),
            "starttls": self.start_tls,
            "resume": lambda name: self.start_tls(name, resume=True),
            "connect": self.open,
            "again": self.open,
            "early": self.early,
            "log": self.expect_log,
            "restart": self.restart,
            "reload": self.reload,
            "terminate": self.terminate,
        }
        for number, line in lines:
            word, _, rest = line.partition(" ")
            if word not in actions:
                raise Failed(f"line {number}: unknown directive {word!r}")
            try:
                actions[word](rest)
            except (Failed, OSError) as e:
                raise Failed(f"line {number}: {e}") from e

    def done(self):
        for c in self.opened:
            c.socket.close()
        if self.own and self.own.stop() != 0:
            raise Failed(f"locumd exited with {self.own.process.returncode}")


def parse(path):
    """→ (limits of the file, [(name, [(line number, line)])])"""
    limits, cases = dict(LIMITS), []
    for number, line in enumerate(path.read_text().split("\n"), 1):
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("config "):
            name, value = line[7:].split("=", 1)
            limits[name.strip()] = value.strip()
        elif line.startswith("== "):
            cases.append((line[3:].strip(), []))
        elif not cases:
            raise SystemExit(f"{path}:{number}: before the first case")
        else:
            cases[-1][1].append((number, line))
    return limits, cases


class Runner:
    def __init__(self, build, verbose, work):
        self.build, self.verbose, self.work = build, verbose, work
        self.passed = self.failed = 0
        self.limits = LIMITS

    def start(self, limits):
        return Locumd(self.build, limits, self.work)

    def play_case(self, locumd, path, name, lines):
        player, error = Player(self, locumd), None
        try:
            player.play(lines)
        except Failed as e:
            error = e
        try:
            player.done()
        except Failed as e:
            error = error or e
        if error is None and locumd.process.poll() is not None:
            error = Failed("locumd is gone")
        self.passed += error is None
        self.failed += error is not None
        print(f"{'ok  ' if error is None else 'FAIL'} {path.stem}: {name}", flush=True)
        if error is not None:
            print(f"     {error}", flush=True)
            if self.verbose:
                print("\n".join("     | " + line for line in locumd.lines[player.log_from:][-15:]))

    def play_files(self, paths):
        """Files with the same limits share a locumd."""
        locumd, current = None, None
        files = sorted(((parse(p), p) for p in paths), key=lambda f: (sorted(f[0][0].items()), f[1]))
        for (limits, cases), path in files:
            if limits != current:
                if locumd:
                    self.check_end(locumd)
                self.limits = current = limits
                locumd = self.start(limits)
            for name, lines in cases:
                self.play_case(locumd, path, name, lines)
        if locumd:
            self.check_end(locumd)

    def check_end(self, locumd):
        """Whatever was said to it: no crash of a child, and an orderly end."""
        died = [line for line in locumd.lines if re.search(r"child\.(failed|killed|nonsense|stuck)|AddressSanitizer|"
                                                           r"runtime error", line)]
        code = locumd.stop()
        good = code == 0 and not died
        self.passed += good
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} locumd ends in order")
        if not good:
            print(f"     exit status {code}; {died[:5]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent.parent / "build")
    parser.add_argument("--verbose", action="store_true", help="show the log of failed cases")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    paths = options.files or sorted(HERE.glob("*.smtp"))
    with tempfile.TemporaryDirectory(prefix="locum-golden-") as work:
        os.chmod(work, 0o755)
        runner = Runner(options.build.resolve(), options.verbose, work)
        runner.play_files(paths)
    print(f"{runner.passed} passed, {runner.failed} failed")
    return 1 if runner.failed else 0


if __name__ == "__main__":
    sys.exit(main())
