"""TLS as real clients see it: openssl s_client chooses names, comes back with tickets, shows certificates."""

import json
import os
import re
import signal
import ssl
import subprocess
from contextlib import suppress

from common import Cast
from harness import Client, check, sh, wait_until
from scenario import scenario


def make_certificate(w, file, names, kind="ec", ca=None, basic=None):
    """Two paths. names: the first is the common name. ca: two paths of who signs; else it signs itself."""
    crt, key, request = (w.path(f"{file}.{end}") for end in ("crt", "key", "csr"))
    new = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    sh("openssl", "req", "-new", "-newkey", *new, "-nodes", "-subj", f"/CN={names[0]}", "-keyout", key, "-out", request)
    extensions = w.path(f"{file}.ext")
    extensions.write_text(basic or "subjectAltName=" + ",".join(f"DNS:{n}" for n in names))
    sign = ["-CA", ca[0], "-CAkey", ca[1], "-CAcreateserial"] if ca else ["-key", key]
    sh("openssl", "x509", "-req", "-in", request, "-days", "30", "-extfile", extensions, "-out", crt, *sign)
    return crt, key


def s_client(ip, *options, port=25, starttls=True):
    """All that openssl s_client says about one session that ends with QUIT."""
    argv = ["openssl", "s_client", "-connect", f"{ip}:{port}", *(["-starttls", "smtp"] if starttls else []), "-crlf",
            "-ign_eof", *map(str, options)]
    done = subprocess.run(argv, input="QUIT\n", capture_output=True, text=True, timeout=20)
    check("221 2.0.0" in done.stdout, "no session over TLS", options, (done.stdout + done.stderr)[-600:])
    return done.stdout


def shown(text):
    return re.search(r"(?m)^subject=CN = (.*)$", text).group(1)


def listener(c, options):
    """The node's listener is what it is given here."""
    text = c.node.config.read_text()
    c.node.config.write_text(re.sub(r'(?m)^listen "mx0".*$', f'listen "mx0" {{ address = "{c.mx2.ip}:25" {options} }}',
                                    text))


def lists(pairs):
    quote = lambda paths: ", ".join(f'"{p}"' for p in paths)
    return (f"tls_certificate = {{{quote(p[0] for p in pairs)}}} "
            f"tls_key = {{{quote(p[1] for p in pairs)}}}")


@scenario("several certificates: the one for the name that a client asks for, RSA or ECDSA", seconds=60)
def names(w):
    c = Cast(w, postfix=False, start=False)
    listener(c, lists([make_certificate(w, "rsa", ["mx2.backup.test"], kind="rsa"),
                       make_certificate(w, "ec", ["MX2.backup.test", "ec.test"]),
                       make_certificate(w, "wild", ["*.wild.test"]),
                       make_certificate(w, "exact", ["exact.wild.test"])]))
    c.node.start()
    only_rsa = ("-sigalgs", "rsa_pss_rsae_sha256:RSA+SHA256")
    only_ec = ("-sigalgs", "ECDSA+SHA256")
    for options, want in (
            (("-noservername", *only_rsa), "mx2.backup.test"), (("-noservername", *only_ec), "MX2.backup.test"),
            (("-servername", "mx2.backup.test", *only_rsa), "mx2.backup.test"),
            (("-servername", "mx2.backup.test", *only_ec), "MX2.backup.test"),
            (("-servername", "EC.test"), "MX2.backup.test"), (("-servername", "a.wild.test"), "*.wild.test"),
            (("-servername", "exact.wild.test"), "exact.wild.test"),
            (("-servername", "a.b.wild.test", *only_rsa), "mx2.backup.test"),
            (("-servername", "unknown.test", *only_rsa), "mx2.backup.test")):
        for version in ("-tls1_2", "-tls1_3"):
            got = shown(s_client(c.mx2.ip, version, *options))
            check(got == want, f"{version} {options}: another certificate", got)


@scenario("a ticket resumes at every smtpin, after their deaths and after a reload", seconds=90)
def tickets(w):
    c = Cast(w, postfix=False, extra="processes { smtpin = 2 }", start=False)
    listener(c, lists([make_certificate(w, "one", ["mx2.backup.test"])]))
    c.node.start()

    def resumes(when, version):
        for _ in range(6):
            text = s_client(c.mx2.ip, version, "-sess_in", w.path(f"session{version}"))
            check("Reused, " in text, f"{when}, {version}: a full handshake", text[-600:])
    versions = ("-tls1_2", "-tls1_3")
    for version in versions:
        text = s_client(c.mx2.ip, version, "-sess_out", w.path(f"session{version}"))
        check("New, " in text, "not new", text[-300:])
        resumes("at either process", version)
    before = set(c.node.pids("smtpin"))
    for _ in range(2):
        died = c.node.kill9("smtpin")
        wait_until(lambda: len(c.node.pids("smtpin")) == 2, 10, "smtpin is not started again", died)
        if before.isdisjoint(c.node.pids("smtpin")):
            break
    for pid in before & set(c.node.pids("smtpin")):
        with suppress(ProcessLookupError):  # it may be the one that dies just now
            os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: c.node.log().count('child.ready process="locum: smtpin') >= 4, 10, "smtpin is not started again")
    for version in versions:
        resumes("after all smtpin died", version)
    listener(c, lists([make_certificate(w, "two", ["mx2.backup.test"])]))
    c.node.command("reload")
    for version in versions:
        resumes("after a reload", version)


