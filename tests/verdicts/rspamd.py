"""Rspamd as the filter of the primary: Debian's own configuration with a folder of ours beside it, and its results."""

import re
import socket

from harness import check, wait_until

# One Received header more than directly is what Locum must add (RFC 5321 section 4.4). These count those headers, look up what
# stands in them, or compare the topmost "for" with the recipient; none of them judges the client.
ABOUT_RECEIVED = re.compile(r"RCVD_|ONCE_RECEIVED|DIRECT_TO_MX|RECEIVED_|PREVIOUSLY_DELIVERED")
SUFFIXES = ("test", "com", "net", "org", "edu", "gov", "info", "biz", "uk", "co.uk", "ie", "de", "fr", "au", "com.au", "ca", "jp",
            "co.jp", "cn", "com.cn", "kr", "co.kr", "ru", "nl", "it", "es", "se", "br", "com.br", "tw", "com.tw", "hk", "us", "tv")


class Rspamd:
    def __init__(self, host, nameserver, external_relay):
        self.host, self.dir = host, host.world.path("rspamd")
        self.process = None
        for sub in ("local.d", "override.d", "db", "run", "log"):
            (self.dir / sub).mkdir(parents=True)
        files = {
            "options.inc": f'dns {{ nameserver = ["{nameserver}:53:10"]; timeout = 5s; retransmits = 5; }}\n'
                           # One Received header more is one more address that lists are asked about; the usual bound of 64
                           # questions a message leaves out whichever come last.
                           'dns_max_requests = 256;\n'
                           # Compiled regular expressions, and a suffix list of ten thousand, take a minute to make. The list
                           # says what DMARC's organizational domain is: the names here have one label below these.
                           f'disable_hyperscan = true;\nurl_tld = "{self.dir}/suffixes";\n',
            "worker-normal.inc": "enabled = false;\n",
            "worker-controller.inc": "enabled = false;\n",
            "worker-fuzzy.inc": "enabled = false;\n",
            "worker-proxy.inc": 'bind_socket = "127.0.0.1:11332";\nmilter = yes;\ntimeout = 60s;\ncount = 2;\n'
                                'upstream "local" { default = yes; self_scan = yes; }\n',
            "logging.inc": f'type = "file"; filename = "{self.dir}/log/rspamd.log"; level = "info";\n',
            # Every message is to arrive with its result in a header; whether the actions are taken is Postfix's part.
            "actions.conf": "reject = 9000; add_header = 8000; greylist = 7000;\n",
            "milter_headers.conf": 'use = ["x-spamd-result"]; skip_local = false; skip_authenticated = false;\n',
            "redis.conf": "",
            "external_relay.conf": external_relay,
            **{f"{m}.conf": "enabled = false;\n" for m in
               ("fuzzy_check", "phishing", "asn", "greylist", "ratelimit", "bayes_expiry", "history_redis")},
        }
        (self.dir / "suffixes").write_text("\n".join(SUFFIXES) + "\n")
        # The corpora were delivered before, to somebody else: the topmost "for" directly is that one's, and weights follow from
        # it. Mail that comes for the first time has none.
        (self.dir / "local.d/rspamd.lua").write_text('rspamd_config:add_condition("FORWARDED", function() return false end)\n')
        for name, text in files.items():
            (self.dir / "local.d" / name).write_text(text)

    def start(self):
        variables = [f"--var={n}={v}" for n, v in (
            ("LOCAL_CONFDIR", self.dir), ("DBDIR", self.dir / "db"), ("RUNDIR", self.dir / "run"), ("LOGDIR", self.dir / "log"))]
        self.process = self.host.process(["rspamd", "-f", "-i", "-c", "/etc/rspamd/rspamd.conf", *variables], "rspamd.log")

        def listens():
            check(self.process.alive(), "Rspamd ended", self.log()[-900:], self.process.log_path.read_text()[-900:])
            try:
                self.host.connect("127.0.0.1", 11332, 2).close()
                return True
            except OSError:
                return False
        wait_until(listens, 60, "Rspamd does not listen", every=0.2)
        check("schema error" not in self.log(), "Rspamd does not understand the snippet", self.log())

    def log(self):
        path = self.dir / "log/rspamd.log"
        return path.read_text(errors="replace") if path.exists() else ""


def read_result(raw):
    """{symbol: (score, options)} of a message's X-Spamd-Result."""
    head = raw.split(b"\r\n\r\n", 1)[0].decode("latin-1")
    found = re.search(r"(?im)^x-spamd-result: default: (.*(?:\r*\n[ \t].*)*)", head)
    check(found, "no result of Rspamd", head[:600])
    text = re.sub(r"\r*\n[ \t]+", " ", found.group(1)).strip()
    result = {}
    for part in re.split(r"; *(?=[A-Z0-9_]+\([-0-9.]+\)\[)", text)[1:]:
        name, score, options = re.fullmatch(r"([A-Z0-9_]+)\(([-0-9.]+)\)\[(.*)\];?", part).groups()
        # ":c" says that the record came from Rspamd's own memory.
        result[name] = (score, tuple(sorted(re.sub(r"^(.*):c$", r"\1", o.strip()) for o in options.split(","))))
    return result


def judged(result):
    """What is compared of a result."""
    same = {s: v for s, v in result.items() if not ABOUT_RECEIVED.match(s)}
    # Rspamd's name for RBL_SPAMHAUS_XBL when an address in a Received header is listed too: of the same weight, and ours has
    # the client's.
    if "RBL_SPAMHAUS_XBL_ANY" in result:
        same["RBL_SPAMHAUS_XBL"] = same.pop("RBL_SPAMHAUS_XBL_ANY")
    for s in ("RBL_SPAMHAUS_XBL", "DATE_IN_PAST"):  # the latter's option is the hours until now
        if s in same:
            same[s] = (same[s][0], ())
    return same


def difference(a, b):
    """{symbol: (directly, otherwise)} of those that are not the same."""
    a, b = judged(a), judged(b)
    return {s: (a.get(s), b.get(s)) for s in sorted(set(a) | set(b)) if a.get(s) != b.get(s)}


def uncompared(a, b):
    left_out = [s for s in set(a) | set(b) if a.get(s) != b.get(s) and ABOUT_RECEIVED.match(s)]
    return left_out + [s for s in ("RBL_SPAMHAUS_XBL_ANY",) if (s in a) != (s in b)]
