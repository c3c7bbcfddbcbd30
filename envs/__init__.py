"""Environments with memory."""
