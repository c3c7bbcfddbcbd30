"""The speed experiment: what is compared does the same, and its times are those of the rounds."""

import statistics

import pytest

from agents.experiments import speed
from agents.experiments.results import Results, Setup
from agents.experiments.speed import COMPILED, COMPILED_XLA, EARLY, EXPERIMENT, FAST_ENOUGH, FASTER, FIT, LATE, TIME
from envs.alphabet_windows import letter_windows


@pytest.mark.slow
def test_compiled_epochs_end_with_the_same_weights_and_are_timed_beside_fit():
    shares = []
    outcome = EXPERIMENT.run(Setup(seed=0, windows=letter_windows, epochs=50, advance=shares.append))
    results = Results(EXPERIMENT)
    results.add(0, outcome, 1.0)  # figures and checks are the declared ones
    assert outcome.details == {"rounds": 5, "epochs_of_a_round": 10}
    assert shares == [0.2, 0.4, 0.6, 0.8, 1.0]
    fast = statistics.median(outcome.figures[COMPILED, FASTER]) >= 5  # how fast is for the machine to say
    assert outcome.checks == {**dict.fromkeys(EXPERIMENT.checks, True), FAST_ENOUGH: fast}
    assert outcome.figures[COMPILED, LATE] == 0.0
    assert 0.0 < outcome.figures[COMPILED_XLA, EARLY] < 1e-6  # 10 epochs of another rounding
    for name in (FIT, COMPILED, COMPILED_XLA):
        assert len(outcome.figures[name, TIME]) == 4  # the first round is not among them
    for name in (COMPILED, COMPILED_XLA):
        for faster, fit, ours in zip(
            outcome.figures[name, FASTER], outcome.figures[FIT, TIME], outcome.figures[name, TIME], strict=True
        ):
            assert faster == pytest.approx(fit / ours)


@pytest.mark.slow
def test_what_is_not_faster_or_not_the_same_is_noticed(monkeypatch):
    def slower(model, windows):
        """As slow as `fit`, and it leaves out the resets."""
        inputs, targets = speed.samples(windows, speed.SHAPE)
        return lambda epochs: model.fit(inputs, targets, batch_size=1, epochs=epochs, shuffle=False, verbose=0)

    monkeypatch.setattr(speed, "_compiled", slower)
    checks = EXPERIMENT.run(Setup(seed=0, windows=letter_windows, epochs=2)).checks
    assert checks == {**dict.fromkeys(EXPERIMENT.checks, False), speed.SAME_XLA: True}  # one epoch needs no reset
    assert not checks[FAST_ENOUGH]
