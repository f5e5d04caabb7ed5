#!/usr/bin/env python3
"""Does the reader written from docs/spool-format.md see what the program sees?

	check_reader.py PATH/OF/spool_sample_test

The test program leaves spools of every kind and what replay made of them; the reader reads the same bytes, bodies
included. Then it must notice a changed byte at every position of a small segment."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import spool_reader  # noqa: E402


def listing(spool):
    lines = []
    for m in spool.messages.values():
        lines.append(f"{m.id} {m.log} {m.bytes} {spool_reader.crc32c(m.body())} "
                     f"{m.envelope.hex() or '-'} {m.state.hex() or '-'}")
    crash = sum(d.crash for d in spool.damage)
    lines.sort()
    lines.append(f"damage {len(spool.damage) - crash} crash {crash}")
    return lines


def check_samples(root):
    failed = 0
    samples = sorted(path for path in root.iterdir() if path.is_dir())
    for sample in samples:
        expected = (sample / "expected").read_text().splitlines()
        expected = sorted(expected[:-1]) + expected[-1:]
        got = listing(spool_reader.Spool(sample))
        if got == expected:
            print(f"ok      {sample.name}: {len(got) - 1} messages, {got[-1]}")
            continue
        failed += 1
        print(f"FAILED  {sample.name}")
        for line in sorted(set(expected) ^ set(got)):
            print(f"        {'program' if line in expected else 'reader '} {line[:150]}")
    if not samples:
        print("FAILED  no samples")
        return 1
    return failed


def check_changed_bytes(sample):
    """A changed byte in the first segment is told, wherever it is, and costs at most one message."""
    segment = min((sample / "queue").iterdir())
    whole = segment.read_bytes()
    before = len(spool_reader.Spool(sample).messages)
    positions = [*range(0, 100, 7), 4095, 4096, 8191, *range(8192, len(whole), 397)]
    try:
        for at in positions:
            segment.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
            spool = spool_reader.Spool(sample)
            if not spool.damage or abs(len(spool.messages) - before) > 1:
                print(f"FAILED  byte {at} changed: {len(spool.damage)} reports, "
                      f"{len(spool.messages)} of {before} messages")
                return 1
    finally:
        segment.write_bytes(whole)
    print(f"ok      a changed byte at {len(positions)} positions")
    return 0


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as root:
        subprocess.run([sys.argv[1]], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, env={**os.environ, "LOCUM_SPOOL_SAMPLE": root})
        failed = check_samples(Path(root))
        failed += check_changed_bytes(Path(root, "plain"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
