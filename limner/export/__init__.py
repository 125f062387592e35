"""Trained models as files that paint without Limner: ONNX, torch.export, a page for browsers; and ONNX files as models again."""

from limner.export.exported import load
from limner.export.write import export

__all__ = ["export", "load"]
