"""Recipes that rebuild the bundled bases from public packages (see README.md in this folder)."""
