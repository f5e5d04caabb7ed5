#!/usr/bin/env python3
"""Does the reader written from docs/spool-format.md see what the program sees?

	check_reader.py [PATH/OF/spool_sample_test]

The test program leaves spools of every kind and what replay made of them; the reader reads the same bytes, bodies
included. Then it must notice a changed byte at every position of a small segment."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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


def report(good, started, name, lines=()):
    print(f"{'PASS' if good else 'FAIL'} {time.monotonic() - started:6.1f} spool format: {name}")
    for line in lines:
        print(f"    {line}")
    return good


def check_sample(sample):
    started = time.monotonic()
    expected = (sample / "expected").read_text().splitlines()
    expected = sorted(expected[:-1]) + expected[-1:]
    got = listing(spool_reader.Spool(sample))
    differences = [f"{'program' if line in expected else 'reader '} {line[:150]}"
                   for line in sorted(set(expected) ^ set(got))]
    return report(got == expected, started,
                  f"{sample.name}, {len(got) - 1} messages, {got[-1]}", differences)


def check_changed_bytes(sample):
    """A changed byte in the first segment is told, wherever it is, and costs at most one message."""
    started = time.monotonic()
    segment = min((sample / "queue").iterdir())
    whole = segment.read_bytes()
    before = len(spool_reader.Spool(sample).messages)
    wrong = []
    for at in [*range(0, 100, 7), 4095, 4096, 8191, *range(8192, len(whole), 397)]:
        segment.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        spool = spool_reader.Spool(sample)
        if not spool.damage or abs(len(spool.messages) - before) > 1:
            wrong.append(f"byte {at}: {len(spool.damage)} reports, "
                         f"{len(spool.messages)} of {before} messages")
    segment.write_bytes(whole)
    return report(not wrong, started, "a changed byte is told and costs one message", wrong)


def find_program():
    for folder in ("build/asan/tests", "build/tests"):
        path = ROOT / folder / "spool_spool_sample_test"
        if path.exists():
            return path
    sys.exit("check_reader: no spool_sample_test in build/asan/tests or build/tests")


def main():
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    program = Path(sys.argv[1]).resolve() if len(sys.argv) == 2 else find_program()
    with tempfile.TemporaryDirectory() as root:
        subprocess.run([program], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env={**os.environ, "LOCUM_SPOOL_SAMPLE": root})
        samples = sorted(path for path in Path(root).iterdir() if path.is_dir())
        results = [check_sample(sample) for sample in samples]
        results.append(check_changed_bytes(Path(root, "plain")))
    return 0 if all(results) and len(results) > 1 else 1


if __name__ == "__main__":
    sys.exit(main())
