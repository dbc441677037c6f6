"""Access control, beside amqtt's plugins: the access rules, HTTP and JWT."""
