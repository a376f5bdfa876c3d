//! What is well on this box and what is not: one picture for page, screen and MQTT.
