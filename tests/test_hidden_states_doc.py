"""docs/hidden-states.md says what is so: its blocks print what it shows, and the old recipes fail as it says."""

import contextlib
import io
import re
from pathlib import Path

import keras
import numpy as np
import pytest

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "hidden-states.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
START, BLOCKS = _BLOCKS[0], _BLOCKS[1:]
OLD = [block for block in BLOCKS if block.startswith("# Keras 2")]
TABLE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.partition("\n\n`K` is")[0].splitlines()
    if line.startswith("| [")
]
ERROR = re.compile(r"^# (\w+Error: .*\n(?:# .*\n)*)", flags=re.MULTILINE)
SHOWN = re.compile(r"# -> (.*)$", flags=re.MULTILINE)
RECIPES = [
    "layer.reset_states(states)",
    "layer.reset_states(states=[h, c])",
    "model.reset_states()",
    "K.get_value(layer.states[0])",
    "K.set_value",
    "layer.states[0] = K.variable(",
    "LSTM(batch_size=...)",
    "batch_input_shape=",
    "TimeseriesGenerator",
    "np_utils.to_categorical",
    "model.predict_classes",
    "another batch size than it was built for",
    "model.save",
    "return_state=True",
    "states of a second model",
    "one row's state in all rows",
    "reset of one row",
    "then the states put back",
    "Masking",
    "inside a `tf.function`",
    "fit(shuffle=False)",
    "dense_h(x), dense_c(x)",
]


def name(block):
    """The heading above a block, and its number below that."""
    above = PAGE[: PAGE.index(block)]
    heading = re.findall(r"^##+ (.*)$", above, flags=re.MULTILINE)[-1]
    return f"{heading} {above.rpartition(heading)[2].count('```python')}"


def errors_of(block):
    """What a block's parts are and how each ends: pairs of code and the error it raises, the last one raising none."""
    parts = ERROR.split(block)
    return list(zip(parts[::2], [*parts[1::2], None], strict=True))


def in_one_line(text):
    return " ".join(re.sub(r"\x1b\[\d+m", "", text).split())


def matches(text, shown):
    """Whether ``text`` is as shown, where ``...`` stands for anything."""
    return re.fullmatch(".*?".join(re.escape(part.strip()) for part in shown.split("...")), text) is not None


def run(block, namespace):
    """Run a block of the page and compare what it raises and prints with what it shows."""
    printed = io.StringIO()
    for number, (code, error) in enumerate(errors_of(block)):
        file = Path(f"block{number}.py")  # of its own, because AutoGraph reads sources
        file.write_text(code, encoding="utf-8")
        with contextlib.redirect_stdout(printed):
            if error is None:
                exec(compile(code, str(file), "exec"), namespace)
                continue
            kind, _, message = in_one_line(error.replace("\n#", "\n")).partition(": ")
            with pytest.raises(Exception) as raised:  # noqa: PT011  the message is compared below
                exec(compile(code, str(file), "exec"), namespace)
        assert raised.type.__name__ == kind
        assert matches(in_one_line(str(raised.value)), message), in_one_line(str(raised.value))
    assert printed.getvalue().splitlines() == SHOWN.findall(block)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A fresh namespace in which the page's first block has run, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    namespace = {}
    exec(START, namespace)
    return namespace


@pytest.mark.parametrize("block", BLOCKS, ids=name)
def test_each_block_does_what_the_page_shows(block, start):
    run(block, start)


def test_every_block_shows_something_that_is_compared():
    silent = [name(block) for block in BLOCKS if not SHOWN.search(block) and not ERROR.search(block)]
    assert silent == []
    assert not SHOWN.search(START)
    assert not ERROR.search(START)


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_has_its_line(recipe):
    assert any(recipe in line[1] for line in TABLE)


def test_each_line_leads_to_a_heading_with_the_old_recipe_and_the_new():
    headings = re.findall(r"^### ((\d+)\. .*)$", PAGE, flags=re.MULTILINE)
    slugs = {number: re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading, number in headings}
    assert [line[0] for line in TABLE] == [f"[{number}](#{slug})" for number, slug in slugs.items()]
    for heading, _ in headings:
        section = re.split(r"^##", PAGE.partition(f"### {heading}\n")[2], flags=re.MULTILINE)[0]
        kinds = [block in OLD for block in BLOCKS if block in section]
        assert kinds[0], heading
        assert not all(kinds), heading


def test_every_other_link_leads_to_a_heading():
    headings = re.findall(r"^##+ (.*)$", PAGE, flags=re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#(.*?)\)", PAGE)) <= slugs


@pytest.mark.parametrize("line", TABLE, ids=lambda line: line[0])
def test_the_table_names_the_errors_that_the_old_recipe_raises(line):
    heading = re.findall(rf"^### {line[0][1:].partition(']')[0]}\. .*$", PAGE, flags=re.MULTILINE)[0]
    section = re.split(r"^##", PAGE.partition(f"{heading}\n")[2], flags=re.MULTILINE)[0]
    old = "".join(block for block in OLD if block in section)
    assert set(re.findall(r"\w+Error", line[2])) <= set(re.findall(r"^# (\w+Error)", old, flags=re.MULTILINE))
    if "no error" in line[2] or "without an error" in line[2]:
        assert SHOWN.search(old)


def test_a_single_row_at_the_end_is_no_error_to_fit_and_evaluate_either(start):
    model, steps, labels = start["model"], start["steps"], start["labels"]
    model.compile("sgd", "mse")
    five, wanted = np.concatenate([steps, steps, steps[:1]]), np.concatenate([labels, labels, labels[:1]])
    model.fit(five, wanted, batch_size=2, shuffle=False, verbose=0)
    assert model.optimizer.iterations == 3
    model.evaluate(five, wanted, batch_size=2, verbose=0)
    of_four = start["make_model"](4)
    with pytest.raises(Exception, match="Incompatible shapes"):
        of_four.predict(np.concatenate([five, steps]), batch_size=4, verbose=0)


@pytest.mark.filterwarnings("ignore:Layer:UserWarning")
def test_masks_handed_over_are_right_also_where_layers_no_longer_pass_them_on():
    """As in Keras's sources since #23235, where recurrent layers are made with ``supports_masking = False``."""
    steps = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    steps[1, 3:] = 0
    first, second = keras.layers.LSTM(4, return_sequences=True), keras.layers.LSTM(4)
    wanted = second(first(steps[:, :3]))[1]
    first.supports_masking = second.supports_masking = False
    with pytest.warns(UserWarning, match="does not support masking"):
        lost = second(first(keras.layers.Masking()(steps)))
    assert not np.allclose(lost[1], wanted, atol=1e-3)
    mask = steps.any(axis=-1)
    np.testing.assert_allclose(second(first(steps, mask=mask), mask=mask)[1], wanted, atol=1e-6)
