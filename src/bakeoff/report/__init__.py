"""The report: one self-contained page, its figures for a paper, and the same in Markdown."""

from bakeoff.report.page import write_report

__all__ = ["write_report"]
