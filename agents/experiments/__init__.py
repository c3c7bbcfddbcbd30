"""The articles' experiments with hidden states, each on real Keras models, measured over seeds."""
