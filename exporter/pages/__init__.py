"""Pages for people who open the exporter in a browser."""
