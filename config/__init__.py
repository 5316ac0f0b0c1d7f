"""Roles and tasks as data that users edit."""
