"""A city to practise on: seeded streets, machines and faults with their truth, and recorded data played again."""
