"""Fixtures: ``http`` runs a test over our own connections and over httpx's."""

from __future__ import annotations

from tests.support.both_transports import http

__all__ = ["http"]
