"""TalkLoRA's Triton kernels without a GPU: exactness by the interpreter, registers, launches, host time."""
