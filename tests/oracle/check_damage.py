#!/usr/bin/env python3
"""Damages spools in every way, and asks whether `locum spool` and the reader written from the format agree.

	check_damage.py [--all] [PATH/OF/spool_sample_test]     without --all: every fifth flip, every third cut

For each damage: `verify` and the reader name the same faults (file, offset, kind), `ls` and the reader list the same
messages, no message is missing that was not in the damaged bytes; and for some: `rebuild` makes a spool without
a fault of exactly those messages whose bodies are whole, and `export` writes these bytes."""

import itertools
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import check_reader  # noqa: E402
import spool_reader  # noqa: E402
from check_reader import ROOT, report  # noqa: E402

LOCUM = os.environ.get("LOCUM", str(ROOT / "build/locum"))


def locum(*words, ok=(0, 1)):
    done = subprocess.run([LOCUM, "--json", "spool", *map(str, words)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode not in ok:
        raise RuntimeError(f"status {done.returncode}: {done.stdout[-300:]!r}")
    return done.returncode, json.loads(done.stdout)


def faults_of_reader(spool):
    return sorted((d.file, d.offset, d.kind) for d in spool.damage)


def disagreement(path):
    """What verify, ls and the reader see differently; empty: nothing."""
    try:
        spool = spool_reader.Spool(path)
    except spool_reader.Unreadable:
        status, verified = locum("verify", path)
        kinds = {f["kind"] for f in verified["faults"]}
        return "" if status == 1 and "version" in kinds else f"the reader refuses, verify says {kinds}", None
    status, verified = locum("verify", path)
    mine = faults_of_reader(spool)
    theirs = sorted((f["file"], f["offset"], f["kind"]) for f in verified["faults"]
                    if f["kind"] != "state-alone")
    if mine != theirs:
        return f"reader {mine[:3]}, verify {theirs[:3]}", spool
    wrong = any(not (d.crash or d.note) for d in spool.damage)
    if status != wrong:
        return f"verify ends with {status}, reader found damage: {wrong}", spool
    listed = sorted((m["id"], m["log"], m["bytes"], m["body_crc32c"]) for m in locum("ls", path)[1])
    read = sorted((m.id, m.log, m.bytes, m.record.body_crc) for m in spool.messages.values())
    if listed != read:
        return f"ls and reader list different messages: {set(listed) ^ set(read)}", spool
    return "", spool


def whole_messages(spool):
    found = {}
    for m in spool.messages.values():
        try:
            found[m.id] = (m.log, m.envelope, m.state, m.body())
        except spool_reader.Unreadable:
            pass
    return found


def rebuilt_wrongly(path, spool):
    new, out = path.parent / "rebuilt", path.parent / "exported"
    for folder in (new, out):
        shutil.rmtree(folder, ignore_errors=True)
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    locum("rebuild", path, "--to", new)
    locum("export", "--all", path, "--to", out)
    if before != {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}:
        return "rebuild or export changed the old spool"
    again, want = spool_reader.Spool(new), whole_messages(spool)
    if again.damage or whole_messages(again) != want:
        return f"rebuilt: {len(again.messages)} of {len(want)} messages, {faults_of_reader(again)}"
    got = {p.name[:26]: p.read_bytes() for p in out.glob("*.eml") if ".damaged" not in p.name}
    if got != {ident: m[3] for ident, m in want.items()}:
        return f"exported {len(got)} of {len(want)}"
    return ""


# --- damages: each is (name, function of the spool's path, messages it may cost) ---

def flip(file, at):
    def do(path):
        with open(path / file, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 0x10]))
    return do


def cut(file, size):
    return lambda path: os.truncate(path / file, size)


def fields(record):
    """Offsets in every field of a record: header, payload, body, padding."""
    at = record.at
    offsets = [at + o for o in (0, 8, 16, 31, 32, 40, 48, 52, 56, 60, 61, 62, 64, 68, 71)]
    payload = at + spool_reader.RECORD.size
    if record.payload_bytes:
        offsets += [payload, payload + record.payload_bytes - 1]
    if record.inline:
        offsets += [payload + record.payload_bytes, at + record.used - 1]
    offsets += range(at + record.used, at + record.bytes)
    return offsets


