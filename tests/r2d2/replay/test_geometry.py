"""Which sequences an episode gives: pictures that a reader can check, and the same by brute force."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import pytest

from r2d2.replay import SequenceGeometry, Window


def picture(geometry: SequenceGeometry, episode_length: int) -> list[str]:
    """One line a sequence, one character a row: b prefix, T trained, L lookahead, F the final observation."""
    lines = []
    for window in geometry.windows(episode_length):
        line = [" "] * (episode_length + 1)
        for step in range(window.first, window.start):
            line[step] = "b"
        for row in range(window.start, window.start + window.unroll_length):
            line[row] = "T" if row < window.start + window.train_length else "L"
        if line[episode_length] == "L":
            line[episode_length] = "F"
        lines.append("".join(line).rstrip())
    return lines


# (burn_in, train_length, overlap, n_step), the steps of the episode, its sequences.
EPISODES: dict[str, tuple[tuple[int, int, int, int], int, list[str]]] = {
    "the picture of the module's docstring": (
        (2, 4, 2, 1),
        7,
        [
            "TTTTL",
            "bbTTTTL",
            "  bbTTTF",
        ],
    ),
    "an episode of one step is a sequence": ((4, 8, 4, 5), 1, ["TF"]),
    "an episode shorter than a sequence is one": ((4, 8, 4, 5), 5, ["TTTTTF"]),
    "an episode as long as a sequence is one": ((4, 8, 4, 5), 8, ["TTTTTTTTF"]),
    "one step more is a second sequence": (
        (4, 8, 4, 5),
        9,
        [
            "TTTTTTTTLF",
            "bbbbTTTTTF",
        ],
    ),
    "no step of the last sequence is one that came before": (
        (0, 5, 2, 1),
        11,
        [
            "TTTTTL",
            "   TTTTTL",
            "      TTTTTF",
        ],
    ),
    "without overlap every step is trained once": (
        (2, 3, 0, 2),
        8,
        [
            "TTTLL",
            " bbTTTLL",
            "    bbTTF",
        ],
    ),
    "an overlap of all but one step starts a sequence at each": (
        (1, 3, 2, 1),
        6,
        [
            "TTTL",
            "bTTTL",
            " bTTTL",
            "  bTTTF",
        ],
    ),
    "burn-in of 0 has no prefix": (
        (0, 2, 0, 1),
        4,
        [
            "TTL",
            "  TTF",
        ],
    ),
    "a burn-in longer than the period is cut at the episode's start": (
        (5, 2, 0, 1),
        7,
        [
            "TTL",
            "bbTTL",
            "bbbbTTL",
            " bbbbbTF",
        ],
    ),
    "a train_length of 1 has only single steps": (
        (1, 1, 0, 3),
        3,
        [
            "TLLF",
            "bTLF",
            " bTF",
        ],
    ),
    "a lookahead longer than the train_length ends with the episode": (
        (0, 2, 0, 4),
        5,
        [
            "TTLLLF",
            "  TTLF",
            "    TF",
        ],
    ),
}


@pytest.mark.parametrize(("lengths", "episode_length", "expected"), EPISODES.values(), ids=EPISODES.keys())
def test_windows_are_those_of_the_picture(
    lengths: tuple[int, int, int, int], episode_length: int, expected: list[str]
) -> None:
    geometry = SequenceGeometry(*lengths)
    assert picture(geometry, episode_length) == expected
    assert geometry.sequence_count(episode_length) == len(expected)


def test_the_paper_s_geometry() -> None:
    geometry = SequenceGeometry(burn_in=40, train_length=80, overlap=40, n_step=5)
    assert geometry.period == 40
    assert geometry.windows(150) == [
        Window(number=0, first=0, start=0, train_length=80, unroll_length=85),
        Window(number=1, first=0, start=40, train_length=80, unroll_length=85),
        Window(number=2, first=40, start=80, train_length=70, unroll_length=71),
    ]
    assert [window.prefix_length for window in geometry.windows(150)] == [0, 40, 40]


ALL_GEOMETRIES = [
    SequenceGeometry(burn_in, train_length, overlap, n_step)
    for burn_in, train_length, n_step in product((0, 1, 2, 5, 7), (1, 2, 3, 6), (1, 2, 5))
    for overlap in range(train_length)
]


class TestEveryGeometry:
    """By brute force over 180 geometries and episodes of 1 to 25 steps."""

    @pytest.mark.parametrize("episode_length", range(1, 26))
    def test_every_step_is_trained_and_none_twice_without_overlap(self, episode_length: int) -> None:
        for geometry in ALL_GEOMETRIES:
            trained = [t for w in geometry.windows(episode_length) for t in range(w.start, w.start + w.train_length)]
            assert set(trained) == set(range(episode_length))
            assert len(trained) == episode_length or geometry.overlap > 0

    @pytest.mark.parametrize("episode_length", range(1, 26))
    def test_every_sequence_trains_a_step_that_the_one_before_does_not(self, episode_length: int) -> None:
        for geometry in ALL_GEOMETRIES:
            windows = geometry.windows(episode_length)
            ends = [w.start + w.train_length for w in windows]
            assert ends == sorted(set(ends))

    @pytest.mark.parametrize("episode_length", range(1, 26))
    def test_adjacent_sequences_share_the_overlap_and_time_runs_forward(self, episode_length: int) -> None:
        for geometry in ALL_GEOMETRIES:
            windows = geometry.windows(episode_length)
            assert [w.start for w in windows] == [k * geometry.period for k in range(len(windows))]
            for one, next_one in pairwise(windows):
                assert one.start + one.train_length - next_one.start == geometry.overlap

    @pytest.mark.parametrize("episode_length", range(1, 26))
    def test_an_unroll_ends_with_its_lookahead_or_the_final_observation(self, episode_length: int) -> None:
        for geometry in ALL_GEOMETRIES:
            for w in geometry.windows(episode_length):
                last_row = w.start + w.unroll_length - 1
                assert last_row == min(w.start + geometry.train_length + geometry.n_step - 1, episode_length)
                assert w.train_length == min(geometry.train_length, w.unroll_length - 1)

    @pytest.mark.parametrize("episode_length", range(1, 26))
    def test_a_prefix_is_burn_in_steps_or_as_many_as_there_are(self, episode_length: int) -> None:
        for geometry in ALL_GEOMETRIES:
            for w in geometry.windows(episode_length):
                assert w.prefix_length == min(geometry.burn_in, w.start)
                assert w.first == w.start - w.prefix_length

    def test_sequences_begin_in_order_each_with_its_first_step(self) -> None:
        for geometry in ALL_GEOMETRIES:
            windows = geometry.windows(60)
            for steps in range(20):
                assert geometry.begun_by(steps) == sum(w.first < steps for w in windows)

    def test_sequences_are_complete_in_order_each_with_its_last_row(self) -> None:
        for geometry in ALL_GEOMETRIES:
            # An episode so long that the sequences looked at do not reach its end.
            last_rows = [w.start + w.unroll_length - 1 for w in geometry.windows(80)]
            for steps in range(40):
                assert geometry.complete_by(steps) == sum(last < steps for last in last_rows)

    def test_no_more_are_open_than_there_is_room_for(self) -> None:
        """While a step is written, which may begin one sequence before it completes another."""
        for geometry in ALL_GEOMETRIES:
            most = max(geometry.begun_by(steps + 1) - geometry.complete_by(steps) for steps in range(60))
            assert most == geometry.most_open

    def test_the_rows_needed_are_the_most_from_the_oldest_that_a_sequence_reads_to_the_newest_when_it_enters(
        self,
    ) -> None:
        for geometry in ALL_GEOMETRIES:
            most = 0
            for length in range(1, 50):
                for w in geometry.windows(length):
                    last_row = w.start + w.unroll_length - 1
                    # An episode's last step (length - 1) and its final observation (row length) come together.
                    newest = last_row if last_row < length - 1 else length
                    most = max(most, newest - max(0, w.first - 1) + 1)
            assert most == geometry.rows_needed

    def test_an_open_episode_s_window_is_that_of_a_long_one(self) -> None:
        for geometry in ALL_GEOMETRIES:
            for number in range(4):
                assert geometry.window(number) == geometry.window(number, 1000)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"overlap": 80}, ValueError, "overlap=80 must be smaller than train_length=80"),
        ({"overlap": 81}, ValueError, "overlap=81 must be smaller than train_length=80"),
        ({"overlap": -1}, ValueError, "overlap=-1 must be at least 0"),
        ({"burn_in": -1}, ValueError, "burn_in=-1 must be at least 0"),
        ({"train_length": 0}, ValueError, "train_length=0 must be at least 1"),
        ({"n_step": 0}, ValueError, "n_step=0 must be at least 1"),
        ({"burn_in": 2.0}, TypeError, "burn_in=2.0 must be an integer"),
        ({"n_step": True}, TypeError, "n_step=True must be an integer"),
        ({"train_length": "80"}, TypeError, "train_length='80' must be an integer"),
    ],
)
def test_lengths_out_of_range_are_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    lengths = {"burn_in": 40, "train_length": 80, "overlap": 40, "n_step": 5} | change
    with pytest.raises(error) as caught:
        SequenceGeometry(**lengths)
    assert str(caught.value) == message


@pytest.mark.parametrize("number", [-1, 2, 9])
def test_a_sequence_that_an_episode_does_not_have_has_no_window(number: int) -> None:
    geometry = SequenceGeometry(1, 2, 0, 1)
    assert [window.number for window in geometry.windows(4)] == [0, 1]
    with pytest.raises(ValueError, match=f"number={number} must be from 0 to 1 with episode_length=4"):
        geometry.window(number, 4)
    for length in (0, -5):
        with pytest.raises(ValueError, match=f"episode_length={length} must be at least 1"):
            geometry.window(0, length)
    with pytest.raises(ValueError, match="number=-1 must be from 0 to "):
        geometry.window(-1)


def test_an_episode_has_a_step() -> None:
    with pytest.raises(ValueError, match="episode_length=0 must be at least 1"):
        SequenceGeometry(1, 2, 0, 1).windows(0)
