"""Sentences per second against nlpaug, operator by operator, side by side in one process on one core.

Both noise the same GSM8K questions, at equal words edited: nlpaug is asked for one character in a tenth (or a third) of
the words; what it really edited is measured, and llmkit is run at that rate. Each round times the one and then the
other, so that a busy machine slows both; the table shows the median of the rounds and their spread. llmkit's time
includes protected spans, edit records, strength and the validity gate; nlpaug has none of these.

    python benchmarks/perturb.py --data-dir DIR              # the table
    python benchmarks/perturb.py --data-dir DIR --profiles   # noise profiles, and multypo where it is installed
    python benchmarks/perturb.py --data-dir DIR --workers    # two worker processes against one
    python benchmarks/perturb.py --data-dir DIR --memory     # a million lines: peak resident memory (Linux)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path

from llmkit.perturb import Perturber, strength
from llmkit.perturb.profile import shipped_names

RATES = (0.1, 0.3)
ROUNDS = 7
PEERS = ("nlpaug", "multypo", "typing")


def peers(rate: float) -> dict:
    """nlpaug's augmenters, one changed character a word, no upper bound on words."""
    import nlpaug.augmenter.char as char
    import nlpaug.augmenter.word as word

    one = {"aug_word_p": rate, "aug_word_min": 1, "aug_word_max": None, "aug_char_min": 1, "aug_char_max": 1}
    return {
        "keyboard": char.KeyboardAug(**one),
        "ocr": char.OcrAug(**one),
        "swap": char.RandomCharAug(action="swap", **one),
        "delete": char.RandomCharAug(action="delete", **one),
        "substitute": char.RandomCharAug(action="substitute", **one),
        "spelling": word.SpellingAug(aug_p=rate, aug_min=1, aug_max=None),
    }


def edited(peer: object, questions: list[str]) -> float:
    """The share of words that nlpaug really changes, the damage of its tokenizer left out."""

    def parted(text: str) -> str:
        return " ".join(peer.tokenizer(text))

    return statistics.mean(strength(parted(q), parted(peer.augment(q)[0])).words for q in questions)


def seconds(work: object, questions: list[str]) -> float:
    start = time.process_time()
    for i, question in enumerate(questions):
        work(question, str(i))
    return time.process_time() - start


def compare(questions: list[str]) -> None:
    print("| operator | words edited | nlpaug, sentences/s | llmkit, sentences/s | times as fast (rounds) |")
    print("|---|---|---|---|---|")
    for rate in RATES:
        for name, peer in peers(rate).items():
            share = edited(peer, questions)
            ours = Perturber(name, rate=round(share, 3), seed=1)
            made = [ours.apply(q, str(i)) for i, q in enumerate(questions)]
            share_ours = statistics.mean(m.strength.words for m in made)
            theirs_s, ours_s = [], []
            for _ in range(ROUNDS):
                theirs_s.append(seconds(lambda q, _, peer=peer: peer.augment(q), questions))
                ours_s.append(seconds(ours.apply, questions))
            ratios = sorted(a / b for a, b in zip(theirs_s, ours_s, strict=True))
            print(
                f"| {name} | {share:.3f} / {share_ours:.3f} | {len(questions) / statistics.median(theirs_s):,.0f} "
                f"| {len(questions) / statistics.median(ours_s):,.0f} "
                f"| **{statistics.median(ratios):.1f}** ({ratios[0]:.1f} to {ratios[-1]:.1f}) |",
                flush=True,
            )


