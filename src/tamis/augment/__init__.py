"""Augmentation: batched tensor operations whose draws are the same for a sample in any batch."""
