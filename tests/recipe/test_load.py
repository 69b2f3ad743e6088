"""From files, `extends` and overrides to one checked recipe."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest

from llmkit.errors import RecipeError
from llmkit.recipe import Override, Recipe, load, shipped_recipes


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files into an empty current folder."""
    monkeypatch.chdir(tmp_path)

    def put(**files: str) -> None:
        for name, text in files.items():
            Path(f"{name}.yaml").write_text(text, encoding="utf-8")

    return put


def faults(source=None, overrides=()) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(source, overrides)
    lines = caught.value.message.splitlines()
    return lines[1:] if len(lines) > 1 else lines


class TestSources:
    def test_nothing_is_the_defaults(self):
        loaded = load()
        assert loaded.recipe == Recipe()
        assert (loaded.text, loaded.source, loaded.tree, loaded.origins) == (None, None, {}, {})

    def test_a_file_keeps_its_text(self, write):
        write(a="seed: 3  # mine\n")
        loaded = load("a.yaml")
        assert loaded.recipe.seed == 3
        assert (loaded.text, loaded.source) == ("seed: 3  # mine\n", "a.yaml")
        assert str(loaded.origins["seed"]) == "a.yaml:1"
        assert load(Path("a.yaml")).recipe == loaded.recipe

    @pytest.mark.parametrize("text", ["", "# nothing\n", "data:\n", "rop:\n  search:\n"])
    def test_nothing_said_is_the_default(self, write, text):
        write(a=text)
        assert load("a.yaml").recipe == Recipe()

    @pytest.mark.parametrize("name", shipped_recipes())
    def test_every_shipped_recipe_loads(self, write, name):
        assert load(name).recipe.version == 1
        assert load(f"{name}.yaml").recipe == load(name).recipe

    def test_a_file_here_wins_over_a_shipped_one_and_a_folder_does_not(self, write, tmp_path):
        (tmp_path / "demo").mkdir()
        assert load("demo").recipe.output.name == "demo"
        write(demo="output: {name: mine}")
        assert load("demo.yaml").recipe.output.name == "mine"

    def test_dash_reads_stdin(self, write, monkeypatch):
        write(b="seed: 5")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"extends: b\ndata: {limit: 3}\nsplit: dev")))
        assert faults("-") == ["<stdin>:3: split: unknown key (did you mean `data.split`?)"]

    def test_a_byte_order_mark_is_no_part_of_the_text(self, write):
        Path("a.yaml").write_bytes(b"\xef\xbb\xbfseed: 4")
        assert load("a.yaml").recipe.seed == 4

    def test_unknown_names_show_what_is_near(self, write):
        write(mine="seed: 1")
        with pytest.raises(RecipeError) as caught:
            load("demoo")
        assert "no recipe `demoo`" in caught.value.message
        assert caught.value.hint.startswith("did you mean `demo`")
        with pytest.raises(RecipeError) as caught:
            load("mine.yml")
        assert "mine.yaml" in caught.value.hint

    def test_what_cannot_be_read(self, write, tmp_path):
        Path("latin.yaml").write_bytes("seed: 1\nmodel: {path: Mäuse}".encode("latin-1"))
        assert faults("latin.yaml") == ["latin.yaml:2: is not UTF-8 (byte 0xe4)"]
        assert faults(str(tmp_path)) == [f"{tmp_path}: is a folder, not a recipe"]

        assert faults("x" * 5000)[0].startswith("no recipe `xxx")
        assert faults("~nobody-here/a.yaml")[0].startswith("no recipe `~nobody-here/a.yaml`")

    def test_a_file_without_permission(self, write, monkeypatch):
        def refuse(path):
            raise PermissionError(13, "Permission denied")

        write(a="seed: 1")
        monkeypatch.setattr(Path, "read_bytes", refuse)
        assert faults("a.yaml") == ["a.yaml: cannot be read: Permission denied"]


