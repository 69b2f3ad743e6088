"""One of several training processes, started by accelerate."""

from __future__ import annotations

import os
import sys

from llmkit.errors import LlmkitError
from llmkit.finetune.run import worker
from llmkit.logs import hush_triton
from llmkit.terminal import guarded


def main() -> None:
    hush_triton()
    with guarded():
        try:
            worker(sys.argv[1:], quiet=os.environ.get("LLMKIT_QUIET") == "1")
        except LlmkitError as error:
            print(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""), file=sys.stderr)
            sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
