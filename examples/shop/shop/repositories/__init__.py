"""All queries. A repository never commits: the service decides what belongs together."""