class TestExtends:
    def test_maps_merge_lists_replace_later_wins(self, write):
        write(
            base="seed: 1\ndata: {task: gsm8k, limit: 5}\nperturb: {conditions: [ec, sc]}",
            more="seed: 2\ndata: {limit: 6}",
            top="extends: [base, more.yaml]\nperturb: {conditions: [hw]}\ndata: {split: dev}",
        )
        loaded = load("top.yaml")
        data = loaded.recipe.data
        assert (loaded.recipe.seed, data.task, data.limit, data.split) == (2, "gsm8k", 6, "dev")
        assert loaded.recipe.perturb.conditions == ("hw",)
        assert str(loaded.origins["data.task"]) == "base.yaml:2"
        assert str(loaded.origins["data.limit"]) == "more.yaml:2"
        assert "perturb.conditions.1" not in loaded.origins
        assert "extends" not in loaded.tree

    def test_names_are_relative_to_the_file_that_says_them(self, write, tmp_path):
        (tmp_path / "deep").mkdir()
        write(outer="seed: 9")
        Path("deep/mid.yaml").write_text("extends: ../outer.yaml")
        Path("deep/top.yaml").write_text("extends: mid")
        assert load("deep/top.yaml").recipe.seed == 9

    def test_shipped_names_work_from_anywhere(self, write):
        write(a="extends: base/smollm2", b="extends: demo.yaml\ndata: {limit: 2}")
        assert load("a.yaml").recipe.model.path == "smollm2-135m"
        loaded = load("b.yaml")
        assert loaded.recipe.data.limit == 2
        assert str(loaded.origins["model.path"]).startswith("recipes/base/smollm2.yaml:")

    def test_a_diamond_is_no_loop(self, write):
        write(root="seed: 1", left="extends: root", right="extends: root", top="extends: [left, right]")
        assert load("top.yaml").recipe.seed == 1

    def test_loops_and_missing_files(self, write):
        write(a="seed: 1\nextends: b", b="extends: c", c="extends: a", d="extends: d", e="extends: [x.yaml, demmo]")
        assert faults("a.yaml") == ["c.yaml:1: extends: extends itself by way of a.yaml"]
        assert faults("d.yaml") == ["d.yaml:1: extends: extends itself by way of d.yaml"]
        second, first = faults("e.yaml")
        assert first.startswith("e.yaml:1: extends: no file `x.yaml` here, and no shipped recipe of that name")
        assert "did you mean `demo`" in second

    @pytest.mark.parametrize("value", ["3", "{a: b}", "[1]"])
    def test_extends_must_be_names(self, write, value):
        write(a=f"extends: {value}")
        assert faults("a.yaml") == ["a.yaml:1: extends: should be a file name or a list of them"]

    def test_a_fault_is_named_where_it_stands(self, write):
        write(base="data:\n  limit: x\n  splitt: test", top="extends: base\ndata: {task: 5}")
        assert faults("top.yaml") == [
            "top.yaml:2: data.task: should be a text, not 5",
            "base.yaml:2: data.limit: should be a whole number, not \"x\"",
            "base.yaml:3: data.splitt: unknown key (did you mean `split`?)",
        ]  # fmt: skip

    def test_a_broken_base_does_not_hide_the_rest(self, write):
        write(base="seed: [1", top="extends: base\nsede: 3")
        assert [f.partition(":")[0] for f in faults("top.yaml")] == ["top.yaml", "base.yaml"]


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("- a", "a.yaml:1: a recipe is a map of sections"),
            ("just words", "a.yaml:1: a recipe is a map of sections"),
            ("version: 2", "a.yaml:1: version: should be 1, not 2"),
            ("seed: -1", "a.yaml:1: seed: should be greater than or equal to 0, not -1"),
            ("seed: 1.5", "a.yaml:1: seed: should be a whole number, not 1.5"),
            ("seed: '1'", 'a.yaml:1: seed: should be a whole number, not "1"'),
            ("seed: true", "a.yaml:1: seed: should be a whole number, not true"),
            ("engine: {replicas: yes}", 'engine.replicas: should be true or false, not "yes"'),
            ("model: gpt", 'a.yaml:1: model: should be a map of keys, not "gpt"'),
            ("model: {pth: x}", "a.yaml:1: model.pth: unknown key (did you mean `path`?)"),
            ("limit: 5", "a.yaml:1: limit: unknown key (did you mean `data.limit`?)"),
            ("zzz: 5", "a.yaml:1: zzz: unknown key"),
            ("data: {split: tets}", "(did you mean `test`?)"),
            ("engine: {dtype: float3}", "(did you mean `float32`"),
            ("perturb: {conditions: ec}", 'perturb.conditions: should be a list, not "ec"'),
            (
                "perturb: {rate: papr}",
                "perturb.rate: should be a number or 'paper', 'fitted', 'x0.5' or 'x2' or a list, not \"papr\"",
            ),
            ("perturb: {rate: [0.1, x]}", 'perturb.rate.1: should be a number, not "x"'),
            ("eval: {gates: [{min: 0.1}]}", "a.yaml:1: eval.gates.0.metric: is required"),
            ("eval: {gates: [{metric: a, mni: 1}]}", "eval.gates.0.mni: unknown key (did you mean `min`?)"),
            ("eval:\n  gates:\n    - metric: a\n      bound: lo", "a.yaml:4: eval.gates.0.bound: should be"),
        ],
    )
    def test_each_says_where_which_key_and_what(self, write, text, expected):
        write(a=text)
        assert len(faults("a.yaml")) == 1
        assert expected in faults("a.yaml")[0]

    def test_all_at_once_in_the_order_of_the_lines(self, write):
        write(a="seed: x\ndata:\n  limt: 5\n  split: tets\nmodel: 3\nseed: 4\nzzz: 1")
        lines = [int(f.split(":")[1]) for f in faults("a.yaml", ["data.limit=-1", "b"])[:-2]]
        assert lines == [1, 3, 4, 5, 6, 7]
        assert faults("a.yaml", ["data.limit=-1", "b"])[-2].startswith("--set data.limit=-1: data.limit: should be")

    def test_the_error_survives_a_pickle(self, write):
        write(a="seed: x")
        with pytest.raises(RecipeError) as caught:
            load("a.yaml")
        assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


