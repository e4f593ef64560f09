"""No fixtures: there are no servers here."""
