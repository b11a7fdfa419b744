"""From columns to a crew's phone: rules, engine, lifecycle, notification."""
