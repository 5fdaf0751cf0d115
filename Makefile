# The doors of the house; what happens behind each is in scripts/. `make` alone lists them.

.PHONY: help run test check compare bench

help:
	@echo "make run     build the release and serve AMQP on 5672 and HTTP on 15672, data in haremq-data/"
	@echo "make test    everything that must hold before a change is merged"
	@echo "make check   the fast loop: format, lints, unit tests of the pure crates"
	@echo "make compare what queues do here and in Debian's RabbitMQ, feature by feature"
	@echo "make bench   micro-benchmarks, then HareMQ beside RabbitMQ under load"

run test check compare bench:
	@scripts/$@.sh
