"""Registers, launches and host time, as JSON on stdout: needs Triton without its interpreter."""

from __future__ import annotations

import json

import torch
import triton

from kernel_checks import compiled, launches


def main() -> None:
    counts = {name: launches.counted(mixed) for name, mixed in (("float32", False), ("bfloat16 by autocast", True))}
    result = {"torch": torch.__version__, "triton": triton.__version__, "launches": counts}
    print(json.dumps(result | {"host": launches.host_microseconds(), "registers": compiled.table()}))


if __name__ == "__main__":
    main()
