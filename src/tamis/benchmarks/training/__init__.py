"""The benchmark of training methods."""
