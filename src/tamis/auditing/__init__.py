"""Audits: from a data set to a ranked, calibrated table of labels that are probably wrong."""

from __future__ import annotations

from tamis.auditing.audit import audit
from tamis.auditing.result import Audit

__all__ = ["Audit", "audit"]
