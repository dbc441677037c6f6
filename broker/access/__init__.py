"""Who may connect and who may do what, beside amqtt's plugins: the access rules, HTTP and JWT."""
