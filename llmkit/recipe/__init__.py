"""The recipe: one YAML format for every command, checked as a whole, with one source of defaults."""

from llmkit.recipe.digest import digest
from llmkit.recipe.document import Fault, Origin
from llmkit.recipe.load import Loaded, Override, examine, load, refuse, shipped_recipes
from llmkit.recipe.profiles import profile_overrides
from llmkit.recipe.prompts import PromptFile, Turn, read_prompt
from llmkit.recipe.schema import Recipe
from llmkit.recipe.show import schema, starter, to_yaml, with_origins, without_secrets
from llmkit.recipe.trust import code_in_files, is_trusted, kinds_of_engine, names_from_elsewhere, trust

__all__ = [
    "Fault",
    "Loaded",
    "Origin",
    "Override",
    "PromptFile",
    "Recipe",
    "Turn",
    "code_in_files",
    "digest",
    "examine",
    "is_trusted",
    "kinds_of_engine",
    "load",
    "names_from_elsewhere",
    "profile_overrides",
    "read_prompt",
    "refuse",
    "schema",
    "shipped_recipes",
    "starter",
    "to_yaml",
    "trust",
    "with_origins",
    "without_secrets",
]
