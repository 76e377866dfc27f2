"""Adapters: variants, attaching, strength, files. Nothing here knows a family."""
