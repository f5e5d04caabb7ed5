"""A primary that records every octet, and servers that read them by laxer rules than ours: what is one message to
RFC 5321 must be one to each of them, or somebody else's words become a message of their own (SMTP smuggling)."""

import re
import threading

# (name, what ends a command line, what ends the data). The line end before the dot may be that of DATA itself.
READERS = [(name, re.compile(line, re.S), re.compile(end, re.S)) for name, line, end in (
    ("CRLF.CRLF", rb"\r\n", rb"\r\n\.\r\n"),
    ("LF.LF", rb"\r?\n", rb"\n\.\n|\r\n\.\r\n"),
    ("LF.CRLF", rb"\r?\n", rb"\n\.\r\n"),
    ("CRLF.LF", rb"\r?\n", rb"\r\n\.\n|\r\n\.\r\n"),
    ("LF or CRLF", rb"\r?\n", rb"\n\.\r?\n"),
    ("CR.CR", rb"\r\n|\r", rb"\r\.\r|\r\n\.\r\n"),
    ("CRLF.CR", rb"\r\n|\r", rb"\r\n\.\r\n?"),
    ("CR.CRLF", rb"\r\n|\r", rb"\r\.\r\n|\r\n\.\r\n"),
    ("CR, LF or CRLF", rb"\r\n|\r|\n", rb"[\r\n]\.(\r\n|\r|\n)"),
    ("LF.CR", rb"\r\n|\n\r|\n", rb"\n\.\r\n?"),
    ("CR CR LF as CR LF", rb"\r+\n", rb"\r+\n\.\r+\n"),
    ("NUL is nothing", rb"\r\n|\r|\n", rb"[\r\n]\0*\.\0*(\r\n|\r|\n)"),
    ("controls are nothing", rb"\r\n|\r|\n",
     rb"[\r\n][\0-\x08\x0b\x0c\x0e-\x1f\x7f]*\.[\0-\x08\x0b\x0c\x0e-\x1f\x7f]*(\r\n|\r|\n)"),
    ("white space behind the dot is nothing", rb"\r\n|\r|\n", rb"[\r\n]\.[ \t\v\f]*(\r\n|\r|\n)"),
)]


def read(octets, line_end, data_end):
    """What a server with these rules makes of a client's octets: (commands, how many messages)."""
    commands, messages, at = [], 0, 0
    while m := line_end.search(octets, at):
        line, at = octets[at:m.start()], m.end()
        commands.append(line)
        verb = line[:4].upper()
        if verb == b"DATA":
            e = data_end.search(octets, m.start())
            if not e:
                break
            messages, at = messages + 1, e.end()
        elif verb == b"BDAT":
            words = line.split()
            at += int(words[1])
            messages += len(words) > 2
    return commands, messages


def misread(sessions):
    """[(reader, commands as it sees them)] of those who see another number of messages, or other commands, than RFC 5321
    does, in any of these sessions (octets)."""
    wrong = []
    for octets in sessions:
        right = read(octets, *READERS[0][1:])
        for name, line_end, data_end in READERS[1:]:
            seen = read(octets, line_end, data_end)
            if seen != right:
                wrong.append((name, seen[1], [c for c in seen[0] if c not in right[0]][:3]))
    return wrong


class Recorder:
    """A primary that reads by the RFC, takes everything, and keeps each client's octets as they came."""

    def __init__(self, host, extensions, ip=None):
        self.host, self.extensions = host, extensions
        self.sessions = []   # octets of each session, in order
        self.messages = []   # (verb it came by, octets of the message)
        self.lock = threading.Lock()
        self.listener = host.listen(25, ip)
        host.world.closing.append(self.listener.close)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        octets, at, chunks = bytearray(), 0, b""
        with self.lock:
            self.sessions.append(octets)

        def more():
            got = sock.recv(65536)
            octets.extend(got)
            return got

        def say(text):
            sock.sendall(text.encode() + b"\r\n")

        def taken(verb, message):
            with self.lock:
                self.messages.append((verb, bytes(message)))
            say("250 2.0.0 Ok: taken")
        say("220 recorder ESMTP")
        try:
            while True:
                while (end := octets.find(b"\r\n", at)) < 0:
                    if not more():
                        return
                line, start, at = bytes(octets[at:end]).upper(), end, end + 2
                verb = line[:4]
                if verb == b"EHLO":
                    say("\r\n".join(f"250-{x}" for x in ("recorder", *self.extensions)) + "\r\n250 ENHANCEDSTATUSCODES")
                elif verb == b"DATA":
                    say("354 Go on")
                    while (end := octets.find(b"\r\n.\r\n", start)) < 0:
                        if not more():
                            return
                    taken("DATA", re.sub(rb"\r\n\.", b"\r\n", octets[start:end + 2])[2:])
                    at = end + 5
                elif verb == b"BDAT":
                    words = line.split()
                    while len(octets) < at + int(words[1]):
                        if not more():
                            return
                    chunks += octets[at:at + int(words[1])]
                    at += int(words[1])
                    if len(words) > 2:
                        taken("BDAT", chunks)
                        chunks = b""
                    else:
                        say("250 2.0.0 Ok: chunk")
                elif verb == b"QUIT":
                    say("221 2.0.0 Bye")
                    return
                else:
                    say("250 2.0.0 Ok")
        except OSError:
            pass
        finally:
            sock.close()
