"""Settings: places, overrides, plain words, round trips, hashes."""

from pathlib import Path
from typing import Annotated, Literal, Self

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, PositiveInt, model_validator

from recsys.errors import ConfigError, ProtocolError
from recsys.problems import Problem, Problems
from recsys.settings import Settings, content_hash, dump_settings, jsonable, load_settings
from recsys.yaml_text import MAX_BYTES, parse, render


class Cat(Settings):
    kind: Literal["cat"]
    lives: PositiveInt = 9


class Dog(Settings):
    kind: Literal["dog"]
    barks: bool = True


class Bowl(Settings):
    food: str = "fish"
    grams: Annotated[float, Field(gt=0, le=500)] = 50.0


class House(Settings):
    name: Annotated[str, Field(pattern="^[a-z]+$", max_length=8)]
    pets: dict[str, Annotated[Cat | Dog, Field(discriminator="kind")]] = Field(default_factory=dict)
    first: Cat | Dog | None = Field(default=None, discriminator="kind")
    bowl: Literal["none"] | Bowl = "none"
    rooms: tuple[PositiveInt, ...] = (1,)
    notes: dict[str, int | str | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        found = [Problem("found no cat, expected one", at=("pets",))] if "dog" in self.pets else []
        if self.name == "noah":
            found.append(Problem("found an ark, expected a house", at=("name",), protocol=True))
        if self.name == "bad":
            raise ValueError("a bad house; expected a good one")
        if found:
            raise Problems(found)
        return self


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text, *overrides, environ=None):
        Path("x.yaml").write_text(text, encoding="utf-8")
        return load_settings(House, "x.yaml", overrides=overrides, environ=environ or {})

    return read


def refused(load, text, *overrides, environ=None):
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides, environ=environ)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nnmae: b", "x.yaml:2: nmae: unknown key; did you mean name?"),
        (
            "name: a\nzzz: b",
            "x.yaml:2: zzz: unknown key; known are name, pets, first, bowl, rooms, notes",
        ),
        ("rooms: [1]", "x.yaml:1: name: required, but missing"),
        ("name: 7", "x.yaml:1: name: found 7, expected text"),
        ("name: A1", "x.yaml:1: name: found 'A1', expected text that matches ^[a-z]+$"),
        ("name: abcdefghi", "x.yaml:1: name: found 'abcdefghi', expected at most 8 characters"),
        ("name: null", "x.yaml:1: name: found null, expected text"),
        ("name: a\npets:\n  tom: {kind: cat, live: 3}", "x.yaml:3: pets.tom.live: unknown key; did you mean lives?"),
        (
            "name: a\nfirst:\n  kind: dog\n  lives: 3",
            "x.yaml:4: first.lives: no setting of dog, but of cat; a new kind wants a new block: "
            "--set 'first={kind: dog}'",
        ),
        # A name that is also the tag pydantic puts into its own paths.
        (
            "name: a\npets:\n  cat:\n    kind: cat\n    live: 3",
            "x.yaml:5: pets.cat.live: unknown key; did you mean lives?",
        ),
        (
            "name: a\npets: {tom: {kind: cta}}",
            "x.yaml:2: pets.tom.kind: found 'cta', expected one of cat, dog; did you mean cat?",
        ),
        ("name: a\npets: {tom: {kind: 3}}", "x.yaml:2: pets.tom.kind: found 3, expected one of cat, dog"),
        ("name: a\npets: {tom: {}}", "x.yaml:2: pets.tom.kind: required, but missing; expected one of cat, dog"),
        ("name: a\npets: {tom: cat}", "x.yaml:2: pets.tom: found 'cat', expected a mapping: {kind: cat}"),
        ("name: a\npets: [cat]", "x.yaml:2: pets: found a list, expected a mapping"),
        (
            "name: a\nfirst:\n  kind: dog\n  barks: maybe",
            "x.yaml:4: first.barks: found 'maybe', expected true or false",
        ),
        ("name: a\nbowl: non", "x.yaml:2: bowl: found 'non', expected one of none or a mapping; did you mean none?"),
        ("name: a\nbowl: {fod: x}", "x.yaml:2: bowl.fod: unknown key; did you mean food?"),
        ("name: a\nbowl: {grams: 0}", "x.yaml:2: bowl.grams: found 0, expected more than 0"),
        ("name: a\nbowl: {grams: 501}", "x.yaml:2: bowl.grams: found 501, expected at most 500"),
        ("name: a\nbowl: {grams: heavy}", "x.yaml:2: bowl.grams: found 'heavy', expected a number"),
        ("name: a\nrooms:\n  - 1\n  - two", "x.yaml:4: rooms.1: found 'two', expected a whole number"),
        ("name: a\nrooms: [1.5]", "x.yaml:2: rooms.0: found 1.5, expected a whole number"),
        ("name: a\nrooms: 3", "x.yaml:2: rooms: found 3, expected a list"),
        ("name: a\nnotes: {b: [1]}", "x.yaml:2: notes.b: found a list, expected a whole number or text"),
        ("name: a\npets: {dog: {kind: dog}}", "x.yaml:2: pets: found no cat, expected one"),
        ("name: bad", "x.yaml:1: a bad house; expected a good one"),
    ],
)
def test_a_problem_names_file_line_path_what_and_hint(load, text, message):
    assert refused(load, text) == message


