"""The Criteo twin: synthetic rows like Criteo's."""
