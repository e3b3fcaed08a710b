"""The outside world behind small seams: metrics, Kafka clients, stores, brokers, clocks."""
