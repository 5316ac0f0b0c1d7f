"""Business rules. A service method is one unit of work: it commits once, or raises."""