def test_every_problem_is_listed_in_the_order_of_the_file(load):
    text = "rooms: [0]\nnam: a\nbowl: {grams: -1, fod: b}"
    assert refused(load, text).splitlines() == [
        "x.yaml:1: name: required, but missing",
        "x.yaml:1: rooms.0: found 0, expected more than 0",
        "x.yaml:2: nam: unknown key; did you mean name?",
        "x.yaml:3: bowl.grams: found -1, expected more than 0",
        "x.yaml:3: bowl.fod: unknown key; did you mean food?",
    ]


def test_only_protocol_problems_make_a_protocol_error(load):
    with pytest.raises(ProtocolError, match=r"^x\.yaml:1: name: found an ark, expected a house$"):
        load("name: noah")
    with pytest.raises(ConfigError) as caught:
        load("name: noah\npets: {dog: {kind: dog}}")
    assert type(caught.value) is ConfigError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nname: b", "x.yaml:2: name: the key is given twice, first in line 1"),
        (
            "name: a\npets:\n  t: {kind: cat}\n  t: {kind: dog}",
            "x.yaml:4: pets.t: the key is given twice, first in line 3",
        ),
        (
            "name: !!python/object/apply:os.system [ls]",
            "x.yaml:1: the tag !!python/object/apply:os.system is not allowed; expected plain data",
        ),
        ("name: !thing x", "x.yaml:1: the tag !thing is not allowed; expected plain data"),
        ("name: a\n[1]: b", "x.yaml:2: a key is a list or a mapping; expected text"),
        ("name: a\n<<: 3", "x.yaml:2: `<<` merges mappings; expected an alias of one"),
        ("name: [a", "x.yaml:1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("name: *gone", "x.yaml:1: not valid YAML: found undefined alias 'gone'"),
        ("a: &a [*a]", "x.yaml: not valid YAML: line 1 refers to itself"),
        ("", "x.yaml: empty; expected keys such as name, data and routes"),
        ("- a", "x.yaml: not a mapping; expected keys such as name, data and routes"),
        ("[" * 5000, "x.yaml: nested too deeply; expected a configuration"),
    ],
)
def test_yaml_that_is_no_configuration_is_refused(load, text, message):
    assert refused(load, text) == message


def test_files_that_cannot_be_read_are_refused(tmp_path):
    def message(path):
        with pytest.raises(ConfigError) as caught:
            load_settings(House, path, environ={})
        return str(caught.value)

    gone, large, latin = tmp_path / "gone.yaml", tmp_path / "large.yaml", tmp_path / "latin.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    latin.write_bytes(b"name: a\n# caf\xe9\n")
    assert message(gone) == f"{gone}: no such file; expected a YAML configuration"
    assert message(tmp_path) == f"{tmp_path}: cannot be read (Is a directory); expected a YAML configuration"
    assert message(large) == f"{large}: larger than 1 MB; expected a configuration"
    assert message(latin) == f"{latin}:2: not UTF-8 text; save the file as UTF-8"


def test_aliases_that_explode_are_refused():
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match=r"^x: not valid YAML: more than 100000 values once aliases are expanded$"):
        parse("\n".join(levels), "x")
    merges = ["a0: &a0 {x: 1}"]
    merges += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="more than 100000 values"):
        parse("\n".join(merges), "x")


def test_anchors_and_merges_work_and_keep_their_lines(load):
    text = "name: a\npets:\n  tom: &cat\n    kind: cat\n    lives: 7\n  kit:\n    <<: *cat\n    lives: 3\n"
    house = load(text)
    assert (house.pets["tom"].lives, house.pets["kit"].lives) == (7, 3)
    assert (
        refused(load, text.replace("lives: 3", "lives: 0")) == "x.yaml:8: pets.kit.lives: found 0, expected more than 0"
    )


def test_scalars_mean_what_they_look_like():
    text = "[1e-3, no, on, 010, 1:30, 2024-01-01, 0x1f, .inf, true, ~, '1', 1_000, 1., -.5]"
    expected = [0.001, "no", "on", 10, "1:30", "2024-01-01", 31, float("inf"), True, None, "1", "1_000", 1.0, -0.5]
    assert parse(text, "x").value == expected
    assert parse("on: 1\n5: 2", "x").value == {"on": 1, "5": 2}


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(plain)
@settings(max_examples=150, deadline=None)
def test_rendered_data_reads_back_equal(value):
    text = render(value)
    assert parse(text, "x").value == value


