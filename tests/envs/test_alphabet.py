"""The alphabet task against returns worked out by hand."""

from string import ascii_uppercase

import numpy as np
import pytest

from envs.alphabet import NOTHING, Alphabet


def letters(text: str) -> list[int]:
    return [ascii_uppercase.index(letter) for letter in text]


def play(env: Alphabet, text: str) -> tuple[list[int], list[float], list[bool]]:
    """Observations, rewards and `terminated` of naming these letters; no episode is ever truncated."""
    observations, rewards, ends = [], [], []
    for action in letters(text):
        observation, reward, terminated, truncated, info = env.step(np.int64(action))
        assert truncated is False
        assert info == {}
        observations.append(observation)
        rewards.append(reward)
        ends.append(terminated)
    return observations, rewards, ends


def seed_that_shows(letter: str) -> int:
    """Of the seeds 0, 1, 2, ... the first whose episode starts from this letter."""
    env = Alphabet(random_start=True)
    return next(seed for seed in range(1000) if env.reset(seed=seed)[0] == ascii_uppercase.index(letter))


def test_the_alphabet_in_order_returns_one():
    env = Alphabet()
    observation, info = env.reset(seed=0)
    assert observation == 0
    assert info == {}
    observations, rewards, ends = play(env, "BCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert observations == [26] * 25
    assert rewards == [1 / 25] * 25
    assert sum(rewards) == pytest.approx(1)
    assert ends == [False] * 24 + [True]


def test_a_letter_is_shown_at_the_first_step_only():
    env = Alphabet(random_start=True)
    for seed in range(20):
        assert 0 <= env.reset(seed=seed)[0] <= 25
        assert set(play(env, "A" * 25)[0]) == {NOTHING} == {26}


def test_each_right_letter_pays_one_25th_wherever_it_stands():
    env = Alphabet()
    env.reset(seed=0)
    # B right; C wrong (named D); D right although the one before was wrong; E wrong; the rest is A: wrong.
    rewards = play(env, "BDDA" + "A" * 21)[1]
    assert rewards == [1 / 25, 0, 1 / 25, 0] + [0] * 21


def test_repeating_the_letter_shown_is_never_right():
    env = Alphabet()
    env.reset(seed=0)
    assert sum(play(env, "A" * 25)[1]) == 0


def test_a_constant_letter_after_a_right_first_one_earns_two_25ths():
    # The most an agent gets that sees the observation and remembers nothing.
    env = Alphabet()
    env.reset(seed=0)
    assert sum(play(env, "B" + "M" * 24)[1]) == pytest.approx(2 / 25)


def test_the_first_letter_is_always_a_unless_it_is_drawn():
    env = Alphabet()
    assert {int(env.reset(seed=seed)[0]) for seed in range(50)} == {0}


def test_a_drawn_start_may_be_any_letter():
    env = Alphabet(random_start=True)
    env.reset(seed=0)
    assert {int(env.reset()[0]) for _ in range(1000)} == set(range(26))


def test_a_is_the_letter_after_z():
    env = Alphabet(random_start=True)
    assert env.reset(seed=seed_that_shows("X"))[0] == 23
    assert sum(play(env, "YZABCDEFGHIJKLMNOPQRSTUVW")[1]) == pytest.approx(1)


def test_a_start_from_z_goes_on_with_a():
    env = Alphabet(random_start=True, length=2)
    assert env.reset(seed=seed_that_shows("Z"))[0] == 25
    assert play(env, "AB") == ([26, 26], [0.5, 0.5], [False, True])


def test_a_shorter_task_ends_sooner_and_pays_more_a_letter():
    env = Alphabet(length=4)
    env.reset(seed=0)
    assert play(env, "BCXE") == ([26] * 4, [0.25, 0.25, 0, 0.25], [False, False, False, True])


def test_the_letters_drawn_are_those_of_the_seed():
    def starts(seed: int) -> list[int]:
        env = Alphabet(random_start=True)
        return [int(env.reset(seed=seed)[0])] + [int(env.reset()[0]) for _ in range(10)]

    assert starts(3) == starts(3)
    assert starts(3) != starts(4)


@pytest.mark.parametrize("length", [0, -3, 1.5, "25", None, True])
def test_a_length_that_is_no_number_of_steps_is_refused(length):
    with pytest.raises(ValueError, match=rf"length={length!r} .*whole number, at least 1"):
        Alphabet(length=length)


@pytest.mark.parametrize("random_start", ["yes", 1, None])
def test_a_random_start_that_is_neither_true_nor_false_is_refused(random_start):
    with pytest.raises(ValueError, match=rf"random_start={random_start!r} must be True or False"):
        Alphabet(random_start=random_start)


@pytest.mark.parametrize("action", [26, -1, 1.5])
def test_what_is_no_letter_is_refused_and_not_counted(action):
    env = Alphabet(length=1)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=rf"action={action!r} must be a letter's number: 0 \(A\) to 25 \(Z\)"):
        env.step(action)
    assert play(env, "B") == ([26], [1], [True])


def test_an_unknown_render_mode_is_refused():
    with pytest.raises(ValueError, match="render_mode='rgb_array' must be None or 'ansi'"):
        Alphabet(render_mode="rgb_array")


def test_the_text_names_each_letter_as_right_or_wrong():
    env = Alphabet(length=4, render_mode="ansi")
    env.reset(seed=0)
    assert env.render() == "shown A\n0 right of 0, 4 to go\n"
    play(env, "BXD")
    assert env.render() == (
        "shown A\nnamed B: right\nnamed X: wrong, C was next\nnamed D: right\n2 right of 3, 1 to go\n"
    )


def test_a_new_episode_forgets_the_letters_of_the_last():
    env = Alphabet(length=2, render_mode="ansi")
    env.reset(seed=0)
    play(env, "BC")
    env.reset()
    assert env.render() == "shown A\n0 right of 0, 2 to go\n"
    assert play(env, "BC")[1:] == ([0.5, 0.5], [False, True])


def test_render_without_a_mode_says_so_and_writes_nothing():
    env = Alphabet()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None