def compare_profiles(questions: list[str], rate: float = 0.1) -> None:
    """Times noise profiles and `typing` beside nlpaug's keyboard and multypo, all asked for as many words."""
    ours = {name: Perturber(name, rate=rate, seed=1) for name in ("typing", *(f"like:{n}" for n in shipped_names()))}
    keyboard = peers(rate)["keyboard"]
    work = {"nlpaug": lambda question, _: keyboard.augment(question)[0]}
    with suppress(ImportError):
        from multypo import MultiTypoGenerator

        generator = MultiTypoGenerator(language="english")
        work["multypo"] = lambda question, _: generator.insert_typos(question, rate)
    work |= {name: lambda question, id, one=perturber: one.apply(question, id).text for name, perturber in ours.items()}
    first = {name: seconds(make, questions) for name, make in work.items()}
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, make in work.items():
            times[name].append(seconds(make, questions))
    print(
        "| noise | words edited | first pass, sentences/s | sentences/s | "
        + " | ".join(f"times {n}" for n in PEERS)
        + " |"
    )
    print("|---|---|---|---|" + "---|" * len(PEERS))
    for name, make in work.items():
        share = statistics.mean(strength(q, make(q, str(i))).words for i, q in enumerate(questions[:300]))
        ratios = [
            statistics.median(a / b for a, b in zip(times[peer], times[name], strict=True)) if peer in times else None
            for peer in PEERS
        ]
        speed = f"{len(questions) / first[name]:,.0f} | {len(questions) / statistics.median(times[name]):,.0f}"
        print(
            f"| {name} | {share:.3f} | {speed} | {' | '.join(f'{r:.2f}' if r else '-' for r in ratios)} |", flush=True
        )


def write_lines(path: Path, questions: list[str], rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for i in range(rows):
            file.write(json.dumps({"id": i, "question": questions[i % len(questions)]}) + "\n")


def command(source: Path, workers: int) -> list[str]:
    """The whole command: reading, noise, writing."""
    perturb = ["llmkit", "--quiet", "perturb", str(source), "--op", "ec"]
    return [sys.executable, "-m", *perturb, "--workers", str(workers)]


def workers(questions: list[str], rows: int = 100_000) -> None:
    """One worker process against two."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in.jsonl")
        write_lines(source, questions, rows)
        times: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(5):
            for count in times:
                start = time.perf_counter()
                subprocess.run(command(source, count), check=True, stdout=subprocess.DEVNULL)
                times[count].append(time.perf_counter() - start)
        one, two = (statistics.median(times[count]) for count in (1, 2))
        ratios = sorted(a / b for a, b in zip(times[1], times[2], strict=True))
        print(
            f"{rows:,} rows of GSM8K through `llmkit perturb --op ec`, median of 5 rounds: one worker {one:.1f} s, ",
            end="",
        )
        print(f"two workers {two:.1f} s ({rows / two:,.0f} rows/s); within a round two are ", end="")
        print(f"{statistics.median(ratios):.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def resident(pid: int) -> dict[int, float]:
    """The peak resident memory so far of a process and its children, in MB (10^6 bytes), by process id."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    peaks = {}
    for each in pids:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{each}/status").read_text().splitlines())
        peaks[each] = int(status["VmHWM"].split()[0]) * 1024 / 1e6
    return peaks


def memory(questions: list[str]) -> None:
    """Peak resident memory of each process. That a tenth of the lines needs as much shows that it does not grow."""
    print("| lines, with ids | workers | seconds | peak resident MB: reader, then workers |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for rows in (100_000, 1_000_000):
            source = Path(folder, f"{rows}.jsonl")
            write_lines(source, questions, rows)
            for count in (1, 2):
                peaks: dict[int, float] = {}
                start = time.perf_counter()
                process = subprocess.Popen(command(source, count), stdout=subprocess.DEVNULL)
                while process.poll() is None:
                    with suppress(OSError, KeyError):  # a process may end while it is looked at
                        peaks |= resident(process.pid)
                    time.sleep(0.2)
                if process.returncode:
                    raise SystemExit(f"llmkit perturb ended with {process.returncode}")
                seconds = time.perf_counter() - start
                told = ", ".join(f"{peak:.0f}" for peak in peaks.values())
                print(f"| {rows:,} | {count} | {seconds:.0f} | {told} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data-dir", default=os.environ.get("LLMKIT_DATA_DIR"), required="LLMKIT_DATA_DIR" not in os.environ
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--workers", action="store_true", help="compare one worker process with two instead")
    mode.add_argument("--profiles", action="store_true", help="compare noise profiles instead")
    mode.add_argument("--memory", action="store_true", help="measure a million lines instead")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    lines = Path(args.data_dir, "gsm8k", "test.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["question"] for line in lines]
    machine = f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"
    print(f"{len(questions)} questions, {machine}\n")
    modes = {workers: args.workers, memory: args.memory, compare_profiles: args.profiles}
    next((mode for mode, is_asked in modes.items() if is_asked), compare)(questions)


if __name__ == "__main__":
    main()
