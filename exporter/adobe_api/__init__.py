"""Requests to Adobe. Today there is one: it fetches public keys."""
