"""Copies of audited data with better labels; the source is never modified."""

from __future__ import annotations

from tamis.exporting.export import ExportResult, export_labels

__all__ = ["ExportResult", "export_labels"]
