"""The report of an audit or a training: one HTML file that needs nothing but a browser."""

from tamis.reporting.report import write_report

__all__ = ["write_report"]
