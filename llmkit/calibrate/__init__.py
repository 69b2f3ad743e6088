"""Calibrates a repair: chooses a chain, bounds its harm by Learn then Test, and writes it with its guarantee."""
