"""A structure takes trees apart as the slow way does, and refuses the same with the same words."""

from typing import Any, NamedTuple

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from r2d2.replay.trees import Structure, leaves_like

ARRAY = np.zeros(2)


class Pair(NamedTuple):
    first: Any
    second: Any


LEAVES = st.sampled_from([ARRAY, ARRAY, 1.0, [1.0, 2.0], None, ARRAY.view(np.recarray)])
TREES = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3),
        st.lists(parts, max_size=3).map(tuple),
        st.builds(Pair, parts, parts),
        st.dictionaries(st.sampled_from("ab"), parts, max_size=2),
    ),
    max_leaves=5,
)


def outcome(take_apart: Any) -> Any:
    try:
        return [id(leaf) if isinstance(leaf, np.ndarray) else repr(leaf) for leaf in take_apart()]
    except ValueError as error:
        return str(error)


@given(TREES, TREES)
@example((ARRAY, ARRAY), (ARRAY, ARRAY))
@example((ARRAY, ARRAY), (ARRAY,))
@example((ARRAY, ARRAY), (ARRAY, {"a": ARRAY}))
@example((ARRAY, ARRAY), (ARRAY, (ARRAY,)))
@example((ARRAY, (ARRAY,)), (ARRAY, ARRAY))
@example([ARRAY, ARRAY], (ARRAY, ARRAY))
@example(Pair(ARRAY, ARRAY), (ARRAY, ARRAY))
@example({"a": ARRAY}, ARRAY)
@example((), ())
def test_a_structure_takes_trees_apart_as_the_slow_way_does(like: Any, tree: Any) -> None:
    assert outcome(lambda: Structure(like).leaves(tree, "x")) == outcome(lambda: leaves_like(like, tree, "x"))


@given(TREES)
def test_a_tree_has_its_own_structure(tree: Any) -> None:
    found = outcome(lambda: Structure(tree).leaves(tree, "x"))
    assert found == outcome(lambda: leaves_like(tree, tree, "x"))
