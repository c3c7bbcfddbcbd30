"""The R2D2 agent."""
