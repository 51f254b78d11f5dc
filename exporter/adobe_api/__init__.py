"""Requests to Adobe. Today these are for public keys only."""
