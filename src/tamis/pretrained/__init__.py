"""Pretrained networks from installed packages, folders and the hub: what encoders and backbones load."""
