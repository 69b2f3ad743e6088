"""The recipe: one YAML format for every command, checked as a whole, with one source of defaults."""

from llmkit.recipe.digest import digest
from llmkit.recipe.document import Fault, Origin
from llmkit.recipe.load import Loaded, Override, examine, load, refuse, shipped_recipes
from llmkit.recipe.profiles import profile_overrides
from llmkit.recipe.schema import Recipe
from llmkit.recipe.show import schema, starter, to_yaml, with_origins, without_secrets
from llmkit.recipe.trust import code_in_files, is_trusted, names_from_elsewhere, trust

__all__ = [
    "Fault",
    "Loaded",
    "Origin",
    "Override",
    "Recipe",
    "code_in_files",
    "digest",
    "examine",
    "is_trusted",
    "load",
    "names_from_elsewhere",
    "profile_overrides",
    "refuse",
    "schema",
    "shipped_recipes",
    "starter",
    "to_yaml",
    "trust",
    "with_origins",
    "without_secrets",
]
