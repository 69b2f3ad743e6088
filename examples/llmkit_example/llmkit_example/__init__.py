"""One of each thing that a package can add to llmkit. docs/extending.md explains them."""
