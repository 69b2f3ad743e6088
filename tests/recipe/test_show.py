"""A recipe written out: resolved, with origins, as a schema, as a file to start from."""

from __future__ import annotations

import jsonschema
import pytest
from ruamel.yaml import YAML

from llmkit.recipe import Recipe, load, schema, shipped_recipes, starter, to_yaml, with_origins
from llmkit.recipe.faults import all_keys
from llmkit.recipe.load import _locate


def saved(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_resolved_recipe_loads_to_itself(tmp_path, name):
    loaded = load(name, ["eval.gates=[{metric: rop.gain, min: 0.05}]", "data.question='no: 1'"])
    assert saved(tmp_path, to_yaml(loaded.recipe)).recipe == loaded.recipe
    assert saved(tmp_path, with_origins(loaded)).recipe == loaded.recipe


def test_origins_stand_behind_each_value(tmp_path):
    text = with_origins(load("demo", ["data.limit=5"]))
    where = {line.split(":")[0].strip(): line.rpartition("# ")[2] for line in text.splitlines() if "#" in line}
    assert where["limit"] == "--set data.limit=5"
    assert where["path"] in ("recipes/base/smollm2.yaml:3", "default")
    assert where["seed"] == "default"
    loaded = load("demo", ["perturb.conditions.0=leet"])
    assert str(loaded.origin("perturb.conditions.0")) == "--set perturb.conditions.0=leet"
    assert str(loaded.origin("perturb.conditions.1")).startswith("recipes/demo.yaml:")
    assert loaded.origin("seed") is None


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_fit_the_schema(name):
    path, _ = _locate(name)
    jsonschema.validate(YAML(typ="safe", pure=True).load(path), schema())


def test_the_schema_is_valid_and_closed():
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    objects = [made, *made["$defs"].values()]
    assert all(part.get("additionalProperties") is False for part in objects if part.get("type") == "object")
    assert "extends" in made["properties"]
    with pytest.raises(jsonschema.ValidationError, match="limt"):
        jsonschema.validate({"data": {"limt": 3}}, made)


def test_the_schema_carries_the_field_docs():
    made = schema()
    assert made["$defs"]["DataSection"]["properties"]["task"]["description"] == "A name from `llmkit data ls`."
    assert all(part.get("description") for part in made["$defs"].values() if part.get("type") == "object")


def test_the_starter_says_nothing_until_it_is_edited(tmp_path):
    assert saved(tmp_path, starter()).recipe == Recipe()
    assert saved(tmp_path, starter("demo")).recipe == load("demo").recipe


def test_the_starter_names_every_key_with_its_default(tmp_path):
    opened = "\n".join(line.replace("# ", "", 1) if "## " not in line else "" for line in starter().splitlines())
    loaded = saved(tmp_path, opened)
    assert loaded.recipe == Recipe()
    assert set(all_keys()) <= set(loaded.origins)
