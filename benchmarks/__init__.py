"""What the engines cost, beside their floors and the textbook."""
