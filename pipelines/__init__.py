"""Train, preview and export LoRA adapters. The library behind the page; usable from a script or a notebook."""
