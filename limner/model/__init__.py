"""Trained models: text encoder and painter together, in memory and on disk."""

from limner.model.folder import load, save_model, shipped_models
from limner.model.model import Model

__all__ = ["Model", "load", "save_model", "shipped_models"]
