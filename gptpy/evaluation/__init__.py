"""How well a model predicts: texts in windows, and rows."""
