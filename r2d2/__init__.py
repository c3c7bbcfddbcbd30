"""Recurrent replay."""
