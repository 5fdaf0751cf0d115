# The doors of the house; what happens behind each is in scripts/. `make` alone lists them.

.PHONY: help run test check compare bench bench-store crash

help:
	@echo "make run     build the release and serve AMQP on 5672 and HTTP on 15672, data in haremq-data/"
	@echo "make test    everything that must hold before a change is merged"
	@echo "make check   the fast loop: format, lints, unit tests of the pure crates"
	@echo "make compare what queues do here and in Debian's RabbitMQ, feature by feature"
	@echo "make bench   micro-benchmarks, then HareMQ beside RabbitMQ under load"
	@echo "make bench-store  what the store aims at, measured beside RabbitMQ and a raw file"
	@echo "make crash   50 rounds of kill -9 under load, after which nothing confirmed is lost"

run test check compare bench bench-store crash:
	@scripts/$@.sh
