"""Windows over the alphabet, compared with slices of the string ABC...Z."""

from string import ascii_uppercase

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.alphabet_windows import letter_windows


def text(numbers, classes):
    """What is read, as letters; the closing A (number 26) is written as a small one."""
    return "".join((ascii_uppercase + "a")[round(float(number) * classes)] for number in numbers)


@given(length=st.integers(1, 25), closing=st.booleans())
def test_windows_are_the_slices_of_the_alphabet_that_a_letter_follows(length, closing):
    alphabet = ascii_uppercase + "a" * closing
    windows = letter_windows(length, closing=closing)
    assert windows.classes == len(alphabet)
    assert windows.inputs.dtype == np.float32
    assert windows.labels.dtype == np.int64
    read = [text(window, windows.classes) for window in windows.inputs]
    assert read == [alphabet[i : i + length] for i in range(len(alphabet) - length)]
    assert [alphabet[label] for label in windows.labels] == list(alphabet[length:])


def test_three_letters_of_the_plain_alphabet():
    windows = letter_windows(3)
    assert len(windows.inputs) == 23
    np.testing.assert_array_equal(windows.inputs[1], np.array([1 / 26, 2 / 26, 3 / 26], np.float32))  # BCD
    assert (windows.labels[1], windows.labels[-1]) == (4, 25)  # E, Z


def test_a_closing_a_is_a_27th_letter_that_is_never_read():
    windows = letter_windows(3, closing=True)
    assert (len(windows.inputs), windows.classes) == (24, 27)
    np.testing.assert_array_equal(windows.inputs[-1], np.array([23 / 27, 24 / 27, 25 / 27], np.float32))  # XYZ
    assert windows.labels[-1] == 26


@given(length=st.integers(1, 25), closing=st.booleans())
def test_fed_back_right_letters_give_the_windows_themselves(length, closing):
    windows = letter_windows(length, closing=closing)
    window = windows.inputs[0]
    for following, label in zip(windows.inputs[1:], windows.labels[:-1], strict=True):
        window = windows.shift(window, int(label))
        assert window.dtype == np.float32
        np.testing.assert_array_equal(window, following)


def test_a_wrong_letter_fed_back_is_the_last_of_the_next_window():
    windows = letter_windows(3)
    assert text(windows.shift(windows.inputs[0], 25), 26) == "BCZ"
    assert text(windows.inputs[0], 26) == "ABC"  # left as it was


@pytest.mark.parametrize(
    ("length", "closing", "message"),
    [
        (0, False, "length=0 must be 1 to 25"),
        (26, False, "length=26 must be 1 to 25"),
        (27, True, "length=27 must be 1 to 26"),
    ],
)
def test_windows_that_nothing_can_follow_are_refused(length, closing, message):
    with pytest.raises(ValueError, match=message):
        letter_windows(length, closing=closing)
    assert len(letter_windows(25 + closing, closing=closing).labels) == 1


@pytest.mark.parametrize("letter", [-1, 26])
def test_a_letter_that_does_not_exist_cannot_be_fed_back(letter):
    windows = letter_windows(2)
    with pytest.raises(ValueError, match=rf"letter={letter} must be a letter's number: 0 to 25"):
        windows.shift(windows.inputs[0], letter)
