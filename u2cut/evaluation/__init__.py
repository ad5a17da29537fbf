"""The paper's metrics, and the report around them."""
