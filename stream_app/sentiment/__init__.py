"""Texts to polarity and intensity, behind one small protocol."""
