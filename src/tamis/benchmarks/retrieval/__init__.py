"""The benchmark of metric learning."""
