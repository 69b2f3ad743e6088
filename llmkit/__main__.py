"""`python -m llmkit`."""

from llmkit.cli.app import main

main()
