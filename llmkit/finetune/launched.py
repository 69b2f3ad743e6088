"""`accelerate launch`, which ends with `llmkit finetune`: a training that nobody waits for would go on."""

from __future__ import annotations

from llmkit.signals import end_with_parent

if __name__ == "__main__":
    end_with_parent()  # before an import that takes seconds
    from accelerate.commands.launch import main

    main()
