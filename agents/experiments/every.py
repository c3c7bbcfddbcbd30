"""All experiments, in the order in which they are run and shown."""

from agents.experiments import burn_in, five_cases, initial_state, letters, speed

EXPERIMENTS = (
    five_cases.EXPERIMENT,
    letters.ONE_LETTER,
    letters.FEATURES,
    letters.TIME_STEPS,
    letters.BATCH,
    burn_in.EXPERIMENT,
    initial_state.EXPERIMENT,
    speed.EXPERIMENT,
)
