"""How the captures beside this package were made: the same small scenarios under real drivers,
against a real server. See captures/README.md."""