@scenario("a reload brings new certificates to new sessions; running ones go on", seconds=60)
def reload(w):
    c = Cast(w, postfix=False, start=False)
    listener(c, lists([make_certificate(w, "old", ["old.test"])]))
    c.node.start()
    s = Client(w.client, c.mx2.ip)
    check(s.cmd("STARTTLS")[0] == 220, "STARTTLS refused")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    tls = context.wrap_socket(s.sock)
    tls.settimeout(10)

    def say(line):
        tls.sendall(line + b"\r\n")
        return tls.recv(2000)
    check(say(b"EHLO client.test").startswith(b"250"), "no EHLO over TLS")
    check(say(b"MAIL FROM:<s@src.test>").startswith(b"250"), "MAIL refused")
    listener(c, lists([make_certificate(w, "new", ["new.test"])]))
    c.node.command("reload")
    check(shown(s_client(c.mx2.ip)) == "new.test", "a new session sees the old certificate")
    check(say(b"RCPT TO:<r@example.test>").startswith(b"250"), "the running session suffers")
    check(say(b"DATA").startswith(b"354"), "the running session suffers")
    check(say(b"Subject: x\r\n\r\nx\r\n.").startswith(b"250"), "the running session suffers")
    check(say(b"QUIT").startswith(b"221"), "the running session suffers")


@scenario("clients are asked for a certificate where a CA for them is named, and need none", seconds=60)
def client_certificates(w):
    ca = make_certificate(w, "ca", ["Client CA"], basic="basicConstraints=critical,CA:TRUE")
    other_ca = make_certificate(w, "other", ["Client CA"], basic="basicConstraints=critical,CA:TRUE")
    good = make_certificate(w, "good", ["relay.test"], ca=ca)
    bad = make_certificate(w, "bad", ["relay.test"], ca=other_ca)
    c = Cast(w, postfix=False, start=False)
    listener(c, lists([make_certificate(w, "mx", ["mx2.backup.test"])]) + f' tls_client_ca = "{ca[0]}"')
    c.node.start()
    for version in ("-tls1_2", "-tls1_3"):
        check("Acceptable client certificate CA names\nCN = Client CA" in s_client(c.mx2.ip, version), "not asked")
        for crt, key in (good, bad):
            s_client(c.mx2.ip, version, "-cert", crt, "-key", key)


@scenario("locum doctor says what DNS should say, and what is wrong, without the key", seconds=60)
def doctor(w):
    ca = make_certificate(w, "ca", ["A CA"], basic="basicConstraints=critical,CA:TRUE")
    good = make_certificate(w, "good", ["mx2.backup.test"], ca=ca)
    c = Cast(w, postfix=False, start=False)

    def say(pair):
        listener(c, f'tls_certificate = "{pair[0]}" tls_key = "{w.path("not there")}"')
        return c.node.command("doctor", "--json", check_status=False)
    chain = w.path("chain.crt")
    chain.write_text(good[0].read_text() + ca[0].read_text())
    der = subprocess.run(f"openssl x509 -in {good[0]} -pubkey -noout | openssl pkey -pubin -outform der | sha256sum",
                         shell=True, capture_output=True, text=True).stdout.split()[0]
    done = say((chain, None))
    check(done.returncode == 0, "finds something wrong", done.stdout, done.stderr)
    found = json.loads(done.stdout)
    check(found["listen"][0]["certificates"][0]["tlsa"] == [f"_25._tcp.mx2.backup.test. IN TLSA 3 1 1 {der}"],
          "another TLSA record", found)
    check("\nmx: mx2.backup.test\n" in found["mta_sts"]["policy"], "no mx: line", found)
    for pair, word in ((make_certificate(w, "itself", ["mx2.backup.test"]), "signed by itself"),
                       (make_certificate(w, "other", ["other.test"], ca=ca), "is in no certificate")):
        done = say(pair)
        check(done.returncode == 1 and word in json.loads(done.stdout)["problems"][0], f"does not see: {word}",
              done.stdout)
    chain.write_text(good[0].read_text() + make_certificate(w, "odd", ["odd.test"])[0].read_text())
    done = say((chain, None))
    check(done.returncode == 1 and "did not sign" in done.stdout, "does not see a chain out of order", done.stdout)
