"""How well a model predicts: windows of a text, and rows."""
