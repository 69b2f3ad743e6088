"""The plugin that pytest loads by its entry point: the fixture `llmkit_run`.

Every pytest run of a project with llmkit installed imports this module, so it imports nothing of llmkit until a test
calls the fixture. Only pytest imports it: llmkit itself does without pytest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from llmkit.ci.checked import CheckedRun


@pytest.fixture(scope="session")
def llmkit_run() -> Callable[..., CheckedRun]:
    """Runs a recipe as `llmkit eval` does, or resumes its run, and returns gates, metrics and folder.

        def test_the_assistant_survives_typos(llmkit_run):
            run = llmkit_run("recipe.yaml", limit=200)
            assert run.gates.passed

    Keywords set recipe keys by their last name, as `limit` sets `data.limit`. A run that cannot be made, that is
    incomplete, or whose model does not answer fails the test with llmkit's message.
    """

    def run(recipe: str | Path | None = None, **settings: Any) -> CheckedRun:
        __tracebackhide__ = True
        from llmkit.ci.checked import checked
        from llmkit.errors import LlmkitError
        from llmkit.secrets import scrub

        try:
            return checked(recipe, settings)
        except LlmkitError as error:
            message = f"llmkit: {error.message}" + (f"\nhint: {error.hint}" if error.hint else "")
        # Outside of the handler, or pytest would print the error that was handled before the message.
        return pytest.fail(scrub(message), pytrace=False)

    return run
