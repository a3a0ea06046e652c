"""Trainable adapters on frozen features, and the closed-form baselines."""

from jam.models.adapter import Adapter

__all__ = ["Adapter"]
