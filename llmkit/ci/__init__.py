"""llmkit inside other people's pipelines: a fixture for pytest, and the script of the GitHub Action."""
