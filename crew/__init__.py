"""The crew: stages, gates, permissions and the CrewAI edge."""
