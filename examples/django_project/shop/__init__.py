"""An app with orders and their lines."""
