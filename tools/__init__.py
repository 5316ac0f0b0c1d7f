"""What can be done to a repository; knows nothing of crews, models or gates."""
