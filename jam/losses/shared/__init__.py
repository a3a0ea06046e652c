"""What the losses share: their contract, checked inputs, and several widths at once."""
