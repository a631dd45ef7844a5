"""Files of Dynamo."""
