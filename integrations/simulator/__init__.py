"""Providers on localhost, with failure buttons, for the demo, the tests and the failure lab; knows no tenant's data."""
