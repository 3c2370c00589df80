"""What is true: the tables of Troth and the questions one asks of them. Knows no provider, no queue and no clock."""
