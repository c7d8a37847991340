"""The content of pages: formatting, charts, images, feeds and templates."""
