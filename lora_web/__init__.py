"""The web layer, the only importer of gradio."""
