"""`make attack`: everything that tests/helpers/attack can do to llmkit, for as long as it is given.

PYTHONPATH=tests python -m helpers.attack --minutes 30
PYTHONPATH=tests python -m helpers.attack --fuzz 4711        # one case again
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date

from helpers.attack import copies, result
from helpers.attack.fuzz import Fuzzer
from helpers.attack.kills import KillAttack
from helpers.attack.known import sorted_out
from helpers.attack.servers import CALLS, ServerAttack

FUZZED, KILLED, COPIED = 10_000, 80, 100_000
KILLS = 4  # sent to each run, before it may end


def main() -> int:
    parser = argparse.ArgumentParser(prog="make attack")
    parser.add_argument("--minutes", type=float, default=30.0, help="when no new attack is begun")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--fuzz", type=int, metavar="NUMBER", help="only this fuzzed case")
    given = parser.parse_args()
    if given.fuzz is not None:
        with closing(Fuzzer(given.seed)) as fuzzer:
            print(fuzzer.case(given.fuzz), *fuzzer.findings(given.fuzz), sep="\n")
        return 0
    began = time.monotonic()
    parts, new, known = [], [], []
    for what, share, attacks in attacked(given.seed):
        now = time.monotonic()
        until = now + share * (began + 60 * given.minutes - now)
        times, found = 0, []
        for count, findings in attacks:
            times, found = times + count, found + findings
            if time.monotonic() > until:
                break
        unknown, passed = sorted_out(found)
        for finding in unknown:
            print(f"FINDING {finding.encode('unicode_escape').decode()}", flush=True)
        new, known = new + unknown, known + passed
        parts.append({"what": what, "times": times, "findings": len(unknown)})
        print(f"{what}: {times:,}, findings: {len(unknown)}, known: {len(passed)}", flush=True)
    made = {
        "date": date.today().isoformat(),
        "digest": result.digest(),
        "seed": given.seed,
        "minutes": round((time.monotonic() - began) / 60),
        "parts": parts,
        "known": len(known),
        "findings": [finding.encode("unicode_escape").decode() for finding in new],
    }
    result.write(made)
    print(f"\n{result.table(made)}\nwrote {result.RESULT}")
    return 1 if new else 0


Attack = Iterator[tuple[int, list[str]]]


def attacked(seed: int) -> Iterator[tuple[str, float, Attack]]:
    """Each part: what it is, the share that it may have of the time that is left, and its attacks."""
    with closing(ServerAttack()) as servers:
        what = f"runs against a server with one of {len(servers.faults)} faults, in {len(CALLS)} patterns"
        yield what, 0.4, ((1, servers.findings(*case)) for case in servers.cases(seed))
    with closing(KillAttack()) as kills:
        what = "kills (SIGKILL, Ctrl-C, SIGTERM) of runs that go on"
        yield what, 0.4, killed(kills, seed)
    yield "noisy copies of questions", 0.2, ((1, copies.findings(seed, number)) for number in range(COPIED))
    with closing(Fuzzer(seed)) as fuzzer:
        what = "fuzzed commands, recipes, rows and run folders"
        yield what, 1.0, ((1, fuzzer.findings(number)) for number in range(FUZZED))


def killed(kills: KillAttack, seed: int) -> Attack:
    """Counts the signals that struck before the command was over."""
    for number in range(KILLED):
        before = kills.landed
        findings = kills.findings(seed, number, KILLS)
        yield kills.landed - before, findings


if __name__ == "__main__":
    sys.exit(main())
