"""Accounts and orders of a small shop."""