def flips(spool):
    for segment in spool.segments:
        for at in [*range(0, 92, 7), 92, 2000, 4091, 4092, 4095]:
            yield f"{segment.name} first header block, byte {at}", flip(segment.name, at), 0
            yield f"{segment.name} second header block, byte {at}", flip(segment.name, 4096 + at), 0
    for record in spool.records:
        for at in fields(record):
            yield (f"{record.segment.name} byte {at} of a {spool_reader.TYPES[record.type]}",
                   flip(record.segment.name, at), 1)
    for m in spool.messages.values():
        if m.record.big:
            for at in (0, m.bytes // 2, m.bytes - 1):
                yield f"big/{m.id} byte {at}", flip(f"big/{m.id}", at), 0


def cuts(spool):
    for segment in spool.segments:
        inside = [r for r in spool.records if r.segment is segment]
        sizes = {0, 1, 4095, 4096, 8191, 8192, len(segment.data) - 1}
        for r in inside:
            sizes |= {r.at, r.at + 71, r.at + 72, r.at + r.used - 1, r.at + r.used, r.at + r.bytes - 1}
        for size in sorted(s for s in sizes if s <= len(segment.data)):
            lost = sum(r.at + r.bytes > size for r in inside)
            yield f"{segment.name} cut to {size}", cut(segment.name, size), lost


def files(spool):
    first = spool.segments[0]

    def both(path):
        flip(first.name, 40)(path)
        flip(first.name, 4096 + 40)(path)

    def both_and_record(path):
        both(path)
        flip(first.name, 8192)(path)

    def copied(to):
        return lambda path: shutil.copy(path / first.name, path / to)

    def renamed(path):
        (path / first.name).rename(path / "queue/0000000900.seg")

    def version(path):
        block = bytearray(first.data[:4092])
        block[8:12] = struct.pack("<I", 2)
        block += struct.pack("<I", spool_reader.crc32c(bytes(block)))
        with open(path / first.name, "r+b") as f:
            f.write(block + block)

    everything = len(spool.messages)
    in_first = sum(r.segment is first for r in spool.records)
    yield "both header blocks", both, 0
    yield "both header blocks and the first record", both_and_record, in_first
    yield "a copy under another serial", copied("queue/0000000900.seg"), 0
    yield "a copy in the held log", copied("held/20260101-0000000001.seg"), 0
    yield "a copy under a foreign name", copied("queue/copy"), 0
    yield "a segment renamed", renamed, in_first
    yield "a segment of version 2", version, everything
    yield "a lock of version 2", lambda p: (p / "lock").write_text("locum spool 2\n"), everything
    yield "no lock", lambda p: (p / "lock").unlink(), 0
    yield "an empty lock", lambda p: (p / "lock").write_text(""), 0
    yield "a foreign file in big", lambda p: (p / "big/note").write_text("x"), 0
    yield "held missing", lambda p: shutil.rmtree(p / "held"), everything
    yield "big missing", lambda p: shutil.rmtree(p / "big"), 0
    for segment in spool.segments:
        yield (f"{segment.name} deleted", lambda p, n=segment.name: (p / n).unlink(),
               sum(r.segment is segment for r in spool.records))
    held = [s for s in spool.segments if s.log == "held"]
    if held:
        yield ("a held segment copied to another day",
               lambda p: shutil.copy(p / held[0].name, p / f"held/20200101-{held[0].name[-14:]}"), 0)
    for m in spool.messages.values():
        if m.record.big:
            yield f"big/{m.id} deleted", lambda p, n=m.id: (p / "big" / n).unlink(), 0
            yield f"big/{m.id} cut", cut(f"big/{m.id}", m.bytes // 2), 0
            yield (f"big/{m.id} longer", lambda p, n=m.id, b=m.bytes: os.truncate(p / "big" / n, b + 1), 0)


def check(sample, what, make, every, thin):
    """Every so manieth damage is made, every so manieth of those is also rebuilt."""
    started, wrong, count = time.monotonic(), [], 0
    original = spool_reader.Spool(sample)
    work = sample.parent / "work"
    for name, damage, costs in itertools.islice(make(original), 0, None, every):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(sample, work)
        damage(work)
        count += 1
        try:
            text, spool = disagreement(work)
            if not text and spool and len(original.messages.keys() - spool.messages.keys()) > costs:
                text = f"{len(spool.messages)} of {len(original.messages)} messages"
            if not text and spool and count % thin == 0:
                text = rebuilt_wrongly(work, spool)
        except (RuntimeError, OSError, ValueError) as e:
            text = repr(e)
        if text:
            wrong.append(f"{name}: {text}")
    shutil.rmtree(work, ignore_errors=True)
    return report(count > 0 and not wrong, started,
                  f"{what} of {sample.name}: verify, ls, rebuild and reader agree, {count} damages",
                  [f"{len(wrong)} disagree"] * bool(wrong) + wrong[:20])


def main():
    whole = sys.argv[1:2] == ["--all"]
    if whole:
        del sys.argv[1]
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    program = Path(sys.argv[1]).resolve() if len(sys.argv) == 2 else check_reader.find_program()
    results = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        subprocess.run([program], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env={**os.environ, "LOCUM_SPOOL_SAMPLE": root})
        for name in ("held", "torn"):
            sample = Path(root, name)
            (sample / "expected").unlink(missing_ok=True)
            if name == "held":
                results.append(check(sample, "flipped bytes", flips, 1 if whole else 5, 25 if whole else 10))
            results.append(check(sample, "cut segments", cuts, 1 if whole else 3, 5))
            results.append(check(sample, "files", files, 1, 1))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
