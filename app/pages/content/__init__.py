"""What pages show: formatting, charts, images, feeds and templates."""