@given(st.dictionaries(st.text("abcnoyes019.e-+:~ ", max_size=6), st.text("abcnoyesft019.e-+:~ ", max_size=6)))
@settings(max_examples=150, deadline=None)
def test_text_stays_text_for_other_readers_too(value):
    assert yaml.safe_load(render(value)) == value


def test_later_sources_win_and_are_named(load):
    environ = {"RECSYS__BOWL__GRAMS": "60", "RECSYS__NAME": "env", "PATH": "x", "RECSYS_CACHE": "y"}
    house = load("name: a\nbowl: {grams: 5, food: x}", "name=set", "bowl.food=y", environ=environ)
    assert (house.name, house.bowl) == ("set", Bowl(food="y", grams=60))
    assert refused(load, "name: a", environ={"RECSYS__BOWL__GRAMS": "0"}) == (
        "RECSYS__BOWL__GRAMS: bowl.grams: found 0, expected more than 0"
    )


def test_variables_find_keys_whatever_their_case(load):
    text = "name: a\npets: {Tom: {kind: cat}}"
    assert load(text, environ={"RECSYS__PETS__TOM__LIVES": "2"}).pets["Tom"].lives == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pets.tom.live=3", "--set pets.tom.live: unknown key; did you mean lives?"),
        ("nmae=3", "--set nmae: unknown key; did you mean name?"),
        ("bowls.x.y=3", "--set bowls.x.y: bowls: unknown key; did you mean bowl?"),
        ("pets.tom.lives=0", "--set pets.tom.lives: found 0, expected more than 0"),
        ("pets.tom={kind: dog, bark: 1}", "--set pets.tom: pets.tom.bark: unknown key; did you mean barks?"),
        ("name", "--set name: expected PATH=VALUE, such as --set seed=7"),
        ("a..b=1", "--set a..b=1: expected PATH=VALUE, such as --set seed=7"),
        ("name=[1", "--set name:1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("name.x=1", "--set name.x: name is 'a', not a mapping; set name itself"),
        ("rooms.2=1", "--set rooms.2: rooms has 2 entries, expected a number below that, not '2'"),
    ],
)
def test_an_override_is_named_as_the_place(load, override, message):
    assert refused(load, "name: a\npets: {tom: {kind: cat}}\nrooms: [1, 2]", override) == message


def test_overrides_reach_everywhere(load):
    text = "name: a\npets:\n"
    house = load(text, "pets.tom.kind=cat", "rooms=[1, 2]", "rooms.1=5", "bowl.food='7'", "notes.x=null")
    assert house.pets == {"tom": Cat(kind="cat")}
    assert (house.rooms, house.bowl, house.notes) == ((1, 5), Bowl(food="7"), {"x": None})


def test_the_environment_of_the_process_counts_by_default(load, monkeypatch, tmp_path):
    load("name: a")
    monkeypatch.setenv("RECSYS__NAME", "env")
    assert load_settings(House, tmp_path / "x.yaml").name == "env"


@given(
    st.builds(
        House,
        name=st.from_regex("[a-z]{1,8}", fullmatch=True).filter(lambda name: name not in {"noah", "bad"}),
        rooms=st.lists(st.integers(1, 99)).map(tuple),
        bowl=st.just("none") | st.builds(Bowl, food=st.text(), grams=st.floats(1e-9, 500)),
        notes=st.dictionaries(st.text(max_size=4), st.none() | st.integers() | st.text(max_size=6)),
        pets=st.dictionaries(st.sampled_from(["tom", "kit"]), st.builds(Cat, kind=st.just("cat"))),
    )
)
@settings(max_examples=60, deadline=None)
def test_settings_round_trip(tmp_path_factory, house):
    path = tmp_path_factory.mktemp("round") / "x.yaml"
    path.write_text(dump_settings(house), encoding="utf-8")
    assert load_settings(House, path, environ={}) == house


@given(plain)
@settings(max_examples=60, deadline=None)
def test_the_hash_depends_on_content_alone(value):
    assert content_hash(value) == content_hash(jsonable(value))
    assert len(content_hash(value)) == 64


def test_the_hash_ignores_key_order_and_sees_changes():
    assert content_hash({"a": 1, "b": (2,)}) == content_hash({"b": [2], "a": 1})
    assert content_hash(Bowl()) == content_hash({"food": "fish", "grams": 50.0})
    assert content_hash(Bowl()) != content_hash(Bowl(grams=51))
    with pytest.raises(TypeError, match="object has no JSON form"):
        content_hash(object())
