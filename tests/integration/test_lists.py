"""What DNS says of a client: lists that score or refuse, dead lists, reverse names, no DNS at all."""

import json

from common import Cast, ZONE
from harness import Client, check, make_message, send_one, wait_until
from scenario import scenario

LISTS = """
list "block" { zone = "block.test" codes = {"127.0.0.2-127.0.0.11"} score = 4.5 effect = "refuse" }
list "grey" { zone = "grey.test" score = 2 }
list "off" { zone = "grey.test" effect = "off" }
list "friends" { zone = "friends.test" score = -3 allow = true }
list "parked" { zone = "parked.test" effect = "refuse" }
list "closed" { zone = "closed.test" effect = "refuse" }
"""
RECORDS = ZONE + """
2.0.0.127.block.test. A 127.0.0.2
2.0.0.127.grey.test. A 127.0.0.2
2.0.0.127.friends.test. A 127.0.0.2
*.parked.test. A 203.0.113.5
*.closed.test. A 127.255.255.254
101.2.0.192.block.test. A 127.0.0.4
102.2.0.192.grey.test. A 127.0.0.3
103.2.0.192.block.test. A 127.0.0.4
103.2.0.192.friends.test. A 127.0.0.3
"""
PLAIN, BLOCKED, GREY, FRIEND = 100, 101, 102, 103


def cast(w):
    for octet in (PLAIN, BLOCKED, GREY, FRIEND):
        w.hosts["client"].add_address(octet, device="br0")
    c = Cast(w, postfix=False, zone=RECORDS, extra=LISTS, start=False)
    c.node.start()
    wait_until(lambda: c.node.log().count("list.dead") == 2, 20, "the dead lists are not found out")
    return c


def rcpt(c, octet):
    client = Client(c.w.client, c.mx2.ip, source=f"192.0.2.{octet}")
    try:
        client.cmd("MAIL FROM:<s@src.test>")
        return client.cmd("RCPT TO:<r@example.test>")
    finally:
        client.close()


def send(c, ident, octet):
    raw = make_message(ident)
    code, text = send_one(c.w, c.mx2.ip, raw, source=f"192.0.2.{octet}")
    check(code == 250, f"{ident} was not taken", code, text)
    return text.split()[-1]


@scenario("dns lists: one refuses, one scores, an allow list excuses; dead ones and error codes do nothing",
          seconds=90)
def lists(w):
    c = cast(w)
    code, text = rcpt(c, BLOCKED)
    check(code == 550 and text.endswith(": block") and "192.0.2.101" in text,
          "a listed client is not refused in words", code, text)
    for octet in (PLAIN, GREY, FRIEND):
        check(rcpt(c, octet)[0] == 250, f"192.0.2.{octet} is refused", rcpt(c, octet))
    show = json.loads(c.node.command("show", send(c, "grey", GREY), "--json").stdout)
    noticed = {x["name"]: (x["score"], x["text"]) for x in show["envelope"]["symbols"]}
    check(noticed.get("grey") == (2, "127.0.0.3") and "off" not in noticed and "block" not in noticed,
          "the envelope does not say what the lists said", noticed)
    check("grey 2 (127.0.0.3)" in show["events"][0]["text"], "the trace does not say it", show["events"])
    c.dns.change(RECORDS.replace("*.parked.test. A 203.0.113.5",
                                 "2.0.0.127.parked.test. A 127.0.0.2"))
    c.node.command("flush")
    wait_until(lambda: "list.back" in c.node.log(), 20, "a list that lives again stays off")


@scenario("dns lists: without dns nobody is refused", seconds=90)
def silent(w):
    c = cast(w)
    c.dns.stop()
    c.node.command("flush")  # nothing is remembered
    check(rcpt(c, BLOCKED)[0] == 250, "refused without DNS", rcpt(c, BLOCKED))


@scenario("reverse names: a domain refuses clients without one, or with one that does not lead back", seconds=60)
def reverse(w):
    for octet in (PLAIN, BLOCKED, GREY):
        w.hosts["client"].add_address(octet, device="br0")
    c = Cast(w, postfix=False, zone=ZONE + """
        100.2.0.192.in-addr.arpa. PTR good.src.test.
        101.2.0.192.in-addr.arpa. PTR liar.src.test.
        good.src.test. A 192.0.2.100
        liar.src.test. A 192.0.2.99""",
             options='checks = {"no-reverse-name=refuse", "reverse-unconfirmed=refuse"}')
    check(rcpt(c, PLAIN)[0] == 250, "a client with a name is refused", rcpt(c, PLAIN))
    for octet, symbol in ((BLOCKED, "reverse-unconfirmed"), (GREY, "no-reverse-name")):
        code, text = rcpt(c, octet)
        check(code == 550 and text.endswith(": " + symbol), f"not refused for {symbol}", code, text)