class TestOverrides:
    @pytest.mark.parametrize(
        ("override", "key", "value"),
        [
            ("data.limit=50", "data.limit", 50),
            ("data.limit=", "data.limit", None),
            ("data.task=gsm8k", "data.task", "gsm8k"),
            ("data.question=a=b", "data.question", "a=b"),
            ("data.question='3'", "data.question", "3"),
            ("data.question=no", "data.question", "no"),
            ("rop.search.temperature=1e-1", "rop.search.temperature", 0.1),
            ("engine.replicas=true", "engine.replicas", True),
            ("perturb.conditions=[ec, ec+uic]", "perturb.conditions", ("ec", "ec+uic")),
            ("perturb.conditions.1=leet", "perturb.conditions", ("ec", "leet", "woo", "hw", "uic")),
            ("perturb.conditions.5=leet", "perturb.conditions", ("ec", "sc", "woo", "hw", "uic", "leet")),
            ("rop.search={budget: 0, pool: 9}", "rop.search.budget", 0),
        ],
    )
    def test_values_are_yaml(self, override, key, value):
        found = load(None, [override]).recipe
        for name in key.split("."):
            found = getattr(found, name)
        assert found == value

    def test_they_win_over_the_file_and_the_later_over_the_earlier(self, write):
        write(a="data: {limit: 1, task: gsm8k}\neval: {gates: [{metric: a, min: 0.1}, {metric: b, max: 1}]}")
        loaded = load(
            "a.yaml", ["data.limit=2", "data.limit=3", "eval.gates.0.min=0.2", "eval.gates.1={metric: c, min: 0}"]
        )
        assert (loaded.recipe.data.limit, loaded.recipe.data.task) == (3, "gsm8k")
        assert [(g.metric, g.min) for g in loaded.recipe.eval.gates] == [("a", 0.2), ("c", 0.0)]
        assert str(loaded.origins["data.limit"]) == "--set data.limit=3"
        assert str(loaded.origins["eval.gates.0.min"]) == "--set eval.gates.0.min=0.2"
        assert str(loaded.origins["data.task"]) == "a.yaml:1"

    def test_a_mapping_and_labelled_values_do_the_same(self):
        by_text = load(None, ["data.limit=5", "rop.arms=[stand, rop]"])
        assert load(None, {"data.limit": 5, "rop.arms": ("stand", "rop")}).recipe == by_text.recipe
        labelled = load(None, [Override("data.limit", 5, "--limit 5"), "rop.arms=[stand, rop]"])
        assert labelled.recipe == by_text.recipe
        assert str(labelled.origins["data.limit"]) == "--limit 5"

    @pytest.mark.parametrize(
        ("override", "expected"),
        [
            ("data.limit", "--set data.limit: should be KEY=VALUE, such as `data.limit=50`"),
            ("=5", "--set =5: should be KEY=VALUE, such as `data.limit=50`"),
            ("data..limit=5", "--set data..limit=5: should be KEY=VALUE, such as `data.limit=50`"),
            ("data.limit=x", '--set data.limit=x: data.limit: should be a whole number, not "x"'),
            ("data.limt=5", "--set data.limt=5: data.limt: unknown key (did you mean `limit`?)"),
            ("limit=5", "--set limit=5: limit: unknown key (did you mean `data.limit`?)"),
            ("seed.x=5", 'should be a whole number, not {"x": 5}'),
            ("extends=demo", "--set extends=demo: extends: can only be set in a file"),
            ("perturb.conditions.9=x", "`perturb.conditions` has 5 items: the next index is 5"),
            ("perturb.conditions.x=x", "`perturb.conditions` is a list: give an index, such as `perturb.conditions.0`"),
            ("perturb.conditions.0.a=x", "`perturb.conditions.0` is a single value, not a section"),
            ("model.path=@x", "put quotes around a text that is not plain"),
            ("model.path=[x", "put quotes around a text that is not plain"),
            ("model.path=!!python/name:os.system", "is not allowed"),
            (f"perturb.conditions.{'1' * 5000}=x", "is a list: give an index"),
        ],
    )
    def test_what_is_wrong_is_said_of_the_flag(self, override, expected):
        found = faults(None, [override])
        assert len(found) == 1
        assert expected in found[0]

    def test_a_list_in_a_base_file_is_not_touched_by_setting_one_item(self):
        first = load("demo", ["perturb.conditions.0=leet"]).recipe
        assert first.perturb.conditions[0] == "leet"
        assert load("demo").recipe.perturb.conditions[0] == "ec"
