"""PEFT's own tests, run with TalkLoRA in the place of its methods: `make peft-matrix`."""
